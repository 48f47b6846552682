"""The processes that train one network together: each takes its share of every batch.

PyTorch's ``DistributedDataParallel`` averages the gradients. Every process makes the same random
draws and slices them, so that K processes see the batches that one would see. As usual, batch
norms use the statistics of a process's own share; those that are kept are the first process's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from resnet_probe.errors import ProbeError


@dataclass(frozen=True)
class Team:
    """This process's place, from 0, among ``size`` of them; by default it is alone."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process prints, evaluates and saves."""
        return self.rank == 0

    def share(self, draws: Tensor) -> Tensor:
        """This process's part of a step's draws ``[b, …]``, at most one larger than another's."""
        return draws[self.rank :: self.size]

    def joined_model(self, model: nn.Module, *, partial: bool) -> nn.Module:
        """The module to train with; ``partial`` says that steps may leave parameters out."""
        if self.size == 1:
            return model
        return DistributedDataParallel(model, find_unused_parameters=partial)

    def summed(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total


ALONE = Team()


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Team, torch.device]]:
    """The team that ``torchrun`` started this process in, and its own device; else alone.

    CUDA devices speak NCCL, CPUs gloo. Raises ProbeError for more processes on a machine than it
    has CUDA devices.
    """
    size = int(os.environ.get("WORLD_SIZE", "1")) if dist.is_torchelastic_launched() else 1
    if size == 1:
        yield ALONE, device
        return
    device = own_device(device)
    if dist.is_initialized():  # by the caller, whose it stays
        yield Team(dist.get_rank(), size), device
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The device of this process among those of its machine."""
    if device.type != "cuda":
        return device
    place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= there:
        raise ProbeError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes were started on {there} CUDA devices: "
            f"give torchrun --nproc-per-node {there}, or --device cpu"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)
