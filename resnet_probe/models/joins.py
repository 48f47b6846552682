"""Shortcuts by kind, and how a block puts its shortcut and its branch together.

Shortcuts are options A, B and C of He et al. 2015, arXiv 1512.03385, section 4.1; joins are those
of He et al. 2016, arXiv 1603.05027, section 3.

Every join computes one addition of two terms, `shortcut` and `branch`: what a lesion removes is
the second of them, and a path takes one or the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from resnet_probe.chain import OptionA
from resnet_probe.models.parts import weighted

HALF = 0.5
NOTES = {
    "scaled": "a block adds 0.5·x and 0.5·F(x): deleting it drops 0.5·F(x) and keeps 0.5·x.",
    "scaled_shortcut": "a block adds 0.5·x and F(x): deleting it drops F(x) and keeps 0.5·x.",
    "gated": "a block adds (1 − g(x))·x and g(x)·F(x): deleting it drops g(x)·F(x) and keeps "
    "(1 − g(x))·x, so a path through shortcuts alone is scaled by every 1 − g.",
    "gated_shortcut": "a block adds (1 − g(x))·x and F(x): deleting it drops F(x) and keeps "
    "(1 − g(x))·x, so a path through shortcuts alone is scaled by every 1 − g.",
    "dropout": "dropout on the shortcuts acts in training alone; what is measured is x + F(x).",
    "transform": "a layer computes H(x)·T(x) + x·(1 − T(x)) as x + T(x)·(H(x) − x): deleting it "
    "closes its transform gate (T = 0) and leaves x, and a path takes x or T(x)·(H(x) − x).",
}  # fmt: skip
"""What deletion and paths mean where a block is not just x + F(x)."""
GATED = ("gated", "gated_shortcut", "transform")


@dataclass(frozen=True)
class Join:
    """`kind` is "sum" or one of NOTES; the gate is a map of that kernel size, `bias` its start."""

    kind: str = "sum"
    bias: float = 0.0
    kernel: int = 1


SUM = Join()


class Sum(nn.Module):
    """shortcut + branch, all of shape [n, out_channels, h, w]; `x` is the block's input."""

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        return shortcut + branch

    def alone(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """The shortcut's term: what is left where there is no branch."""
        return shortcut


class Scaled(Sum):
    """0.5 · shortcut + scale · branch (section 3.1, constant scaling)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        return HALF * shortcut + (branch if self.scale == 1 else self.scale * branch)

    def alone(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return HALF * shortcut


class Dropped(Sum):
    """dropout(shortcut) + branch with ratio 0.5 (section 3.1, dropout shortcut)."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(HALF)

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        return self.dropout(shortcut) + branch

    def alone(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return self.dropout(shortcut)


class GatedShortcut(Sum):
    """(1 − g) · shortcut + branch, g = σ(W x + b) (section 3.1, shortcut-only gating)."""

    def __init__(self, join: Join, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.gate = weighted(channels, out_channels, join.kernel, stride, bias=True)
        self.bias = join.bias

    def set_bias_(self) -> None:
        """Gives the gate's bias its initial value: −6 begins at g = 0.0025, 0 at g = 0.5."""
        nn.init.constant_(self.gate.bias, self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        return (1 - self.gate(x).sigmoid()) * shortcut + branch

    def alone(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return (1 - self.gate(x).sigmoid()) * shortcut


class Gated(GatedShortcut):
    """(1 − g) · shortcut + g · branch (section 3.1, exclusive gating)."""

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        gate = self.gate(x).sigmoid()
        return (1 - gate) * shortcut + gate * branch


class Transform(GatedShortcut):
    """shortcut + g · (branch − shortcut): the same function as `Gated`, cut in another way.

    The shortcut's term is the shortcut itself, so that a branch left out is a transform gate of
    zero, as Srivastava et al. 2015, arXiv 1507.06228, section 5 delete a highway layer.
    """

    def forward(self, x: Tensor, shortcut: Tensor, branch: Tensor) -> Tensor:
        return shortcut + self.gate(x).sigmoid() * (branch - shortcut)

    def alone(self, x: Tensor, shortcut: Tensor) -> Tensor:
        return shortcut


def make_join(join: Join, channels: int, out_channels: int, stride: int) -> Sum:
    """The join of a block [n, channels, h, w] -> [n, out_channels, ceil(h/stride), …]."""
    if join.kind in GATED:
        kinds = {"gated": Gated, "gated_shortcut": GatedShortcut, "transform": Transform}
        return kinds[join.kind](join, channels, out_channels, stride)
    if join.kind == "dropout":
        return Dropped()
    if join.kind == "sum":
        return Sum()
    return Scaled(HALF if join.kind == "scaled" else 1.0)


def changes_shape(channels: int, out_channels: int, stride: int) -> bool:
    """Whether a block with these numbers gives another shape than it takes."""
    return stride != 1 or channels != out_channels


def projects(kind: str, channels: int, out_channels: int, stride: int) -> bool:
    """Whether that kind of shortcut is a 1×1 convolution there."""
    return kind == "C" or (kind == "B" and changes_shape(channels, out_channels, stride))


def make_shortcut(
    kind: str, channels: int, out_channels: int, stride: int, *, norm: bool
) -> nn.Module:
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
