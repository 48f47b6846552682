"""A residual block is an order, a body, a shortcut and a join; this file puts them together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from resnet_probe.models.joins import SUM, Join, make_join, make_shortcut, projects
from resnet_probe.models.orders import Order
from resnet_probe.models.parts import DENSE, Steps, weighted
from resnet_probe.models.skipping import Skippable


@dataclass(frozen=True)
class Body:
    """The convolutions of a branch: their kernel sizes, and which of them (from 0) strides.

    The stride is in the first, as in the networks of 2015 and 2016; torchvision's bottleneck
    ("v1.5") and ResNeXt have it in the 3×3. `groups` are those of every convolution but the first
    and the last (Xie et al. 2016, arXiv 1611.05431, figure 3c). `dropout` stands before the last
    convolution (Zagoruyko & Komodakis 2016, arXiv 1605.07146, section 2.4).
    """

    kernels: tuple[int, ...]
    strided: int = 0
    groups: int = 1
    bias: bool = False
    dropout: float = 0.0


BASIC = Body(kernels=(3, 3))
BOTTLENECK = Body(kernels=(1, 3, 1))


@dataclass(frozen=True)
class BlockSpec:
    """What all blocks of a network have in common; `shortcut` None makes plain layers."""

    order: Order
    body: Body
    shortcut: str | None
    join: Join = SUM


@dataclass(frozen=True)
class Sizes:
    """Channels of a block's input, inside its branch and of its output; and its stride."""

    channels: int
    inner: int
    outer: int
    stride: int = 1

    @property
    def ends(self) -> tuple[int, int, int]:
        """What shortcut and join have to lead from and to."""
        return self.channels, self.outer, self.stride


class Block(Skippable):
    """[n, channels, h, w] -> [n, outer, ceil(h/stride), ceil(w/stride)].

    With a shortcut: `after(join(shortcut(x), branch(x)))`, without one: `after(branch(x))`.
    Parameters are named conv1, bn1, conv2, bn2, … in the order of the branch, shortcut.0,
    shortcut.1, and join.gate.

    A pre-activation stands before the split into two paths, and so acts on the shortcut too, in
    the `first` block of a network and where the shortcut is a convolution (He et al. 2016,
    appendix); everywhere else it belongs to the branch alone and the shortcut is clean. A
    `deleted` block has no branch: what a lesion leaves of it, to be trained as it is.
    """

    def __init__(
        self, spec: BlockSpec, sizes: Sizes, *, first: bool = False, deleted: bool = False
    ) -> None:
        super().__init__()
        self.deleted = deleted
        shared = first or (spec.shortcut is not None and projects(spec.shortcut, *sizes.ends))
        before: Steps = ()
        if shared or not deleted:
            before = self.append_activation(spec.order.before, sizes.channels)
        branch: Steps = () if deleted else self._append_branch(spec, sizes)
        self.steps_after = self.append_activation(spec.order.after, sizes.outer)
        self.shortcut: nn.Module | None = None
        if spec.shortcut is not None:
            # A projection ends as the branch does, so that both sides of the addition are alike.
            norm = "bn" in spec.order.behind
            self.shortcut = make_shortcut(spec.shortcut, *sizes.ends, norm=norm)
            self.join = make_join(spec.join, *sizes.ends)
        self.steps_shared = before if shared else ()
        self.steps_branch = branch if shared else before + branch

    def _append_branch(self, spec: BlockSpec, sizes: Sizes) -> Steps:
        body, channels = spec.body, sizes.channels
        steps: Steps = ()
        last = len(body.kernels) - 1
        for i, kernel in enumerate(body.kernels):
            if body.dropout and i == last:
                steps += self.append("dropout", nn.Dropout(body.dropout))
            layer = weighted(
                channels,
                channels := sizes.outer if i == last else sizes.inner,
                kernel,
                sizes.stride if i == body.strided else 1,
                groups=body.groups if 0 < i < last else 1,
                bias=body.bias,
            )
            steps += self.append("fc" if kernel == DENSE else "conv", layer)
            kinds = spec.order.behind if i == last else spec.order.between
            steps += self.append_activation(kinds, channels)
        return steps

    def zero_last_norm_(self) -> None:
        """Sets the scale of the branch's last batch norm to 0, so that the block starts idle."""
        names = [name for name in self.steps_branch if name.startswith("bn")]
        if names:
            nn.init.zeros_(getattr(self, names[-1]).weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.run(self.steps_shared, x)
        if self.shortcut is None:
            return self.run(self.steps_after, self.run(self.steps_branch, x))
        if self.deleted or not self.runs_branch():
            return self.run(self.steps_after, self.join.alone(x, self.shortcut(x)))
        branch = self.surviving(self.run(self.steps_branch, x))
        return self.run(self.steps_after, self.join(x, self.shortcut(x), branch))
