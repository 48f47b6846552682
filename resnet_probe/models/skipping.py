"""A layer whose branch can be left out: for a while, by chance, or for good."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from resnet_probe.errors import ProbeError
from resnet_probe.models.parts import Assembly


class Skippable(Assembly):
    """The part of a block that decides about its branch; none of it is among the saved weights.

    While `skipped` is True the forward pass leaves the branch out, so that what it would have
    added is zero. With `survival` below 1 (stochastic depth, Huang et al. 2016, arXiv 1603.09382,
    equations 2 and 5) a forward pass in train mode leaves it out by chance, one draw for the whole
    batch, and in eval mode multiplies it by `survival`.
    """

    shortcut: nn.Module | None

    def __init__(self) -> None:
        super().__init__()
        self.skipped = False
        self.survival = 1.0

    def runs_branch(self) -> bool:
        """Whether this forward pass takes the branch; draws from torch's random numbers."""
        if self.skipped:
            return False
        if not self.training or self.survival >= 1:
            return True
        return torch.rand((), device="cpu").item() < self.survival

    def surviving(self, branch: Tensor) -> Tensor:
        """The branch as it is to be added: in eval mode its expectation over the draws."""
        if self.training or self.survival >= 1:
            return branch
        return branch * self.survival


def blocks_of(model: nn.Module) -> list[Skippable]:
    """The residual blocks of one of our networks in the order in which they run, block 1 first."""
    found = (module for module in model.modules() if isinstance(module, Skippable))
    return [block for block in found if block.shortcut is not None]


def decay_linearly_(model: nn.Module, last: float) -> None:
    """Gives block l of L the probability 1 - l/L (1 - last) (Huang et al. 2016, equation 4)."""
    blocks = blocks_of(model)
    for number, block in enumerate(blocks, start=1):
        block.survival = 1 - number / len(blocks) * (1 - last)


def check_deleted(deleted: Iterable[int], blocks: int, name: str) -> None:
    """Raises ProbeError for a number that no block has, and where no block would be left."""
    wrong = [number for number in deleted if not 1 <= number <= blocks]
    if wrong:
        raise ProbeError(
            f"block {wrong[0]} is out of range: {name} has {blocks} blocks (1–{blocks})"
        )
    if blocks and len(set(deleted)) == blocks:
        raise ProbeError(f"{name} without all of its {blocks} blocks is no residual network")
