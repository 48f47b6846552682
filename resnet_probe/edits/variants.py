"""Blocks in another form: without the shortcut, with a value for a branch, several from one state.

Each is a block of the chain's own parts, so that whatever runs, folds or recalibrates blocks takes
it as it takes any other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from resnet_probe.chain import PlainLayer, ResidualBlock, ResidualChain, Step
from resnet_probe.edits.text import VALUES
from resnet_probe.errors import ProbeError
from resnet_probe.state import AnyState, residual


@dataclass(frozen=True)
class Variant:
    """A block in another form.

    `cut`: the branch without the shortcut.  `replace`: `value` in the branch's place.
    `parallel`: the blocks of several steps from one state.
    """

    kind: str
    steps: tuple[Step, ...]
    value: str = ""

    def block(self, chain: ResidualChain) -> ResidualBlock:
        """The block that this is in a chain."""
        return MAKE[self.kind](chain, self)

    @property
    def branch_runs(self) -> int:
        """How many branches are evaluated."""
        if self.kind == "replace":
            return int(self.value not in VALUES)
        return sum(branch_runs(step) for step in self.steps)


def branch_runs(step: Step) -> int:
    """How many branches of the network a step evaluates."""
    place, gate = step
    return int(gate != 0) * (1 if isinstance(place, int) else place.branch_runs)


class BranchAlone(PlainLayer):
    """after(gate · branch(h)): a block whose shortcut is cut, or several in parallel."""

    gated = True

    def sum(self, h: AnyState, gate: float = 1.0) -> Tensor:
        branch = self.branch(h)
        return branch if gate == 1 else gate * branch


class MeanOfSums(nn.Module):
    """The mean over blocks of `shortcut(h) + gate · branch(h)`, all of one state."""

    def __init__(self, blocks: list[ResidualBlock], gates: list[float]) -> None:
        super().__init__()
        self.blocks, self.gates = blocks, gates
        self.parts = nn.ModuleList(m for b in blocks for m in (b.shortcut, b.branch))

    def forward(self, h: AnyState) -> Tensor:
        tensor = residual(h)
        total = torch.zeros((), dtype=tensor.dtype, device=tensor.device)
        for block, gate in zip(self.blocks, self.gates, strict=True):
            total = total + block.sum(h, gate)
        return total / len(self.blocks)


def cut(chain: ResidualChain, variant: Variant) -> ResidualBlock:
    """The block without its shortcut."""
    block = chain.block(variant.steps[0][0])
    return _as(BranchAlone, block)


def replaced(chain: ResidualChain, variant: Variant) -> ResidualBlock:
    """The block with a value of the chain's in the place of its branch."""
    number, value = variant.steps[0][0], variant.value
    block = chain.block(number)
    module = chain.values.get((number, value))
    if module is None:
        raise ProbeError(
            f"the branch of {chain.unit} {number} is to be replaced by {value}: its value is "
            "fitted on calibration images, so give calibrate="
        )
    return replace(_as(ResidualBlock, block), branch=module, total=None)


def parallel(chain: ResidualChain, variant: Variant) -> ResidualBlock:
    """Several blocks from one state: the mean of their sums, and the last one's `after`."""
    blocks = [chain.block(place) for place, _ in variant.steps]
    mean = MeanOfSums(blocks, [gate for _, gate in variant.steps])
    last = _as(BranchAlone, blocks[-1])
    return replace(last, branch=mean, total=None, in_shape=blocks[0].in_shape)


MAKE = {"cut": cut, "replace": replaced, "parallel": parallel}


def _as(kind: type[ResidualBlock], block: ResidualBlock) -> ResidualBlock:
    """The same parts as a block of another class."""
    return kind(**{field.name: getattr(block, field.name) for field in fields(ResidualBlock)})
