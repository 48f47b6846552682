"""The families of architectures: their options, and the names of their best-known members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from resnet_probe.errors import ProbeError
from resnet_probe.models import cifar, highway, imagenet, pretrained, vgg
from resnet_probe.models.blocks import BASIC, BOTTLENECK
from resnet_probe.models.joins import GATED, NOTES
from resnet_probe.models.options import Option, Value, bias, choice, count, depth, numbers, share
from resnet_probe.models.orders import ORDERS

SMALL = (3, 32, 32)
LARGE = (3, 224, 224)
USUAL_GATE_BIAS = -6.0
"""The usual bias: the best of He et al. 2016, arXiv 1603.05027, table 1."""
JOINED = ("scaled", "scaled_shortcut", "gated", "gated_shortcut", "dropout")
DEPTHS = (20, 32, 44, 56, 110, 1202)
SKIPPING: tuple[Option, ...] = (share("stochastic_depth", 1.0), numbers("deleted"))
ORDER = choice("order", "original", tuple(ORDERS))
GATE_BIAS = bias("gate_bias", USUAL_GATE_BIAS)
ZERO_INIT = choice("zero_init", "no", ("no", "yes"))


def anything(name: str, values: Mapping[str, Any]) -> None:
    """All options go together."""


def residual_options(name: str, values: Mapping[str, Any]) -> None:
    """Raises ProbeError for the bias of a gate that is not there, or a batch norm that is not."""
    if values["gate_bias"] != USUAL_GATE_BIAS and values["shortcut"] not in GATED:
        raise ProbeError(
            f"{name} with shortcut={values['shortcut']} has no gate for gate_bias: "
            "that goes with shortcut=gated or shortcut=gated_shortcut"
        )
    order = values.get("order", "preact")
    if values.get("zero_init") == "yes" and "bn" not in ORDERS[order].behind:
        ending = ", ".join(key for key, place in ORDERS.items() if "bn" in place.behind)
        raise ProbeError(
            f"{name} with order={order} has no batch norm at the end of its branches for "
            f"zero_init: the orders that have one are {ending}"
        )


@dataclass(frozen=True)
class Family:
    """One row: `make` takes the options and `classes` as keywords.

    `presets` are names with the options that they stand for; a family without any is one network
    of its own name. `blocks` counts the blocks that the options make, `check` refuses options that
    do not go together. Where `variant` is set, options off their default make a member of that.
    """

    name: str
    kind: str
    make: Callable[..., nn.Module]
    options: tuple[Option, ...] = ()
    presets: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    residual: bool = True
    input_shape: tuple[int, int, int] = SMALL
    classes: int = 10
    blocks: Callable[[Mapping[str, Any]], int] | None = None
    check: Callable[[str, Mapping[str, Any]], None] = anything
    variant: Family | None = None


def shortcut(usual: str) -> Option:
    """The shortcuts that an option may name; 1×1 convolutions everywhere are option C."""
    return choice("shortcut", usual, ("A", "B", "C", *JOINED), {"conv": "C"})


def families() -> Iterator[Family]:
    """All of them, in the order in which their names are listed."""
    yield _resnet("resnet", bottleneck=False, depths=DEPTHS)
    yield _resnet("resnet_bottleneck", bottleneck=True, depths=(164, 1001))
    yield _preresnet("preresnet", bottleneck=False, depths=DEPTHS[:-1])
    yield _preresnet("preresnet_bottleneck", bottleneck=True, depths=(164, 1001))
    yield Family(
        "plain", "plain", cifar.plain, (depth(6, 2), count("width", 16)),
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
    return {f"{base}{layers}": {"depth": layers} for layers in depths}


def _resnet(name: str, *, bottleneck: bool, depths: tuple[int, ...]) -> Family:
    usual = shortcut("B" if bottleneck else "A")
    layers = depth(9 if bottleneck else 6, 2)
    return Family(
        name,
        "resnet",
        partial(cifar.residual, bottleneck=bottleneck),
        (layers, ORDER, usual, GATE_BIAS, count("width", 16), ZERO_INIT, *SKIPPING),
        presets=_by_depth(name, depths),
        blocks=partial(_three_stages, bottleneck=bottleneck, extra=2),
        check=residual_options,
    )


def _preresnet(name: str, *, bottleneck: bool, depths: tuple[int, ...]) -> Family:
    usual = shortcut("B" if bottleneck else "A")
    layers = depth(9 if bottleneck else 6, 2)
    return Family(
        name,
        "preresnet",
        partial(cifar.residual, bottleneck=bottleneck),
        (layers, usual, GATE_BIAS, count("width", 16), *SKIPPING),
        presets=_by_depth(name, depths),
        blocks=partial(_three_stages, bottleneck=bottleneck, extra=2),
        check=residual_options,
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
        (depth(6, 4), count("widen", None, high=64), count("width", 16), share("dropout", 0.0),
         *SKIPPING),
        presets=members,
        blocks=partial(_three_stages, bottleneck=False, extra=4),
    )  # fmt: skip


def _resnext() -> Family:
    return Family(
        "resnext",
        "resnext",
        cifar.resnext,
        (depth(9, 2), count("cardinality", 8), count("width", 64), ZERO_INIT, *SKIPPING),
        presets=_by_depth("resnext", (29,)),
        blocks=partial(_three_stages, bottleneck=True, extra=2),
    )


def _highways() -> Iterator[Family]:
    gate_bias = bias("gate_bias", -2.0)
    yield Family(
        "highway", "highway", highway.DenseHighway,
        (depth(1, 1), count("width", 50), count("side", 16, high=64), gate_bias),
        presets=_by_depth("highway", (10, 20, 50, 100)),
    )  # fmt: skip
    yield Family(
        "convhighway", "highway", highway.ConvHighway, (depth(3, 4), count("width", 16), gate_bias),
        presets=_by_depth("convhighway", (19,)),
    )  # fmt: skip


def _vgg() -> Family:
    depths = tuple(vgg.CONVOLUTIONS)
    members: dict[str, dict[str, Value]] = {}
    for layers in depths:
        members[f"vgg{layers}"] = {"depth": layers}
        members[f"vgg{layers}_bn"] = {"depth": layers, "batch_norm": "yes"}
    # That name is torchvision's; the small network is vgg19:batch_norm=yes.
    del members["vgg19_bn"]
    choices = (choice("depth", None, depths), choice("batch_norm", "no", ("no", "yes")))
    return Family(
        "vgg", "vgg", vgg.VGG, (*choices, count("width", 64)),
        presets=members, residual=False,
    )  # fmt: skip


def _plain_large(depth: int) -> Family:
    return Family(
        f"plain{depth}", "plain", partial(imagenet.plain, depth=depth), (count("width", 64),),
        residual=False, input_shape=LARGE, classes=1000,
    )  # fmt: skip


def _preresnet_large(depth: int) -> Family:
    return Family(
        f"preresnet{depth}",
        "preresnet",
        partial(imagenet.residual, depth=depth),
        (shortcut("B"), GATE_BIAS, count("width", 64), *SKIPPING),
        input_shape=LARGE,
        classes=1000,
        blocks=lambda values: sum(imagenet.BLOCKS[depth]),
        check=residual_options,
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
    stride = (choice("stride", "v1.5", ("v1.5", "v1")),) if imagenet.is_deep(depth) else ()
    return Family(
        name,
        "resnet",
        partial(imagenet.residual, depth=depth),
        (ORDER, shortcut("B"), GATE_BIAS, *stride, count("width", 64), ZERO_INIT, *SKIPPING),
        input_shape=LARGE,
        classes=1000,
        blocks=lambda values: sum(imagenet.BLOCKS[depth]),
        check=residual_options,
    )


def _three_stages(values: Mapping[str, Any], *, bottleneck: bool, extra: int) -> int:
    body = BOTTLENECK if bottleneck else BASIC
    return sum(cifar.blocks_in(values["depth"], body, extra))


def note(kind: str, values: Mapping[str, Any]) -> str:
    """What deleting a block and taking a path mean there, where that is not just x + F(x)."""
    join = "transform" if kind == "highway" else str(values.get("shortcut", ""))
    sentences = [NOTES.get(join, "")]
    if values.get("stochastic_depth", 1.0) < 1:
        sentences.append(
            "branches count with their survival probability, as at test time after training with "
            "stochastic depth."
        )
    if values.get("deleted"):
        sentences.append("blocks are numbered anew: those deleted before training are not blocks.")
    return " ".join(filter(None, sentences))
