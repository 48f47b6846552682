"""A small network of each family that discovery is asked to see through, for 32×32 images."""

from __future__ import annotations

from functools import partial

import pytest
from torch import Tensor, nn
from torchvision import models
from torchvision.models import convnext, efficientnet, mobilenetv3, regnet
from toy_chains import seeded

CLASSES = 5


class MixerLayer(nn.Module):
    """Mixes the places of an image, then its channels (Tolstikhin et al. 2021)."""

    def __init__(self, places: int, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.tokens = nn.Sequential(nn.Linear(places, 8), nn.GELU(), nn.Linear(8, places))
        self.channels = nn.Sequential(nn.Linear(channels, 8), nn.GELU(), nn.Linear(8, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.layers = nn.Sequential(MixerLayer(16, 8), MixerLayer(16, 8))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def _resnext() -> nn.Module:
    return models.ResNet(
        models.resnet.Bottleneck, [2, 1, 1, 1], groups=2, width_per_group=2, num_classes=CLASSES
    )


def _regnet() -> nn.Module:
    sizes = regnet.BlockParams.from_init_params(4, 8, 8.0, 2.0, 8, se_ratio=0.25)
    return regnet.RegNet(sizes, num_classes=CLASSES, stem_width=8)


def _mobilenet_v2() -> nn.Module:
    sizes = [[1, 16, 1, 1], [6, 16, 2, 2], [6, 24, 2, 1]]
    return models.MobileNetV2(CLASSES, width_mult=0.5, inverted_residual_setting=sizes)


def _mobilenet_v3() -> nn.Module:
    block = partial(mobilenetv3.InvertedResidualConfig, width_mult=1.0)
    blocks = [
        block(8, 3, 16, 8, True, "RE", 1, 1),
        block(8, 3, 24, 16, False, "HS", 2, 1),
        block(16, 3, 24, 16, True, "HS", 1, 1),
    ]
    return models.MobileNetV3(blocks, 16, num_classes=CLASSES)


def _efficientnet() -> nn.Module:
    blocks = [
        efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1, 1.0, 1.0),
        efficientnet.MBConvConfig(4, 3, 2, 8, 16, 2, 1.0, 1.0),
    ]
    return models.EfficientNet(blocks, 0.2, num_classes=CLASSES, last_channel=16)


def _convnext() -> nn.Module:
    blocks = [convnext.CNBlockConfig(8, 16, 2), convnext.CNBlockConfig(16, None, 1)]
    return models.ConvNeXt(blocks, layer_scale=0.5, num_classes=CLASSES)


def _vit() -> nn.Module:
    return models.VisionTransformer(32, 8, 2, 2, 8, 16, num_classes=CLASSES)


def _swin() -> nn.Module:
    return models.SwinTransformer([4, 4], 8, [2, 1], [2, 2], [2, 2], num_classes=CLASSES)


def _maxvit() -> nn.Module:
    return models.MaxVit((32, 32), 8, 4, [8, 8], [1, 1], 4, 0.0, num_classes=CLASSES)


def _timm_hybrid() -> nn.Module:
    maxxvit = pytest.importorskip("timm.models.maxxvit")
    sizes = maxxvit.MaxxVitCfg(
        embed_dim=(8, 16), depths=(1, 1), block_type=("C", "T"), stem_width=8,
        transformer_cfg=maxxvit.MaxxVitTransformerCfg(dim_head=4),
    )  # fmt: skip
    return maxxvit.MaxxVit(sizes, img_size=32, num_classes=CLASSES)


# With the number of blocks that each has: of a transformer's layer, two.
FAMILIES = {
    "resnext": (_resnext, 5),
    "regnet": (_regnet, 4),
    "mobilenet_v2": (_mobilenet_v2, 2),
    "mobilenet_v3": (_mobilenet_v3, 2),
    "efficientnet": (_efficientnet, 2),
    "convnext": (_convnext, 3),
    "vit": (_vit, 4),
    "swin": (_swin, 6),
    "maxvit": (_maxvit, 10),
    "mixer": (Mixer, 4),
    "timm hybrid": (_timm_hybrid, 3),
}


def network(name: str) -> nn.Module:
    """The family's network with drawn weights and batch-norm statistics, in eval mode."""
    return seeded(FAMILIES[name][0])
