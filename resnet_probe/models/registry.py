"""The way from a name with options to an Architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.models import from_timm, grammar, pretrained
from resnet_probe.models.architecture import Architecture
from resnet_probe.models.catalog import Family, families, note
from resnet_probe.models.options import Option, Value
from resnet_probe.models.skipping import check_deleted

LIBRARIES = ("torchvision", "timm")

_FAMILIES = {family.name: family for family in families()}
_MEMBERS: dict[str, tuple[Family, Mapping[str, Value]]] = {
    name: (family, fixed)
    for family in _FAMILIES.values()
    for name, fixed in (family.presets or {family.name: {}}).items()
}


def names() -> list[str]:
    """All names that need no options: family by family, and by depth within one."""
    return list(_MEMBERS)


def options_of(name: str) -> tuple[Option, ...]:
    """The options that a name takes.

    Raises ProbeError for an unknown name.
    """
    family, fixed = _find(name)
    return _left(family.variant or family, fixed)


@dataclass(frozen=True)
class Group:
    """Names that take the same options, and the form of their family's other members, if any."""

    names: tuple[str, ...]
    form: str
    options: tuple[Option, ...]


def groups() -> list[Group]:
    """All names, those together that take the same options."""
    found: dict[tuple[str, tuple[Option, ...]], list[str]] = {}
    for family in _FAMILIES.values():
        needed = [option for option in family.options if option.default is None]
        free = tuple(o for o in (family.variant or family).options if o.default is not None)
        parts = (f"{o.name}={o.form or '…'}" for o in needed)
        form = f"{family.name}:{','.join(parts)}" if needed else ""
        found.setdefault((form, free), []).extend(family.presets or [family.name])
    return [Group(tuple(members), *key) for key, members in found.items()]


def architecture(spec: str) -> Architecture:
    """The architecture that `"name"` or `"name:option=value,option=value"` stands for.

    Raises ProbeError for an unknown name (with the nearest ones), an unknown option (with those
    there are), a value that an option does not take (with those it takes, or the nearest depths),
    options that do not go together, and blocks to delete that are not there.

    `torchvision:NAME` and `timm:NAME` are networks of those libraries; of torchvision's, those
    whose name is not taken here need no prefix.
    """
    if is_library(spec) or spec not in (_MEMBERS.keys() | _FAMILIES.keys()):
        found = library_architecture(spec)
        if found is not None:
            return found
    name, assignments = grammar.split(spec)
    family, fixed = _find(name)
    if family.variant and assignments:
        varied = _architecture(family.variant, fixed, spec)
        return varied if varied.spec != name else _architecture(family, fixed, name)
    return _architecture(family, fixed, spec)


def is_library(spec: str) -> bool:
    """Whether `spec` names a library and, behind a colon, a network of its own."""
    return spec.partition(":")[0] in LIBRARIES and ":" in spec


def library_architecture(spec: str) -> Architecture | None:
    """The network of torchvision or timm that `spec` names; None for a plain name of neither.

    A name without its library is torchvision's.  `residual` says that its blocks are looked for;
    a plain network is cut into its layers.

    Raises ProbeError for a name that the library does not have, with the nearest.
    """
    library, _, name = spec.rpartition(":")
    if library not in ("", *LIBRARIES):
        return None
    if library == "timm":
        shape, classes = from_timm.known(name)
        make = partial(from_timm.network, name=name)
        return Architecture(spec, "timm", shape, classes, residual=True, make=make)
    names = pretrained.all_names()
    if name not in names:
        if not library:
            return None
        hint = did_you_mean(name, names)
        raise ProbeError(f"torchvision has no classification network {name!r}{hint}")
    shape = pretrained.input_shape(name)
    made = partial(pretrained.network, name=name)
    return Architecture(spec, "torchvision", shape, 1000, residual=True, make=made)


def _architecture(family: Family, fixed: Mapping[str, Value], spec: str) -> Architecture:
    name, _ = grammar.split(spec)
    values: dict[str, Any] = {**fixed, **grammar.read_options(spec, _left(family, fixed))}
    family.check(name, values)
    if family.blocks:
        check_deleted(values["deleted"], family.blocks(values), name)
    other = f"pre{family.name}"
    if values.get("order") == "preact" and other in _FAMILIES and family.presets:
        # The full pre-activation has a name of its own.
        family = _FAMILIES[other]
        values = {option.name: values[option.name] for option in family.options}
    return Architecture(
        spec=_canonical(family, values, name),
        family=family.kind,
        input_shape=family.input_shape,
        classes=family.classes,
        residual=family.residual,
        make=partial(family.make, **values),
        note=note(family.kind, values),
    )


def _canonical(family: Family, values: Mapping[str, Value], name: str) -> str:
    """The spelling by the name that says most, or by the family's where none fits."""
    fitting = [
        (preset, fixed)
        for preset, fixed in family.presets.items()
        if all(values[key] == value for key, value in fixed.items())
    ]
    best, fixed = max(fitting, key=lambda found: len(found[1]), default=(family.name, {}))
    return grammar.canonical(best, values, _left(family, fixed))


def _left(family: Family, fixed: Mapping[str, Value]) -> tuple[Option, ...]:
    return tuple(option for option in family.options if option.name not in fixed)


def _find(name: str) -> tuple[Family, Mapping[str, Value]]:
    if name in _MEMBERS:
        return _MEMBERS[name]
    if name in _FAMILIES:
        return _FAMILIES[name], {}
    raise _unknown(name)


def _unknown(name: str) -> ProbeError:
    """Says how to write another depth of a known family, and which depths it has."""
    match = re.fullmatch(r"([a-z_]+)(\d{1,6})", name)
    family = _FAMILIES.get(match[1]) if match else None
    depths = [o for o in family.options if o.form] if family else []
    if not (match and family and depths):
        return grammar.unknown_name(name, [*names(), *pretrained.all_names()])
    depth = int(match[2])
    near = depths[0].nearest(depth)
    needed = (o.name for o in family.options if o.default is None)
    way = ",".join(f"{key}={near[0] if key == depths[0].name else '…'}" for key in needed)
    reason = grammar.impossible_depth(family.name, depth, depths[0]) + ", so"
    return ProbeError(
        f'unknown architecture "{name}": {reason if near != (depth,) else "for that depth"} '
        f"write {family.name}:{way}"
    )
