"""Training on part of the blocks at a time (Veit et al. 2016, arXiv 1605.06431, section 4.3).

A step keeps a random few blocks, so that every path in it is short; the test is with all of them.
Batch norms then see sums of more branches than the steps' statistics are about, and a network
tested on those guesses at random. So the network that is tested and saved has its statistics
estimated anew, with all blocks, on training images: at full size, for those of smaller images
are others too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import update_bn

from resnet_probe.errors import ProbeError
from resnet_probe.training.team import Team

RENEWED_ON = 2048
"""Training images that the statistics of the whole network are estimated on."""


@dataclass(frozen=True, eq=False)
class Subsets:
    """Each step keeps ``kept`` of the blocks, drawn anew; the test is with all of them.

    Where ``kept`` is None every step has all blocks, and nothing is drawn.
    """

    blocks: list[Any]
    kept: int | None

    @classmethod
    def of(cls, model: nn.Module, kept: int | None) -> Subsets:
        """Raises ProbeError for more blocks than there are, or a network without any."""
        found = droppable(model)
        if kept is not None and not found:
            raise ProbeError(
                "effective paths are a choice among residual blocks, and this network has none "
                "that can be left out in training"
            )
        if kept is not None and kept > len(found):
            raise ProbeError(
                f"{kept} blocks a mini-batch cannot be kept: this network has {len(found)} "
                f"residual blocks (1–{len(found)})"
            )
        if kept is not None and draws_blocks(model):
            raise ProbeError(
                "effective paths and stochastic depth both choose the blocks of a step: "
                "train with one of them"
            )
        return cls(found, kept)

    @contextmanager
    def in_turn(self, generator: Generator) -> Iterator[Callable[[], None]]:
        """Gives a function that draws the next step's blocks; all are back at the end."""
        try:
            yield lambda: self.draw(generator)
        finally:
            for block in self.blocks if self.kept is not None else ():
                block.skipped = False

    def draw(self, generator: Generator) -> None:
        """Leave out all blocks but a random ``kept`` of them until the next draw."""
        if self.kept is None:
            return
        order = torch.randperm(len(self.blocks), generator=generator).tolist()
        for place, number in enumerate(order):
            self.blocks[number].skipped = place >= self.kept


def droppable(model: nn.Module) -> list[nn.Module]:
    """The residual blocks that an attribute ``skipped`` leaves out, in the order of the network."""
    return [
        module
        for module in model.modules()
        if hasattr(module, "skipped")
        and getattr(module, "shortcut", True) is not None  # None in a plain layer
        and not getattr(module, "deleted", False)
    ]


def draws_blocks(model: nn.Module) -> bool:
    """Whether the network itself leaves blocks out in train mode (stochastic depth)."""
    return any(getattr(module, "survival", 1.0) < 1 for module in model.modules())


def with_statistics_of(model: nn.Module, batches: Sequence[Tensor], team: Team) -> nn.Module:
    """A copy whose batch norms hold the mean statistics of batches of normalized images.

    Each process of a team looks at its share of the batches.
    """
    renewed = copy.deepcopy(model)
    mine = batches[team.rank :: team.size]
    device = next(model.parameters()).device
    # Dropout draws, and must not move what others draw.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        update_bn(iter(mine), renewed)
    for name, value in renewed.named_buffers() if team.size > 1 else ():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(team.summed(value * len(mine)) / len(batches))
    return renewed
