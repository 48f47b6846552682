"""The networks of He et al. 2015, arXiv 1512.03385, table 1, for images of ImageNet.

torchvision has five of them with published weights; here are the plain counterparts and what an
option changes: another order or shortcut, the original stride, other initial weights.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from resnet_probe.models.blocks import BASIC, BOTTLENECK, BlockSpec
from resnet_probe.models.cifar import EXPANSION, block_spec
from resnet_probe.models.orders import ORDERS
from resnet_probe.models.staged import Plan, StagedNet

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),  # He et al. 2016, arXiv 1603.05027, section 5
}
STRIDED = {"v1": 0, "v1.5": 1}
"""Which convolution of a bottleneck has the stride: the first 1×1 of 2015, or the 3×3."""


def is_deep(depth: int) -> bool:
    """Whether the network of that depth is made of bottlenecks."""
    return depth > 34


def residual(
    *,
    depth: int,
    width: int,
    classes: int,
    order: str = "preact",
    shortcut: str,
    gate_bias: float,
    stride: str = "v1.5",
    zero_init: str = "no",
    stochastic_depth: float,
    deleted: tuple[int, ...],
) -> nn.Module:
    """ResNet-18 to -152 and -200: images [n, 3, h, w], made for 224×224, -> [n, classes]."""
    body = replace(BOTTLENECK, strided=STRIDED[stride]) if is_deep(depth) else BASIC
    plan = Plan(
        block_spec(order, body, shortcut, "B", gate_bias),
        BLOCKS[depth],
        stem=width,
        inner=width,
        outer=width * (EXPANSION if is_deep(depth) else 1),
        large=True,
        stochastic_depth=stochastic_depth,
        deleted=deleted,
        zero_init=zero_init == "yes",
    )
    return StagedNet(plan, classes=classes)


def plain(*, depth: int, width: int, classes: int) -> nn.Module:
    """The plain network of 18 or 34 layers (section 4.1): the residual one without shortcuts."""
    spec = BlockSpec(ORDERS["original"], BASIC, None)
    plan = Plan(spec, BLOCKS[depth], stem=width, inner=width, outer=width, large=True)
    return StagedNet(plan, classes=classes)
