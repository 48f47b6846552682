"""Highway networks (Srivastava, Greff & Schmidhuber 2015, arXiv 1505.00387 and 1507.06228).

A layer is H(x)·T(x) + x·(1 − T(x)) with a transform gate T = σ(W x + b), whose bias begins
negative so that the layer begins near its carry. It is a block with a `transform` join.
"""

from __future__ import annotations

from torch import Tensor, nn

from resnet_probe.models.blocks import Block, BlockSpec, Body, Sizes
from resnet_probe.models.initial import he_normal_
from resnet_probe.models.joins import Join
from resnet_probe.models.orders import UNNORMALIZED
from resnet_probe.models.parts import DENSE, Assembly, weighted

STAGES = 3
KERNEL = 3


class DenseHighway(Assembly):
    """Images [n, 3, h, w] -> logits [n, classes]; `depth` - 1 highway layers of `width` units.

    Images are averaged to `side` × `side` pixels and flattened. Depth counts the plain layer in
    front of the highway layers, not the output (1505.00387, section 4.1).
    """

    def __init__(
        self, *, depth: int, width: int, side: int, gate_bias: float, classes: int
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.steps_stem = self.append("fc", weighted(3 * side * side, width, DENSE, bias=True))
        self.steps_stem += self.append_activation(UNNORMALIZED.opening, width)
        layers = (_highway(width, DENSE, gate_bias) for _ in range(depth - 1))
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(width, classes)
        he_normal_(self, dense=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.run(self.steps_stem, self.pool(x).flatten(1))
        return self.linear(self.layers(x))


class ConvHighway(Assembly):
    """Images [n, 3, h, w] -> logits [n, classes]: three stages of convolutional highway layers.

    H and T are 3×3 convolutions that keep the shape (1507.06228, section 2.1). A plain convolution
    opens each stage with 1, 2 and 4 times the width; those of the second and the third halve the
    image. Depth = 3n + 4 counts them, n highway layers a stage, and the linear layer.
    """

    def __init__(self, *, depth: int, width: int, gate_bias: float, classes: int) -> None:
        super().__init__()
        plain = BlockSpec(UNNORMALIZED, Body((KERNEL,), bias=True), None)
        blocks: list[nn.Module] = []
        channels = 3
        for stage in range(STAGES):
            wider = width * 2**stage
            blocks.append(Block(plain, Sizes(channels, wider, wider, 2 if stage else 1)))
            layers = (depth - STAGES - 1) // STAGES
            blocks += (_highway(wider, KERNEL, gate_bias) for _ in range(layers))
            channels = wider
        self.layers = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)
        he_normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.pool(self.layers(x)).flatten(1))


def _highway(width: int, kernel: int, gate_bias: float) -> Block:
    join = Join("transform", gate_bias, kernel)
    spec = BlockSpec(UNNORMALIZED, Body((kernel,), bias=True), "A", join)
    return Block(spec, Sizes(width, width, width))
