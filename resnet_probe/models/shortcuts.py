"""Shortcuts by kind (He et al. 2015, arXiv 1512.03385, section 4.1, options A, B and C)."""

from __future__ import annotations

from torch import nn

from resnet_probe.chain import OptionA

KINDS = ("A", "B", "C")


def changes_shape(channels: int, out_channels: int, stride: int) -> bool:
    """Whether a block with these numbers gives another shape than it takes."""
    return stride != 1 or channels != out_channels


def projects(kind: str, channels: int, out_channels: int, stride: int) -> bool:
    """Whether that kind of shortcut is a 1×1 convolution there."""
    return kind == "C" or (kind == "B" and changes_shape(channels, out_channels, stride))


def make(kind: str, channels: int, out_channels: int, stride: int, *, norm: bool) -> nn.Module:
    """The shortcut [n, channels, h, w] -> [n, out_channels, ceil(h/stride), ceil(w/stride)].

    A: identity, zero-padded where the shape changes. B: identity, a 1×1 convolution where the
    shape changes. C: a 1×1 convolution everywhere. `norm` puts a batch norm behind a convolution.
    """
    if projects(kind, channels, out_channels, stride):
        conv = nn.Conv2d(channels, out_channels, 1, stride, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(out_channels)) if norm else nn.Sequential(conv)
    if changes_shape(channels, out_channels, stride):
        return OptionA(channels, out_channels, stride)
    return nn.Identity()
