"""A module whose layers carry the names that published checkpoints use: conv1, bn1, relu1, …"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from torch import Tensor, nn

Steps = tuple[str, ...]
DENSE = 0
"""The kernel size that stands for a fully connected layer."""

ACTIVATION: dict[str, Callable[[int], nn.Module]] = {
    "bn": nn.BatchNorm2d,
    "relu": lambda channels: nn.ReLU(),
}


def weighted(
    channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """A convolution that keeps the image size at stride 1; for kernel DENSE a linear layer.

    [n, channels, h, w] -> [n, out_channels, ceil(h/stride), ceil(w/stride)], and
    [n, channels] -> [n, out_channels].
    """
    if kernel == DENSE:
        return nn.Linear(channels, out_channels, bias=bias)
    return nn.Conv2d(
        channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=bias
    )


class Assembly(nn.Module):
    """Layers appended one after another, numbered by kind, and run by name.

    A program of names (`("conv1", "bn1", "relu1")`) is what lets one class stand for every order
    of convolution, batch norm and ReLU, while the parameters keep their flat, published names.
    Every ReLU is a module of its own and never in place: a tensor that two blocks share stays
    what it was, and a hook on a ReLU sees one call a forward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[str] = Counter()

    def append(self, kind: str, layer: nn.Module) -> Steps:
        """Appends a layer under the next free name of its kind."""
        self._counts[kind] += 1
        name = f"{kind}{self._counts[kind]}"
        self.add_module(name, layer)
        return (name,)

    def append_activation(self, kinds: Iterable[str], channels: int) -> Steps:
        """Appends batch norms and ReLUs, given as "bn" and "relu", in that order."""
        return tuple(
            name for kind in kinds for name in self.append(kind, ACTIVATION[kind](channels))
        )

    def run(self, steps: Steps, x: Tensor) -> Tensor:
        """`x` through the layers of those names, one after another."""
        for name in steps:
            x = getattr(self, name)(x)
        return x
