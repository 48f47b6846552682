"""How cotangents go back through the simple operations: elementwise, reshaping, pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resnet_probe.engine.pullback import stack
from resnet_probe.engine.pullback.tape import Given, Pull


@dataclass(frozen=True)
class PullSum(Pull):
    """For operations that hand their operands on, and add them up if there are several.

    `shapes` are those of the operands, `[n, …]`, and `made` that of the sum.
    """

    shapes: tuple[tuple[int, ...], ...]
    made: tuple[int, ...]

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        mine = own and len(self.shapes) == 1
        return [(stack.unbroadcast(g, shape), mine) for shape in self.shapes]

    @property
    def in_place(self) -> bool:
        return self.shapes == (self.made,)


@dataclass(frozen=True)
class PullScaled(Pull):
    """For elementwise operations: the cotangent times a mask, a slope or a scale.

    `scale` broadcasts to the shape of the operation's source, which is that of its result.
    """

    scale: Tensor

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        if own:
            return [(g.mul_(self.scale), True)]
        return [(g * self.scale, True)]

    @property
    def in_place(self) -> bool:
        return True

    @property
    def held(self) -> Iterable[Tensor]:
        return (self.scale,)


@dataclass(frozen=True)
class PullProduct(Pull):
    """For a product of operands that broadcast: the cotangent times the other operand, summed."""

    others: tuple[Tensor | float, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        return [
            (stack.unbroadcast(g * other, shape), True)
            for other, shape in zip(self.others, self.shapes, strict=True)
        ]

    @property
    def held(self) -> Iterable[Tensor]:
        return [other for other in self.others if isinstance(other, Tensor)]


@dataclass(frozen=True)
class PullMatrix(Pull):
    """For a linear map `x @ weight.T`."""

    weight: Tensor

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        return [(torch.matmul(g, self.weight), True)]


@dataclass(frozen=True)
class PullReshape(Pull):
    """For a reshape that keeps the order of the elements and the batch axis."""

    shape: tuple[int, ...]

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        return [(g.reshape(*g.shape[:2], *self.shape), own)]


@dataclass(frozen=True)
class PullPermute(Pull):
    """For an exchange of axes behind the batch axis, `inverse` being that of `[n, *shape]`."""

    inverse: tuple[int, ...]

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        return [(g.permute(0, 1, *(axis + 1 for axis in self.inverse)), own)]


@dataclass(frozen=True)
class PullSlice(Pull):
    """For basic indexing that leaves the batch axis alone."""

    index: tuple[Any, ...]
    shape: tuple[int, ...]

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        whole = stack.zeros(len(g), g.shape[1], self.shape, g)
        whole[(slice(None), *self.index)] = g
        return [(whole, True)]


@dataclass(frozen=True)
class PullPadding(Pull):
    """For padding with a constant: `margins` are (before, behind) of each axis but the batch's."""

    margins: tuple[tuple[int, int], ...]

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        kept = (
            slice(before, size - behind)
            for (before, behind), size in zip(self.margins, g.shape[2:], strict=True)
        )
        return [(g[(slice(None), slice(None), *kept)], own)]


@dataclass(frozen=True)
class PullMean(Pull):
    """For the mean over all positions of an image, `[n, c, h, w]` to `[n, c, 1, 1]`."""

    size: tuple[int, int]

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        height, width = self.size
        return [((g / (height * width)).expand(*g.shape[:3], height, width), False)]


@dataclass(frozen=True)
class PullMaximum(Pull):
    """For max pooling: `winners` `[n, c, h', w']` are the flat positions that were the largest."""

    winners: Tensor
    size: tuple[int, int]

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        flat = g.new_zeros(*g.shape[:3], self.size[0] * self.size[1])
        at = self.winners.flatten(2).expand(*g.shape[:3], -1)
        flat.scatter_add_(3, at, g.flatten(3))
        return [(flat.unflatten(3, self.size), True)]

    @property
    def held(self) -> Iterable[Tensor]:
        return (self.winners,)


class PullGraph(Pull):
    """For a module of many operations without a rule: autograd's graph of all of them at once.

    All cotangents of a stack go back together.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], at: Tensor) -> None:
        self.kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            self.kept[tensor.untyped_storage().data_ptr()] = tensor.detach()
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            self.given = at.detach().requires_grad_()
            self.made = function(self.given)

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        if not self.made.requires_grad:
            return [(g.new_zeros(len(g), *self.given.shape), True)]
        found = torch.autograd.grad(
            self.made, self.given, g, retain_graph=True, allow_unused=True,
            materialize_grads=True, is_grads_batched=True,
        )[0]  # fmt: skip
        return [(found, True)]

    @property
    def held(self) -> Iterable[Tensor]:
        return self.kept.values()


@dataclass(frozen=True)
class PullAnything(Pull):
    """For any other operation: autograd's own rule, one cotangent of the stack after another.

    Each cotangent is laid out as the operation's own result is: for other strides some backward
    kernels of PyTorch answer wrongly (instance norm of one image, 2.14).
    """

    pull: Callable[[Tensor], tuple[Tensor, ...]]
    kept: tuple[Tensor, ...]
    made: Tensor

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        alike = (torch.empty_like(self.made).copy_(one) for one in g)
        columns = zip(*map(self.pull, alike), strict=True)
        return [(torch.stack(column), True) for column in columns]

    @property
    def held(self) -> Iterable[Tensor]:
        return (*self.kept, self.made)
