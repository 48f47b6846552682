"""The grammar of architecture names: `name`, or `name:option=value,option=value`.

An option is parsed once into a plain value; an option at its default is left out of the canonical
spelling, so that two spellings of one network are one string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.models.options import Option, Value, spelled
from resnet_probe.settings import whole_number

SHOWN = 3
"""Of how many options a message says what they take."""


def split(spec: str) -> tuple[str, list[str]]:
    """`"resnet20:shortcut=B,width=32"` as `("resnet20", ["shortcut=B", "width=32"])`."""
    name, colon, rest = spec.partition(":")
    return name, rest.split(",") if colon else []


def read_options(spec: str, options: Sequence[Option]) -> dict[str, Value]:
    """The value of every option, in the order of `options`, defaults filled in.

    Raises ProbeError for text that is not `option=value`, an option that is not among `options` or
    that is given twice, a value that the option does not take, and an option that must be given.
    """
    name, assignments = split(spec)
    known = {option.name: option for option in options}
    given: dict[str, Value] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ProbeError(
                f'"{assignment}" in "{spec}" is not of the form option=value: '
                f"{what_there_is(name, options)}"
            )
        if key not in known:
            there = what_there_is(name, options) + did_you_mean(key, known)
            raise ProbeError(f'{name} has no option "{key}": {there}')
        if key in given:
            raise ProbeError(f'"{spec}" gives {key} twice: an option may be given once')
        value = known[key].read(text)
        if value is None:
            raise ProbeError(_refusal(name, known[key], text))
        given[key] = value
    for option in options:
        if option.default is None and option.name not in given:
            raise ProbeError(f"{name} alone is no network: give {option.name}, {option}")
    return {o.name: given[o.name] if o.default is None else given.get(o.name, o.default)
            for o in options}  # fmt: skip


def canonical(name: str, values: Mapping[str, Value], options: Sequence[Option]) -> str:
    """The one spelling of a network: options in the order of `options`, defaults left out."""
    given = [f"{o.name}={spelled(values[o.name])}" for o in options if values[o.name] != o.default]
    return f"{name}:{','.join(given)}" if given else name


def unknown_name(name: str, names: Sequence[str]) -> ProbeError:
    """The error for a name that is not among `names`: it says which are near."""
    return ProbeError(
        f'unknown architecture "{name}": `describe --list` has the names that there are'
        f"{did_you_mean(name, names)}"
    )


def impossible_depth(name: str, depth: int, option: Option) -> str:
    """Why a network cannot have that depth, with the nearest ones that it can have."""
    near = " and ".join(map(str, option.nearest(depth)))
    return f"{name} cannot have {depth} layers (depths are {option.form}, the nearest {near})"


def what_there_is(name: str, options: Sequence[Option]) -> str:
    """The options that a name takes, in words."""
    if not options:
        return f"{name} takes no options"
    if len(options) <= SHOWN:
        return f"{name} takes " + " and ".join(f"{o.name} ({o})" for o in options)
    *most, last = (o.name for o in options)
    return f"{name} takes {', '.join(most)} and {last}"


def _refusal(name: str, option: Option, text: str) -> str:
    depth = whole_number(text, 9)
    if option.form and depth is not None:
        return impossible_depth(name, depth, option)
    return f'{name} cannot have {option.name}="{text}": {option.name} takes {option}'
