"""The table of names, and the way from a name with options to an Architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

from resnet_probe.models import cifar, grammar, pretrained, shortcuts, vgg
from resnet_probe.models.architecture import Architecture
from resnet_probe.models.grammar import Choice, Count, Option

BOTTLENECK_DEPTHS = (164, 1001)


@dataclass(frozen=True)
class Entry:
    """One row: `make` takes the options and `classes` as keywords."""

    name: str
    family: str
    make: Callable[..., nn.Module]
    options: tuple[Option, ...] = ()
    residual: bool = True
    input_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10


def _entries() -> Iterator[Entry]:
    yield from map(_resnet, (20, 32, 44, 56, 110, 1202))
    yield from map(_preresnet, (20, 32, 44, 56, 110, 164, 1001))
    yield from map(_plain, (20, 32, 44, 56, 110))
    yield _vgg("vgg16", batch_norm=False)
    yield _vgg("vgg16_bn", batch_norm=True)
    yield from map(_torchvision, pretrained.NAMES)


def _resnet(depth: int) -> Entry:
    make = partial(cifar.resnet, depth=depth)
    return Entry(f"resnet{depth}", "resnet", make, (_shortcut("A"), Count("width", 16)))


def _preresnet(depth: int) -> Entry:
    # He et al. 2016, appendix: the bottleneck networks project where the width grows.
    bottleneck = depth in BOTTLENECK_DEPTHS
    make = partial(cifar.preresnet, depth=depth, bottleneck=bottleneck)
    options = (_shortcut("B" if bottleneck else "A"), Count("width", 16))
    return Entry(f"preresnet{depth}", "preresnet", make, options)


def _plain(depth: int) -> Entry:
    make = partial(cifar.plain, depth=depth)
    return Entry(f"plain{depth}", "plain", make, (Count("width", 16),), residual=False)


def _vgg(name: str, *, batch_norm: bool) -> Entry:
    make = partial(vgg.VGG, batch_norm=batch_norm)
    return Entry(name, "vgg", make, (Count("width", 64),), residual=False)


def _torchvision(name: str) -> Entry:
    return Entry(
        name,
        "torchvision",
        partial(pretrained.network, name=name),
        residual=not name.startswith("vgg"),
        input_shape=(3, 224, 224),
        classes=1000,
    )


def _shortcut(default: str) -> Choice:
    return Choice("shortcut", default, shortcuts.KINDS)


_TABLE = {entry.name: entry for entry in _entries()}


def names() -> list[str]:
    """All names without options: family by family, and by depth within one."""
    return list(_TABLE)


def architecture(spec: str) -> Architecture:
    """The architecture that `"name"` or `"name:option=value,option=value"` stands for.

    Raises ProbeError for an unknown name (with the nearest ones), an unknown option (with those
    there are) and a value that an option does not take (with those it takes).
    """
    name, _ = grammar.split(spec)
    if name not in _TABLE:
        raise grammar.unknown_name(name, names())
    entry = _TABLE[name]
    values = grammar.read_options(spec, entry.options)
    return Architecture(
        spec=grammar.canonical(name, values, entry.options),
        family=entry.family,
        input_shape=entry.input_shape,
        classes=entry.classes,
        residual=entry.residual,
        make=partial(entry.make, **values),
    )
