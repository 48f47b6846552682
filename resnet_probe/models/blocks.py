"""A residual block is an order, a body and a shortcut; this file puts the three together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from resnet_probe.models import shortcuts
from resnet_probe.models.parts import Assembly, Steps

BN_RELU: Steps = ("bn", "relu")


@dataclass(frozen=True)
class Order:
    """Where batch norms ("bn") and ReLUs ("relu") stand, in a block and at both ends of a network.

    `before` the first convolution of a branch, `between` two of them, `behind` the last one, and
    `after` the addition; `opening` behind the stem's convolution, `closing` before the pooling.
    """

    before: Steps = ()
    between: Steps = BN_RELU
    behind: Steps = ()
    after: Steps = ()
    opening: Steps = ()
    closing: Steps = ()


# He et al. 2016, arXiv 1603.05027, figure 4 (a) and (e).
ORIGINAL = Order(behind=("bn",), after=("relu",), opening=BN_RELU)
FULL_PREACTIVATION = Order(before=BN_RELU, closing=BN_RELU)


@dataclass(frozen=True)
class Body:
    """The convolutions of a branch: their kernel sizes, and how much wider the last one is.

    The stride is in the first convolution, as in the networks of 2015 and 2016 (torchvision's
    bottleneck has it in the 3×3).
    """

    kernels: tuple[int, ...]
    expansion: int

    def widths(self, width: int) -> tuple[int, ...]:
        """The output channels of each convolution."""
        return (width,) * (len(self.kernels) - 1) + (width * self.expansion,)


BASIC = Body(kernels=(3, 3), expansion=1)
BOTTLENECK = Body(kernels=(1, 3, 1), expansion=4)


@dataclass(frozen=True)
class BlockSpec:
    """What all blocks of a network have in common; `shortcut` None makes plain layers."""

    order: Order
    body: Body
    shortcut: str | None


class Block(Assembly):
    """[n, channels, h, w] -> [n, width * expansion, ceil(h/stride), ceil(w/stride)].

    With a shortcut: `after(shortcut(x) + branch(x))`, without one: `after(branch(x))`. Parameters
    are named conv1, bn1, conv2, bn2, … in the order of the branch, and shortcut.0, shortcut.1.

    A pre-activation stands before the split into two paths, and so acts on the shortcut too, in
    the `first` block of a network and where the shortcut is a convolution (He et al. 2016,
    appendix); everywhere else it belongs to the branch alone and the shortcut is clean.
    """

    def __init__(
        self, spec: BlockSpec, channels: int, width: int, *, stride: int = 1, first: bool = False
    ) -> None:
        super().__init__()
        order, out_channels = spec.order, width * spec.body.expansion
        before = self.append_activation(order.before, channels)
        branch = self._append_convolutions(spec, channels, width, stride)
        self.steps_after = self.append_activation(order.after, out_channels)
        self.shortcut, shared = None, first
        if spec.shortcut is not None:
            shape = (spec.shortcut, channels, out_channels, stride)
            # A projection ends as the branch does, so that both sides of the addition are alike.
            self.shortcut = shortcuts.make(*shape, norm="bn" in order.behind)
            shared = first or shortcuts.projects(*shape)
        self.steps_shared = before if shared else ()
        self.steps_branch = branch if shared else before + branch

    def _append_convolutions(
        self, spec: BlockSpec, channels: int, width: int, stride: int
    ) -> Steps:
        steps: Steps = ()
        last = len(spec.body.kernels) - 1
        for i, kernel in enumerate(spec.body.kernels):
            out_channels = spec.body.widths(width)[i]
            steps += self.append_conv(channels, out_channels, kernel, stride if i == 0 else 1)
            kinds = spec.order.behind if i == last else spec.order.between
            steps += self.append_activation(kinds, out_channels)
            channels = out_channels
        return steps

    def forward(self, x: Tensor) -> Tensor:
        x = self.run(self.steps_shared, x)
        branch = self.run(self.steps_branch, x)
        if self.shortcut is None:
            return self.run(self.steps_after, branch)
        return self.run(self.steps_after, self.shortcut(x) + branch)
