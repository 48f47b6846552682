"""A network of stages, for small images or for those of ImageNet, composed of one block spec."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from resnet_probe.models.blocks import Block, BlockSpec, Sizes
from resnet_probe.models.initial import he_normal_
from resnet_probe.models.parts import Assembly, Steps, weighted
from resnet_probe.models.skipping import decay_linearly_


@dataclass(frozen=True)
class Plan:
    """Everything about a network but its classes and its random numbers.

    `blocks` of each stage; channels of the `stem`, and inside (`inner`) and behind (`outer`) the
    blocks of the first stage: both double from stage to stage. `large` is the stem for images of
    ImageNet, `shares_first` whether the first block's pre-activation acts on its shortcut too.
    """

    spec: BlockSpec
    blocks: tuple[int, ...]
    stem: int
    inner: int
    outer: int
    large: bool = False
    shares_first: bool = True
    stochastic_depth: float = 1.0
    deleted: tuple[int, ...] = ()
    zero_init: bool = False


class StagedNet(Assembly):
    """Images [n, 3, h, w] -> logits [n, classes].

    The form of He et al. 2015, arXiv 1512.03385: a convolution, stages of blocks of which each
    but the first halves height and width, global average pooling and one linear layer. The small
    stem (section 4.2) is 3×3 and takes images from 1×1 upwards; the large one (table 1) is 7×7
    with stride 2 and a 3×3 maximum of stride 2.
    """

    def __init__(self, plan: Plan, *, classes: int) -> None:
        super().__init__()
        self.steps_stem = self._append_stem(plan)
        channels, first = plan.stem, 1
        for stage, blocks in enumerate(plan.blocks):
            layers = _stage(plan, stage, channels, range(first, first + blocks))
            self.add_module(f"layer{stage + 1}", layers)
            channels, first = plan.outer * 2**stage, first + blocks
        self.steps_stages = tuple(f"layer{stage + 1}" for stage in range(len(plan.blocks)))
        self.steps_closing = self.append_activation(plan.spec.order.closing, channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)
        he_normal_(self)
        decay_linearly_(self, plan.stochastic_depth)
        for block in self.modules() if plan.zero_init else ():
            if isinstance(block, Block):
                block.zero_last_norm_()

    def _append_stem(self, plan: Plan) -> Steps:
        order = plan.spec.order
        if not plan.large:
            conv = self.append("conv", weighted(3, plan.stem, 3))
            return conv + self.append_activation(order.opening, plan.stem)
        conv = self.append("conv", weighted(3, plan.stem, 7, 2))
        # The first block's pre-activation stands before the maximum, which then sees no negatives.
        active = self.append_activation(order.opening + order.before, plan.stem)
        return conv + active + self.append("maxpool", nn.MaxPool2d(3, 2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.run(self.steps_stem, x)
        x = self.run(self.steps_stages, x)
        x = self.run(self.steps_closing, x)
        return self.linear(self.pool(x).flatten(1))


def _stage(plan: Plan, stage: int, channels: int, numbers: range) -> nn.Sequential:
    inner, outer = plan.inner * 2**stage, plan.outer * 2**stage
    layers: list[Block] = []
    for number in numbers:
        stride = 2 if stage and not layers else 1
        first = number == 1
        bare = replace(plan.spec, order=replace(plan.spec.order, before=()))
        layers.append(
            Block(
                bare if plan.large and first else plan.spec,
                Sizes(channels, inner, outer, stride),
                first=first and plan.shares_first,
                deleted=number in plan.deleted,
            )
        )
        channels = outer
    return nn.Sequential(*layers)
