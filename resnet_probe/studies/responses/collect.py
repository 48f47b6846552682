"""What is kept of each batch: values of single images, and moments by group of images."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.stats.moments import Floats, Moments
from resnet_probe.studies.responses.passes import Seen, SeenBlock

GROUPS = 20
"""Of images, for the jackknife: image i belongs to group i modulo their number."""
GRAMS = 256 * 2**20
"""Bytes of channel products beyond which they are kept for all images together only."""


@dataclass(eq=False)
class BlockValues:
    """What is known of a block: `per_image` by quantity; the rest by group of images."""

    block: ResidualBlock
    per_image: dict[str, list[Floats]] = field(default_factory=lambda: defaultdict(list))
    branch: Moments | None = None
    shortcut: Moments | None = None
    products: Tensor | None = None
    on: list[Tensor] = field(default_factory=list)
    off: list[Tensor] = field(default_factory=list)


class Collector:
    """Takes batches in the order of the images; the outcome does not depend on their size."""

    def __init__(self, chain: ResidualChain, layers: int, images: int) -> None:
        self.groups = min(GROUPS, images)
        width = sum(block_channels(block) ** 2 for block in chain)
        self.product_groups = self.groups if 8 * width * self.groups <= GRAMS else 1
        self.layers = [Moments.none((self.groups,)) for _ in range(layers)]
        self.blocks = [BlockValues(block) for block in chain]
        self.stages = [[number - 1 for number in stage] for stage in chain.stages]

    @torch.no_grad()
    def add(self, seen: Seen) -> None:
        count = len(seen.blocks[0].branch)
        groups = np.arange(seen.start, seen.start + count) % self.groups
        for place, response in enumerate(seen.layers):
            found = Moments.of(response, range(1, response.dim()))
            self.layers[place] = self.layers[place].merge(found.in_groups(groups, self.groups))
        for values, block in zip(self.blocks, seen.blocks, strict=True):
            self._add_block(values, block, groups)
        for stage in self.stages:
            self._add_stage([seen.blocks[place] for place in stage], stage)

    def _add_block(self, values: BlockValues, seen: SeenBlock, groups: NDArray[np.intp]) -> None:
        for name, found in two_terms(seen).items():
            values.per_image[name].append(found.cpu().numpy())
        values.branch = self._moments(values.branch, seen.branch, groups)
        if seen.shortcut is not None:
            values.shortcut = self._moments(values.shortcut, seen.shortcut, groups)
        self._add_products(values, seen.branch, groups % self.product_groups)
        active = [relu > 0 for relu in seen.relus]
        ever_on, ever_off = [a.any(0) for a in active], [(~a).any(0) for a in active]
        values.on = _either(values.on, ever_on)
        values.off = _either(values.off, ever_off)

    def _moments(self, before: Moments | None, term: Tensor, groups: NDArray[np.intp]) -> Moments:
        """By group and channel, `[groups, channels]`."""
        found = Moments.of(channels(term), (2,)).in_groups(groups, self.groups)
        return found if before is None else before.merge(found)

    def _add_products(
        self, values: BlockValues, response: Tensor, groups: NDArray[np.intp]
    ) -> None:
        """Σ over images and positions of products of channels, `[groups, channels, channels]`."""
        rows = channels(response).double()
        if values.products is None:
            shape = (self.product_groups, rows.shape[1], rows.shape[1])
            values.products = torch.zeros(shape, dtype=torch.float64, device=rows.device)
        for group in np.unique(groups):
            some = rows[torch.from_numpy(np.flatnonzero(groups == group)).to(rows.device)]
            matrix = some.transpose(0, 1).flatten(1)
            values.products[group] += matrix @ matrix.T

    def _add_stage(self, stage: list[SeenBlock], places: list[int]) -> None:
        """Each block's output against the stage's last one; before pooling, where that follows."""
        outs = [seen.out for seen in stage]
        if len({out.shape for out in outs}) > 1:
            outs = [seen.branch for seen in stage]
        end = outs[-1].flatten(1).double()
        size = end.norm(dim=1)
        for place, out in zip(places, outs, strict=True):
            apart = (out.flatten(1).double() - end).norm(dim=1)
            found = quotient(apart, size).cpu().numpy()
            self.blocks[place].per_image["stage_deviation"].append(found)


def two_terms(seen: SeenBlock) -> dict[str, Tensor]:
    """Of each image, float64 `[n]`: how F(h) lies beside the shortcut and the gradients.

    NaN where a length is 0, or where there are no two terms or shapes to compare.
    """
    branch = seen.branch.flatten(1).double()
    none = torch.full_like(branch[:, 0], torch.nan)
    if seen.shortcut is None:
        names = ("ratio", "cosine_shortcut", "cosine_gradient", "cosine_gradient_sum")
        return dict.fromkeys(names, none)
    short, up = seen.shortcut.flatten(1).double(), seen.gradient_sum.flatten(1).double()
    same = seen.gradient_h.shape == seen.branch.shape
    return {
        "ratio": quotient(branch.norm(dim=1), short.norm(dim=1)),
        "cosine_shortcut": cosine(branch, short),
        "cosine_gradient": cosine(branch, seen.gradient_h.flatten(1).double()) if same else none,
        "cosine_gradient_sum": cosine(branch, up),
    }


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return quotient((a * b).sum(1), a.norm(dim=1) * b.norm(dim=1))


def quotient(above: Tensor, below: Tensor) -> Tensor:
    return above / torch.where(below > 0, below, torch.nan)


def channels(term: Tensor) -> Tensor:
    """`[n, channels, positions]`."""
    return term.unsqueeze(-1).flatten(2)


def block_channels(block: ResidualBlock) -> int:
    return int(block.out_shape[0]) if block.out_shape else 1


def _either(before: list[Tensor], now: list[Tensor]) -> list[Tensor]:
    return [a | b for a, b in zip(before, now, strict=True)] if before else now
