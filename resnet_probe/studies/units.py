"""Edits of layers: what a transformer's layer is, its attention and its MLP, edited together.

A pair of residual blocks is not one residual block, so a layer is no part of a chain; deleting it
is an edit that leaves out both branches (Lad et al. 2024, arXiv 2406.19384, delete layers so).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Change, Edit
from resnet_probe.errors import ProbeError

UNITS = ("block", "layer", "branch")


@dataclass(frozen=True)
class Layer:
    """The blocks of one layer, in order; it can be moved or run twice if it keeps the shape."""

    number: int
    blocks: tuple[int, ...]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @property
    def keeps_shape(self) -> bool:
        return self.in_shape == self.out_shape


class Layers:
    """The layers of a chain, numbered from 1: what `plan` needs to know, as of a chain's blocks."""

    unit = "layer"

    def __init__(self, chain: ResidualChain) -> None:
        self.name = chain.name
        self.chain = chain
        self.layers = tuple(
            Layer(
                number,
                blocks,
                in_shape=chain.block(blocks[0]).in_shape,
                out_shape=chain.block(blocks[-1]).out_shape,
            )
            for number, blocks in enumerate(chain.layers, start=1)
        )

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def block(self, number: int) -> Layer:
        if not 1 <= number <= len(self):
            raise ProbeError(
                f"layer {number} is out of range: {self.name} has {len(self)} layers "
                f"(1–{len(self)})"
            )
        return self.layers[number - 1]

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """Layer numbers by the stage in which they begin."""
        found: dict[int, list[int]] = {}
        for layer in self.layers:
            found.setdefault(self.chain.block(layer.blocks[0]).stage, []).append(layer.number)
        return tuple(tuple(numbers) for numbers in found.values())

    def expand(self, edit: Edit) -> Edit:
        """An edit of layers as one of blocks; `edits` goes on counting layers.

        The layers of a swap, `"4-9"`, become `"7+8-17+18"`; those of anything else a list.
        """
        made = Edit()
        if edit.kind == "permute":
            made = Edit.order(b for n, _ in edit.steps(self) for b in self.block(n).blocks)
        else:
            for change in edit.changes:
                made >>= self._made(change)
        blocks = " ".join(map(self._blocks, edit.blocks.split()))
        return replace(made, edits=edit.edits, blocks=blocks, draw=edit.draw, tau=edit.tau)

    def _made(self, change: Change) -> Edit:
        blocks = [b for n in change.blocks for b in self.block(n).blocks]
        if change.verb == "delete":
            return Edit.delete(*blocks)
        assert change.verb == "repeat" and isinstance(change.more, int)
        return Edit.repeat(blocks[0], blocks[-1], times=change.more)

    def _blocks(self, label: str) -> str:
        numbers = [self.block(int(number)).blocks for number in label.split("-")]
        between = "+" if len(numbers) > 1 else " "
        return "-".join(between.join(map(str, blocks)) for blocks in numbers)


def refuse_unknown(unit: str, chain: ResidualChain) -> None:
    """Raises `ProbeError` for another unit than there is, and for one that the chain lacks."""
    if unit not in UNITS:
        raise ProbeError(f"unknown unit {unit!r}: edits are of a block, a layer or a branch")
    if unit == "branch" and not any(block.partners for block in chain):
        raise ProbeError(
            f"unit='branch': no block of {chain.name} is one of several branches of a sum; cut a "
            "network that has such sums with level='branch'"
        )
