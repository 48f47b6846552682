"""The processes that train one network together: each takes its share of every batch.

PyTorch's ``DistributedDataParallel`` averages the gradients. Every process makes the same random
draws and slices them, so that K processes see the batches that one would see. As usual, batch
norms use the statistics of a process's own share; those that are kept are the first process's.
"""

from __future__ import annotations

import inspect
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

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
    hosts: Any = None
    """A process group of the processors, for what devices need not know; None for the default."""

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
        options: dict[str, Any] = {
            "find_unused_parameters": partial,
            "gradient_as_bucket_view": True,
            SYNC_BUFFERS: False,  # train mode does not read them; see `spread`
        }
        return DistributedDataParallel(model, **options)

    def summed(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total

    def spread(self, values: Iterable[Tensor]) -> None:
        """Give every process the values of the first, in place."""
        for value in values if self.size > 1 else ():
            dist.broadcast(value, src=0)

    def agreed(self, wish: int) -> int:
        """The largest wish of the processes; the devices go on with their work."""
        if self.size == 1:
            return wish
        largest = torch.tensor(wish)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.hosts)
        return int(largest)


ALONE = Team()
PATIENCE = timedelta(days=30)
"""Processes that were stopped for a night (SIGSTOP) must find each other again."""
SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)
"""PyTorch has changed the name."""
AT_ONCE = 1.0
"""Seconds within which a second signal is the first one again, from another sender."""


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
    ours = not dist.is_initialized()  # else it is the caller's, and stays
    if ours:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        hosts = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield Team(dist.get_rank(), size, hosts), device
    finally:
        if ours:
            dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The device of this process among those of its machine."""
    if device.type != "cuda":
        return device
    place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= there:
        raise ProbeError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes were started on {there} CUDA devices: "
            f"give torchrun --nproc-per-node {there}, or device=cpu"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether Ctrl-C or SIGTERM has come since.

    A second Ctrl-C interrupts at once. Outside the main thread, where no signal arrives, and
    afterwards, signals do what they did before.
    """
    came: list[float] = []

    def note(number: int, frame: Any) -> None:
        again = bool(came) and time.monotonic() - came[0] > AT_ONCE
        came.append(time.monotonic())
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
