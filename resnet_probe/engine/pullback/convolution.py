"""The transpose of a convolution, with the scales of neighbouring batch norms in its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_probe.engine.pullback import stack
from resnet_probe.engine.pullback.tape import Given, Pull

Pair = tuple[int, int]


def has_rule(conv: nn.Module) -> bool:
    """Whether `TransposedConvolution` covers a module."""
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros":
        return False
    odd = all(d * (k - 1) % 2 == 0 for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    return conv.padding != "same" or odd


@dataclass(frozen=True)
class TransposedConvolution:
    """`[k, n, out, h', w']` to `[k, n, in, h, w]`, prepared once for each convolution.

    At stride 1 the transpose is a convolution itself, with the kernel turned by half a turn and
    the channels exchanged, and runs as fast as the forward pass.
    """

    weight: Tensor
    turned: bool
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @classmethod
    def of(cls, conv: nn.Conv2d, *, behind: Tensor, before: Tensor) -> TransposedConvolution:
        """`behind` `[out]` scales what the convolution gives, `before` `[in]` what it is given."""
        weight, groups = conv.weight.detach().double(), conv.groups
        weight = weight * behind.double().view(-1, 1, 1, 1)
        weight = weight * before.double().view(groups, 1, -1, 1, 1).expand(
            groups, len(weight) // groups, -1, 1, 1
        ).reshape(len(weight), -1, 1, 1)
        padding, dilation = _padding(conv), _pair(conv.dilation)
        reach = _pair([d * (k - 1) for d, k in zip(dilation, conv.kernel_size, strict=True)])
        turned = tuple(conv.stride) == (1, 1) and all(
            p <= r for p, r in zip(padding, reach, strict=True)
        )
        if turned:
            weight = _turn(weight, groups)
            padding = _pair([r - p for r, p in zip(reach, padding, strict=True)])
        weight = weight.to(conv.weight.dtype).contiguous(memory_format=torch.channels_last)
        return cls(weight, turned, _pair(conv.stride), padding, dilation, groups)

    def to_image(self, size: Sequence[int]) -> PullConvolution:
        """The transpose for inputs of height and width `size`."""
        return PullConvolution(self, _pair(size))

    def apply(self, rows: Tensor, size: Pair) -> Tensor:
        if self.turned:
            return F.conv2d(rows, self.weight, None, 1, self.padding, self.dilation, self.groups)
        kernel = self.weight.shape[2:]
        missing = [
            s + 2 * p - d * (k - 1) - 1 - (out - 1) * stride
            for s, p, d, k, out, stride in zip(
                size, self.padding, self.dilation, kernel, rows.shape[2:], self.stride, strict=True
            )
        ]
        return F.conv_transpose2d(
            rows, self.weight, None, self.stride, self.padding, missing, self.groups, self.dilation
        )


@dataclass(frozen=True)
class PullConvolution(Pull):
    """A transposed convolution for inputs of one size."""

    transposed: TransposedConvolution
    size: Pair

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        rows = self.transposed.apply(stack.merge(g), self.size)
        return [(stack.split(rows, g.shape[1]), True)]


def _turn(weight: Tensor, groups: int) -> Tensor:
    """`[out, in/groups, kh, kw]` to `[in, out/groups, kh, kw]`, turned by half a turn."""
    out, inner, *kernel = weight.shape
    parted = weight.view(groups, out // groups, inner, *kernel).transpose(1, 2)
    return parted.reshape(groups * inner, out // groups, *kernel).flip(2, 3)


def _padding(conv: nn.Conv2d) -> Pair:
    if conv.padding == "same":
        return _pair(
            [d * (k - 1) // 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        )
    return (0, 0) if isinstance(conv.padding, str) else _pair(conv.padding)


def _pair(values: Sequence[int]) -> Pair:
    first, second = values
    return int(first), int(second)
