"""Networks of three stages for small images: the plans of every family, from their options.

The form is that of He et al. 2015, arXiv 1512.03385, section 4.2: three stages of equally many
blocks with 1, 2 and 4 times the base width on images of full, half and quarter size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from resnet_probe.models.blocks import BASIC, BOTTLENECK, BlockSpec, Body
from resnet_probe.models.joins import Join
from resnet_probe.models.orders import ORDERS
from resnet_probe.models.staged import Plan, StagedNet

STAGES = 3
EXPANSION = 4
"""How much wider a bottleneck is behind than inside."""
RESNEXT_STEM = 64


def blocks_in(depth: int, body: Body, extra: int) -> tuple[int, ...]:
    """Blocks of each stage: depth = 6n + extra, or 9n + extra for bottlenecks.

    Counted are, as in the papers, the convolutions of branches and, as `extra`, what is beside
    them: the stem and the linear layer, and by Zagoruyko & Komodakis 2016 two projections more.
    """
    return ((depth - extra) // (STAGES * len(body.kernels)),) * STAGES


def block_spec(
    order: str, body: Body, shortcut: str, usual: str, gate_bias: float = 0.0
) -> BlockSpec:
    """`shortcut` is a base (A, B or C), or a join on top of the `usual` base."""
    if shortcut in ("A", "B", "C"):
        return BlockSpec(ORDERS[order], body, shortcut)
    return BlockSpec(ORDERS[order], body, usual, Join(shortcut, gate_bias))


def residual(
    *,
    depth: int,
    width: int,
    bottleneck: bool,
    classes: int,
    order: str = "preact",
    shortcut: str,
    gate_bias: float,
    zero_init: str = "no",
    stochastic_depth: float,
    deleted: tuple[int, ...],
) -> nn.Module:
    """A residual network in any order (He et al. 2015 and 2016, arXiv 1603.05027)."""
    body = BOTTLENECK if bottleneck else BASIC
    # He et al. 2016, appendix: the bottleneck networks project where the width grows.
    spec = block_spec(order, body, shortcut, "B" if bottleneck else "A", gate_bias)
    plan = Plan(
        spec,
        blocks_in(depth, body, extra=2),
        stem=width,
        inner=width,
        outer=width * (EXPANSION if bottleneck else 1),
        stochastic_depth=stochastic_depth,
        deleted=deleted,
        zero_init=zero_init == "yes",
    )
    return StagedNet(plan, classes=classes)


def plain(*, depth: int, width: int, classes: int) -> nn.Module:
    """The residual network of that depth without its shortcuts (section 4.2)."""
    spec = BlockSpec(ORDERS["original"], BASIC, None)
    plan = Plan(spec, blocks_in(depth, BASIC, extra=2), stem=width, inner=width, outer=width)
    return StagedNet(plan, classes=classes)


def wide(
    *, depth: int, widen: int, width: int, dropout: float, classes: int, **skipping: Any
) -> nn.Module:
    """A wide residual network, WRN-depth-widen (Zagoruyko & Komodakis 2016, arXiv 1605.07146).

    Full pre-activation with basic blocks, `widen` times the width behind a stem of `width`;
    projections where the shape changes, the first block's shortcut clean where it does not.
    """
    spec = BlockSpec(ORDERS["preact"], replace(BASIC, dropout=dropout), "B")
    plan = Plan(
        spec,
        blocks_in(depth, BASIC, extra=4),
        stem=width,
        inner=width * widen,
        outer=width * widen,
        shares_first=False,
        **skipping,
    )
    return StagedNet(plan, classes=classes)


def resnext(
    *, depth: int, cardinality: int, width: int, classes: int, zero_init: str, **skipping: Any
) -> nn.Module:
    """ResNeXt-depth, `cardinality` × `width` d (Xie et al. 2016, arXiv 1611.05431, section 4.1).

    Bottlenecks of 256 channels in the first stage, whose 3×3 convolution has `cardinality` groups
    of `width` channels there; the original order, projections where the shape changes.
    """
    body = replace(BOTTLENECK, strided=1, groups=cardinality)
    plan = Plan(
        BlockSpec(ORDERS["original"], body, "B"),
        blocks_in(depth, body, extra=2),
        stem=RESNEXT_STEM,
        inner=cardinality * width,
        outer=RESNEXT_STEM * EXPANSION,
        zero_init=zero_init == "yes",
        **skipping,
    )
    return StagedNet(plan, classes=classes)
