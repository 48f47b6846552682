"""What is kept of each batch: values of single images, and moments by group of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.stats.moments import Floats, Moments
from resnet_probe.studies.responses.passes import Seen, SeenBlock
from resnet_probe.studies.study import Arrays

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
    """Takes batches in the order of the images; the outcome does not depend on their size.

    What is computed of a batch stays on the device until all of it is there, and is fetched once.
    """

    def __init__(self, chain: ResidualChain, layers: int, images: int) -> None:
        """`images` is how many there are in all; those of a part know their numbers."""
        self.groups = min(GROUPS, images)
        width = sum(block_channels(block) ** 2 for block in chain)
        self.product_groups = self.groups if 8 * width * self.groups <= GRAMS else 1
        self.layers = [Moments.none((self.groups,)) for _ in range(layers)]
        self.blocks = [BlockValues(block) for block in chain]
        self.stages = [[number - 1 for number in stage] for stage in chain.stages]
        self.device, self.tokens = chain.device, chain.of_tokens

    @torch.no_grad()
    def add(self, seen: Seen) -> None:
        groups = seen.numbers % self.groups
        waiting: dict[str, Tensor] = {}
        for place, response in enumerate(seen.layers):
            waiting |= _moments(f"layer.{place}", response, range(1, response.dim()))
        for place, block in enumerate(seen.blocks):
            waiting |= _of_block(f"block.{place}", block, self.tokens)
        for stage in self.stages:
            waiting |= _of_stage([seen.blocks[place] for place in stage], stage)
        self._merge(fetched(waiting), seen, groups)
        self._add_products(seen, groups % self.product_groups)

    def _merge(self, found: Arrays, seen: Seen, groups: NDArray[np.intp]) -> None:
        def grouped(name: str, elements: int, before: Moments | None) -> Moments:
            mean, variance = found[f"{name}.mean"], found[f"{name}.variance"]
            moments = Moments(np.full(mean.shape, float(elements)), mean, variance * elements)
            new = moments.in_groups(groups, self.groups)
            return new if before is None else before.merge(new)

        for place, response in enumerate(seen.layers):
            elements = response[0].numel()
            self.layers[place] = grouped(f"layer.{place}", elements, self.layers[place])
        for place, (values, block) in enumerate(zip(self.blocks, seen.blocks, strict=True)):
            name, elements = f"block.{place}", channels(block.branch).shape[2]
            values.branch = grouped(f"{name}.branch", elements, values.branch)
            if block.shortcut is not None:
                elements = channels(block.shortcut).shape[2]
                values.shortcut = grouped(f"{name}.shortcut", elements, values.shortcut)
            for key, single in found.items():
                if key.startswith(f"{name}.image."):
                    # A copy: `single` is a view that would keep all that was fetched of its batch.
                    values.per_image[key.rpartition(".")[2]].append(single.copy())
            active = [relu > 0 for relu in block.relus]
            values.on = _either(values.on, [a.any(0) for a in active])
            values.off = _either(values.off, [(~a).any(0) for a in active])

    def _add_products(self, seen: Seen, groups: NDArray[np.intp]) -> None:
        """Σ over images and positions of products of channels, `[groups, channels, channels]`."""
        members = {
            int(group): torch.from_numpy(np.flatnonzero(groups == group)).to(self.device)
            for group in np.unique(groups)
        }
        for values, block in zip(self.blocks, seen.blocks, strict=True):
            rows = channels(block.branch).double()
            if values.products is None:
                shape = (self.product_groups, rows.shape[1], rows.shape[1])
                values.products = torch.zeros(shape, dtype=torch.float64, device=rows.device)
            for group, some in members.items():
                matrix = rows[some].transpose(0, 1).flatten(1)
                values.products[group] += matrix @ matrix.T

    def state(self) -> Arrays:
        """All that is known, for `restore`, by names that say how parts are put together."""
        found: Arrays = {}
        for place, moments in enumerate(self.layers):
            found |= moments.named(f"layer.{place}")
        for place, values in enumerate(self.blocks):
            name = f"block.{place}"
            for what in ("branch", "shortcut"):
                if (moments := getattr(values, what)) is not None:
                    found |= moments.named(f"{name}.{what}")
            for quantity, parts in values.per_image.items():
                found[f"{name}.image.{quantity}"] = np.concatenate(parts)
            if values.products is not None:
                found[f"sum.{name}.products"] = values.products.cpu().numpy()
            for what in ("on", "off"):
                for number, units in enumerate(getattr(values, what)):
                    found[f"any.{name}.{what}.{number}"] = units.cpu().numpy()
        return found

    def restore(self, found: Arrays) -> None:
        """Go back to what `state` gave."""
        for place in range(len(self.layers)):
            self.layers[place] = Moments.of_name(f"layer.{place}", found)
        for place, values in enumerate(self.blocks):
            name = f"block.{place}"
            for what in ("branch", "shortcut"):
                if f"{name}.{what}.count" in found:
                    setattr(values, what, Moments.of_name(f"{name}.{what}", found))
            for key, array in found.items():
                if key.startswith(f"{name}.image."):
                    values.per_image[key.rpartition(".")[2]] = [array]
            values.products = torch.from_numpy(found[f"sum.{name}.products"]).to(self.device)
            for what in ("on", "off"):
                units = [key for key in found if key.startswith(f"any.{name}.{what}.")]
                units.sort(key=lambda key: int(key.rpartition(".")[2]))
                there = [torch.from_numpy(found[key]).to(self.device) for key in units]
                setattr(values, what, there)


def fetched(tensors: dict[str, Tensor]) -> Arrays:
    """Float64 tensors of one device as arrays, by one copy for all of them."""
    flat = torch.cat([tensor.flatten() for tensor in tensors.values()]).cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors.values()])[:-1]
    parts = np.split(flat, ends)
    return {
        name: part.reshape(tuple(tensor.shape))
        for (name, tensor), part in zip(tensors.items(), parts, strict=True)
    }


def _moments(name: str, values: Tensor, dims: Sequence[int]) -> dict[str, Tensor]:
    variance, mean = torch.var_mean(values.double(), dim=tuple(dims), correction=0)
    return {f"{name}.mean": mean, f"{name}.variance": variance}


def _of_block(name: str, seen: SeenBlock, tokens: bool) -> dict[str, Tensor]:
    found = {f"{name}.image.{what}": value for what, value in two_terms(seen).items()}
    found[f"{name}.image.block_influence"] = block_influence(seen.h, seen.out, tokens=tokens)
    found |= _moments(f"{name}.branch", channels(seen.branch), (2,))
    if seen.shortcut is not None:
        found |= _moments(f"{name}.shortcut", channels(seen.shortcut), (2,))
    return found


def _of_stage(stage: list[SeenBlock], places: list[int]) -> dict[str, Tensor]:
    """Each block's output against the stage's last one; before pooling, where that follows.

    NaN where its shape is another one.
    """
    outs = [seen.out for seen in stage]
    if len({out.shape for out in outs}) > 1:
        outs = [seen.branch for seen in stage]
    end = outs[-1].flatten(1).double()
    size = end.norm(dim=1)

    def deviation(out: Tensor) -> Tensor:
        if out.shape != outs[-1].shape:
            return torch.full_like(size, torch.nan)
        return quotient((out.flatten(1).double() - end).norm(dim=1), size)

    return {
        f"block.{place}.image.stage_deviation": deviation(out)
        for place, out in zip(places, outs, strict=True)
    }


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


def block_influence(h: Tensor, out: Tensor, *, tokens: bool) -> Tensor:
    """1 − cos(h, h′) of each image, float64 `[n]`; NaN where the block changes the shape.

    Of `tokens`, states `[n, t, width]`, the mean of each token's own.
    """
    if h.shape != out.shape:
        return torch.full((len(h),), torch.nan, dtype=torch.float64, device=h.device)
    before, after = (state.flatten(-1 if tokens else 1).double() for state in (h, out))
    each = 1 - cosine(before, after)
    return each.flatten(1).mean(1) if tokens else each


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return quotient((a * b).sum(-1), a.norm(dim=-1) * b.norm(dim=-1))


def quotient(above: Tensor, below: Tensor) -> Tensor:
    return above / torch.where(below > 0, below, torch.nan)


def channels(term: Tensor) -> Tensor:
    """`[n, channels, positions]`."""
    return term.unsqueeze(-1).flatten(2)


def block_channels(block: ResidualBlock) -> int:
    return int(block.out_shape[0]) if block.out_shape else 1


def _either(before: list[Tensor], now: list[Tensor]) -> list[Tensor]:
    return [a | b for a, b in zip(before, now, strict=True)] if before else now
