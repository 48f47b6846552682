"""VGG in its form for small images: 8 to 16 convolutions and one linear layer.

After Simonyan & Zisserman 2014, arXiv 1409.1556, table 1, columns A, B, D and E; the three linear
layers of those networks, which their names count, give way to global average pooling and one.
"""

from __future__ import annotations

from torch import Tensor, nn

from resnet_probe.models.initial import he_normal_

MULTIPLES = (1, 2, 4, 8, 8)
"""The channels of each of the five stages, as multiples of the first one's."""
CONVOLUTIONS = {
    "11": (1, 1, 2, 2, 2),
    "13": (2, 2, 2, 2, 2),
    "16": (2, 2, 3, 3, 3),
    "19": (2, 2, 4, 4, 4),
}
"""How many there are in each stage."""


class VGG(nn.Module):
    """Images [n, 3, h, w] -> logits [n, classes]; made for 32×32, runs from 1×1 upwards."""

    def __init__(self, *, depth: str, width: int, batch_norm: str, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for count, multiple in zip(CONVOLUTIONS[depth], MULTIPLES, strict=True):
            for _ in range(count):
                layers += _convolution(channels, width * multiple, batch_norm == "yes")
                channels = width * multiple
            # ceil_mode keeps a pixel where five halvings of a 16×16 image would leave none.
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        he_normal_(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))


def _convolution(channels: int, out_channels: int, batch_norm: bool) -> list[nn.Module]:
    conv = nn.Conv2d(channels, out_channels, 3, padding=1)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()] if batch_norm else [conv, nn.ReLU()]
