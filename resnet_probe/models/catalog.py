"""The families of architectures: their options, and the names of their best-known members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from resnet_probe.models import cifar, highway, imagenet, pretrained, rules, vgg
from resnet_probe.models.blocks import BASIC, BOTTLENECK
from resnet_probe.models.family import Family
from resnet_probe.models.options import (
    Bias,
    Choice,
    Count,
    Depth,
    Numbers,
    Option,
    Share,
    Value,
)
from resnet_probe.models.orders import ORDERS

LARGE = (3, 224, 224)
JOINED = ("scaled", "scaled_shortcut", "gated", "gated_shortcut", "dropout")
DEPTHS = (20, 32, 44, 56, 110, 1202)
SKIPPING: tuple[Option, ...] = (Share("stochastic_depth", 1.0), Numbers("deleted"))
ORDER = Choice("order", "original", tuple(ORDERS))
GATE_BIAS = Bias("gate_bias", rules.GATE_BIAS)
ZERO_INIT = Choice("zero_init", "no", ("no", "yes"))


def shortcut(usual: str) -> Choice:
    """The shortcuts that an option may name; 1×1 convolutions everywhere are option C."""
    return Choice("shortcut", usual, ("A", "B", "C", *JOINED), {"conv": "C"})


def families() -> Iterator[Family]:
    """All of them, in the order in which their names are listed."""
    yield _resnet("resnet", bottleneck=False, depths=DEPTHS)
    yield _resnet("resnet_bottleneck", bottleneck=True, depths=(164, 1001))
    yield _preresnet("preresnet", bottleneck=False, depths=DEPTHS[:-1])
    yield _preresnet("preresnet_bottleneck", bottleneck=True, depths=(164, 1001))
    yield Family(
        "plain", "plain", cifar.plain, (Depth(6, 2), Count("width", 16)),
        presets=_by_depth("plain", DEPTHS[:-1]), residual=False,
    )  # fmt: skip
    yield _wide()
    yield _resnext()
    yield from _highways()
    yield _vgg()
    yield from map(_plain_large, (18, 34))
    yield _preresnet_large(200)
    yield from map(_torchvision, pretrained.NAMES)


def _by_depth(name: str, depths: tuple[int, ...]) -> dict[str, dict[str, Value]]:
    base = name.removesuffix("_bottleneck")
    return {f"{base}{depth}": {"depth": depth} for depth in depths}


def _resnet(name: str, *, bottleneck: bool, depths: tuple[int, ...]) -> Family:
    usual = shortcut("B" if bottleneck else "A")
    depth = Depth(9 if bottleneck else 6, 2)
    return Family(
        name,
        "resnet",
        partial(cifar.residual, bottleneck=bottleneck),
        (depth, ORDER, usual, GATE_BIAS, Count("width", 16), ZERO_INIT, *SKIPPING),
        presets=_by_depth(name, depths),
        blocks=partial(_three_stages, bottleneck=bottleneck, extra=2),
        check=rules.residual,
    )


def _preresnet(name: str, *, bottleneck: bool, depths: tuple[int, ...]) -> Family:
    usual = shortcut("B" if bottleneck else "A")
    depth = Depth(9 if bottleneck else 6, 2)
    return Family(
        name,
        "preresnet",
        partial(cifar.residual, bottleneck=bottleneck),
        (depth, usual, GATE_BIAS, Count("width", 16), *SKIPPING),
        presets=_by_depth(name, depths),
        blocks=partial(_three_stages, bottleneck=bottleneck, extra=2),
        check=rules.residual,
    )


def _wide() -> Family:
    members: dict[str, dict[str, Value]] = {
        "wrn16-4": {"depth": 16, "widen": 4},
        "wrn28-10": {"depth": 28, "widen": 10},
    }
    return Family(
        "wrn",
        "wrn",
        cifar.wide,
        (Depth(6, 4), Count("widen", None, high=64), Count("width", 16), Share("dropout", 0.0),
         *SKIPPING),
        presets=members,
        blocks=partial(_three_stages, bottleneck=False, extra=4),
    )  # fmt: skip


def _resnext() -> Family:
    return Family(
        "resnext",
        "resnext",
        cifar.resnext,
        (Depth(9, 2), Count("cardinality", 8), Count("width", 64), ZERO_INIT, *SKIPPING),
        presets=_by_depth("resnext", (29,)),
        blocks=partial(_three_stages, bottleneck=True, extra=2),
    )


def _highways() -> Iterator[Family]:
    bias = Bias("gate_bias", -2.0)
    yield Family(
        "highway", "highway", highway.DenseHighway,
        (Depth(1, 1), Count("width", 50), Count("side", 16, high=64), bias),
        presets=_by_depth("highway", (10, 20, 50, 100)),
    )  # fmt: skip
    yield Family(
        "convhighway", "highway", highway.ConvHighway, (Depth(3, 4), Count("width", 16), bias),
        presets=_by_depth("convhighway", (19,)),
    )  # fmt: skip


def _vgg() -> Family:
    depths = tuple(vgg.CONVOLUTIONS)
    members: dict[str, dict[str, Value]] = {}
    for depth in depths:
        members[f"vgg{depth}"] = {"depth": depth}
        members[f"vgg{depth}_bn"] = {"depth": depth, "batch_norm": "yes"}
    # That name is torchvision's; the small network is vgg19:batch_norm=yes.
    del members["vgg19_bn"]
    choices = (Choice("depth", None, depths), Choice("batch_norm", "no", ("no", "yes")))
    return Family(
        "vgg", "vgg", vgg.VGG, (*choices, Count("width", 64)),
        presets=members, residual=False,
    )  # fmt: skip


def _plain_large(depth: int) -> Family:
    return Family(
        f"plain{depth}", "plain", partial(imagenet.plain, depth=depth), (Count("width", 64),),
        residual=False, input_shape=LARGE, classes=1000,
    )  # fmt: skip


def _preresnet_large(depth: int) -> Family:
    return Family(
        f"preresnet{depth}",
        "preresnet",
        partial(imagenet.residual, depth=depth),
        (shortcut("B"), GATE_BIAS, Count("width", 64), *SKIPPING),
        input_shape=LARGE,
        classes=1000,
        blocks=lambda values: sum(imagenet.BLOCKS[depth]),
        check=rules.residual,
    )


def _torchvision(name: str) -> Family:
    return Family(
        name,
        "torchvision",
        partial(pretrained.network, name=name),
        residual=not name.startswith("vgg"),
        input_shape=LARGE,
        classes=1000,
        variant=_resnet_large(name) if name.removeprefix("resnet").isdecimal() else None,
    )


def _resnet_large(name: str) -> Family:
    depth = int(name.removeprefix("resnet"))
    stride = (Choice("stride", "v1.5", ("v1.5", "v1")),) if imagenet.is_deep(depth) else ()
    return Family(
        name,
        "resnet",
        partial(imagenet.residual, depth=depth),
        (ORDER, shortcut("B"), GATE_BIAS, *stride, Count("width", 64), ZERO_INIT, *SKIPPING),
        input_shape=LARGE,
        classes=1000,
        blocks=lambda values: sum(imagenet.BLOCKS[depth]),
        check=rules.residual,
    )


def _three_stages(values: Mapping[str, Any], *, bottleneck: bool, extra: int) -> int:
    body = BOTTLENECK if bottleneck else BASIC
    return sum(cifar.blocks_in(values["depth"], body, extra))
