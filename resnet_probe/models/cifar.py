"""Networks of three stages for small images, residual or plain, composed of one block spec.

The form is that of He et al. 2015, arXiv 1512.03385, section 4.2: a 3×3 convolution, three stages
of equally many blocks with 1, 2 and 4 times the base width on images of full, half and quarter
size, global average pooling and one linear layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from resnet_probe.models.blocks import (
    BASIC,
    BOTTLENECK,
    FULL_PREACTIVATION,
    ORIGINAL,
    Block,
    BlockSpec,
)
from resnet_probe.models.initial import he_normal_
from resnet_probe.models.parts import Assembly

STAGES = 3


class CifarNet(Assembly):
    """Images [n, 3, h, w] -> logits [n, classes]; made for 32×32, runs from 1×1 upwards.

    `blocks` is the number of blocks in each stage, `width` the channels of the stem.
    """

    def __init__(self, spec: BlockSpec, *, blocks: int, width: int, classes: int) -> None:
        super().__init__()
        self.steps_stem = self.append_conv(3, width, 3)
        self.steps_stem += self.append_activation(spec.order.opening, width)
        channels = width
        for stage in range(STAGES):
            layers = _stage(spec, channels, width * 2**stage, blocks, first_stage=stage == 0)
            self.add_module(f"layer{stage + 1}", layers)
            channels = width * 2**stage * spec.body.expansion
        self.steps_closing = self.append_activation(spec.order.closing, channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)
        he_normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.run(self.steps_stem, x)
        x = self.run(tuple(f"layer{stage + 1}" for stage in range(STAGES)), x)
        x = self.run(self.steps_closing, x)
        return self.linear(self.pool(x).flatten(1))


def _stage(
    spec: BlockSpec, channels: int, width: int, blocks: int, *, first_stage: bool
) -> nn.Sequential:
    stride = 1 if first_stage else 2
    layers = [Block(spec, channels, width, stride=stride, first=first_stage)]
    out_channels = width * spec.body.expansion
    layers += [Block(spec, out_channels, width) for _ in range(blocks - 1)]
    return nn.Sequential(*layers)


def blocks_per_stage(spec: BlockSpec, depth: int) -> int:
    """Blocks in each stage of a network of that depth: depth = 6n+2, or 9n+2 for bottlenecks.

    Counted are the convolutions of stem and branches and the linear layer, as in the papers.
    """
    return (depth - 2) // (STAGES * len(spec.body.kernels))


def resnet(*, depth: int, shortcut: str, width: int, classes: int) -> nn.Module:
    """A residual network in the original order: convolution, batch norm, ReLU."""
    return _network(BlockSpec(ORIGINAL, BASIC, shortcut), depth, width, classes)


def plain(*, depth: int, width: int, classes: int) -> nn.Module:
    """The residual network of that depth without its shortcuts (section 4.2)."""
    return _network(BlockSpec(ORIGINAL, BASIC, None), depth, width, classes)


def preresnet(
    *, depth: int, shortcut: str, width: int, bottleneck: bool, classes: int
) -> nn.Module:
    """A residual network in the full pre-activation order (He et al. 2016, arXiv 1603.05027)."""
    body = BOTTLENECK if bottleneck else BASIC
    return _network(BlockSpec(FULL_PREACTIVATION, body, shortcut), depth, width, classes)


def _network(spec: BlockSpec, depth: int, width: int, classes: int) -> nn.Module:
    return CifarNet(spec, blocks=blocks_per_stage(spec, depth), width=width, classes=classes)
