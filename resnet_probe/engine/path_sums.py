"""Gradients on their way back through a chain, one row for each set of paths.

Gradients of long paths are tiny (10⁻⁴⁸ of short ones in a trained network of 54 blocks), below what
float32 can hold.  So each row carries a scale, a power of two, that keeps its values near 1: all of
it is linear, and multiplying by powers of two rounds nothing.  A row that is zero for all images is
not live: nothing is computed of it until a row below grows into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isfinite, log2, prod
from typing import NamedTuple

import torch
from torch import Tensor

from resnet_probe.engine.pullback import Pullback, stack
from resnet_probe.engine.pullback.chain import BlockPullback

FAR = 20
"""PathSums whose largest norm is further from 1 than by 2 to the power of this are scaled anew."""
MOST = 100
"""The largest exponent of one step, which float32 can hold."""


class PathSums(NamedTuple):
    """Gradients `values[r] · scale[r]`, of shapes `[rows, n, *shape]` and `[rows]` (float64)."""

    values: Tensor
    scale: Tensor

    def norms(self) -> Tensor:
        """`[rows, n]` in float64; squares are added up in the type of the values."""
        return _norms(self.values) * self.scale.unsqueeze(1)

    def precise(self) -> Iterator[Tensor]:
        """One row after another, `[n, numbers]` in float64, its scale applied."""
        for row, scale in zip(self.values, self.scale, strict=True):
            yield row.double().flatten(1) * scale


class GrowingSums:
    """PathSums to which the blocks of a chain are applied, mostly in their own memory."""

    def __init__(self, first: Tensor, slots: int, chunk: int) -> None:
        self.values = stack.empty(slots, len(first), first.shape[1:], first)
        self.exponents = [0] * slots
        self.live = [False] * slots
        self.slots = slots
        self.used = 0
        self.chunk = chunk
        self.append(first)

    @property
    def seen(self) -> PathSums:
        return PathSums(self.values[: self.used], self._scale())

    def append(self, row: Tensor) -> None:
        self.values[self.used].copy_(row)
        self.live[self.used] = True
        self.used += 1

    def add_paths(self, block: BlockPullback, *, total: bool, sign: Tensor | None) -> None:
        """G'[k] = Sᵀ G[k] + Jᵀ G[k − 1]; a total in row 0 goes both ways and stays there."""
        target = self._target(block)
        grown = min(self.used + 1, self.slots)
        if grown > self.used:
            self.exponents[self.used] = self.exponents[self.used - 1]
        for row in range(grown):
            if row == self.used or not (self.live[row] or target is self.values):
                target[row].zero_()
        up = target.new_tensor([2.0 ** (a - b) for a, b in pairwise(self.exponents[:grown])])
        for start, stop in self._chunks(block):
            g = block.after(self.values[start:stop], own=True)
            if target is not self.values:
                target[start:stop].copy_(block.shortcut(g))
            stop = min(stop, grown - 1)  # the branch of the last row leads beyond `slots`
            if start < stop:
                branch = block.branch(g[: stop - start])
                self._land(target, branch, start, total, up, sign)
        self.live[1:grown] = [one or below for below, one in pairwise(self.live[:grown])]
        self.values, self.used = target, grown

    def fork_paths(self, block: BlockPullback, *, below: int) -> None:
        """Rows up to `below` take the shortcut; those from it on the branch, one row higher up."""
        target = self._target(block)
        grown = min(self.used + 1, self.slots)
        for start, stop in self._chunks(block):
            g = block.after(self.values[start:stop], own=True)
            straight = min(stop, below + 1)
            if target is not self.values and start < straight:
                target[start:straight].copy_(block.shortcut(g[: straight - start]))
            first, last = max(start, below), min(stop, grown - 1)
            if first < last:
                branch = block.branch(g[first - start : last - start])
                target[first + 1 : last + 1].copy_(branch)
        self.exponents[below + 1 :] = self.exponents[below:-1]
        self.live[:grown] = [True] * grown
        self.values, self.used = target, grown

    def rescale(self) -> Tensor:
        """Bring all rows near 1; returns their norms `[rows, n]`, which that does not change."""
        norms = self.values.new_zeros(self.used, self.values.shape[1], dtype=torch.float64)
        for start, stop in self._runs():
            norms[start:stop] = _norms(self.values[start:stop])
        for row, size in enumerate(norms.amax(1).tolist()):
            if size == 0 and self.live[row]:  # squares of tiny values are zero, too
                size = float(self.values[row].abs().amax())
            if size == 0 and row > 0:
                self.exponents[row] = self.exponents[row - 1]
            elif isfinite(size) and size > 0 and abs(log2(size)) > FAR:
                exponent = max(-MOST, min(MOST, round(log2(size))))
                self.values[row].mul_(2.0**-exponent)
                self.exponents[row] += exponent
                norms[row] = _norms(self.values[row : row + 1])[0]
        return norms * self._scale().unsqueeze(1)

    def drop(self, norms: Tensor, tolerance: float) -> None:
        """Rows of less than `tolerance` times the norm of the first become 0, image by image.

        `norms` `[rows, n]` are theirs, and are set to 0 too.  The first two rows stay.
        """
        small = (norms < tolerance * norms[0]) & torch.isfinite(norms[0])
        small[:2] = False
        for row, dead in enumerate(small.sum(1).tolist()):
            if dead and self.live[row]:
                self.values[row, small[row]] = 0
                self.live[row] = dead < len(small[row])
        norms.masked_fill_(small, 0.0)

    def through(self, stem: Pullback | None) -> PathSums:
        """What arrives behind the stem, where there is one to go through."""
        if stem is None:
            return self.seen
        n = self.values.shape[1]
        target = stack.empty(self.used, n, stem.shape, self.values)
        for start, stop in self._pieces(prod(self.values.shape[2:])):
            target[start:stop].copy_(stem(self.values[start:stop], own=True))
        for row in range(self.used):
            if not self.live[row]:
                target[row].zero_()
        return PathSums(target, self._scale())

    def _scale(self) -> Tensor:
        scale = [2.0**exponent for exponent in self.exponents[: self.used]]
        return torch.tensor(scale, dtype=torch.float64, device=self.values.device)

    @staticmethod
    def _land(
        target: Tensor, branch: Tensor, start: int, total: bool, up: Tensor, sign: Tensor | None
    ) -> None:
        """Add what came through the branch from rows `start` on, one row higher up."""
        if total and start == 0:
            target[0].add_(branch[0])
            branch, start = branch[1:], 1
        weight = up[start : start + len(branch)].view(-1, 1)
        if sign is not None:
            weight = weight * sign
        place = target[start + 1 : start + 1 + len(branch)]
        place.addcmul_(branch, weight.view(*weight.shape, *[1] * (branch.dim() - 2)))

    def _target(self, block: BlockPullback) -> Tensor:
        if block.in_place:
            return self.values
        return stack.empty(self.slots, self.values.shape[1], block.branch.shape, self.values)

    def _chunks(self, block: BlockPullback) -> Iterator[tuple[int, int]]:
        """Ranges of rows from the highest down, so that each is read before it is added to."""
        return self._pieces(max(prod(self.values.shape[2:]), prod(block.branch.shape)))

    def _pieces(self, numbers: int) -> Iterator[tuple[int, int]]:
        """Ranges of live rows of about `chunk` bytes, for states of so many numbers."""
        width = numbers * self.values.shape[1] * self.values.element_size()
        step = max(1, self.chunk // width)
        for first, last in reversed(self._runs()):
            for stop in range(last, first, -step):
                yield max(first, stop - step), stop

    def _runs(self) -> list[tuple[int, int]]:
        """The live rows, as ranges that are as long as can be."""
        edges = [False, *self.live[: self.used], False]
        turns = [row for row, (a, b) in enumerate(pairwise(edges)) if a != b]
        return list(zip(turns[::2], turns[1::2], strict=True))


def _norms(values: Tensor) -> Tensor:
    """Of `[rows, n, *shape]`: `[rows, n]` in float64."""
    return torch.linalg.vector_norm(values, dim=tuple(range(2, values.dim()))).double()
