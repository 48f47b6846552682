"""Stacks of cotangents: `[k, n, *shape]`, one image batch `n`, `k` cotangents for each image.

The innermost memory of image-like shapes is channels last, as the convolutions want it, so that
the first two axes always merge into one dense batch without a copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def empty(k: int, n: int, shape: Sequence[int], like: Tensor) -> Tensor:
    """A stack `[k, n, *shape]` with undefined values, of the type and device of `like`."""
    if len(shape) != 3:
        return like.new_empty((k, n, *shape))
    channels, height, width = shape
    return like.new_empty((k, n, height, width, channels)).permute(0, 1, 4, 2, 3)


def zeros(k: int, n: int, shape: Sequence[int], like: Tensor) -> Tensor:
    return empty(k, n, shape, like).zero_()


def merge(stack: Tensor) -> Tensor:
    """`[k, n, …]` as one batch `[k·n, …]`, dense and, if image-like, channels last."""
    rows = stack.flatten(0, 1)
    if rows.dim() == 4:
        return rows.contiguous(memory_format=torch.channels_last)
    return rows.contiguous()


def split(rows: Tensor, n: int) -> Tensor:
    """`[k·n, …]` as `[k, n, …]`."""
    return rows.unflatten(0, (-1, n))


def aligned(value: Tensor) -> Tensor:
    """A value `[n, …]` of the forward pass, laid out in memory like a stack."""
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()


def unbroadcast(stack: Tensor, shape: Sequence[int]) -> Tensor:
    """The transpose of broadcasting `[n, …]` of that `shape` to what `stack` stacks."""
    while stack.dim() - 1 > len(shape):
        stack = stack.sum(2)
    spread = [
        axis + 1
        for axis, size in enumerate(shape)
        if axis > 0 and size == 1 and stack.shape[axis + 1] != 1
    ]
    return stack.sum(spread, keepdim=True) if spread else stack
