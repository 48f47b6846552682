"""The grammar of architecture names: `name`, or `name:option=value,option=value`.

An option is parsed once into a plain value; an option at its default is left out of the canonical
spelling, so that two spellings of one network are one string.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnet_probe.errors import ProbeError


@dataclass(frozen=True)
class Choice:
    """An option that takes one of a few words."""

    name: str
    default: str
    allowed: tuple[str, ...]

    def __str__(self) -> str:
        *most, last = self.allowed
        return f"{', '.join(most)} or {last}" if most else last

    def read(self, text: str) -> str | None:
        """The value that `text` spells, None where it is not an allowed one."""
        return text if text in self.allowed else None


@dataclass(frozen=True)
class Count:
    """An option that takes a whole number between two bounds, both included."""

    name: str
    default: int
    low: int = 1
    high: int = 1024

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, text: str) -> int | None:
        """The value that `text` spells, None where it is not an allowed one."""
        # isdecimal() keeps out what int() would take besides: signs, blanks, underscores. The
        # length is looked at before int(), which refuses thousands of digits by itself.
        if not (text.isascii() and text.isdecimal() and len(text) <= len(str(self.high))):
            return None
        value = int(text)
        return value if self.low <= value <= self.high else None


Option = Choice | Count
Value = str | int


def split(spec: str) -> tuple[str, list[str]]:
    """`"resnet20:shortcut=B,width=32"` as `("resnet20", ["shortcut=B", "width=32"])`."""
    name, colon, rest = spec.partition(":")
    return name, rest.split(",") if colon else []


def read_options(spec: str, options: Sequence[Option]) -> dict[str, Value]:
    """The value of every option, in the order of `options`, defaults filled in.

    Raises ProbeError for text that is not `option=value`, an option that is not among `options` or
    that is given twice, and a value that the option does not take.
    """
    name, assignments = split(spec)
    known = {option.name: option for option in options}
    given: dict[str, Value] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ProbeError(
                f'"{assignment}" in "{spec}" is not of the form option=value: '
                f"{_what_there_is(name, options)}"
            )
        if key not in known:
            raise ProbeError(f'{name} has no option "{key}": {_what_there_is(name, options)}')
        if key in given:
            raise ProbeError(f'"{spec}" gives {key} twice: an option may be given once')
        value = known[key].read(text)
        if value is None:
            raise ProbeError(f'{name} cannot have {key}="{text}": {key} takes {known[key]}')
        given[key] = value
    return {option.name: given.get(option.name, option.default) for option in options}


def canonical(name: str, values: Mapping[str, Value], options: Sequence[Option]) -> str:
    """The one spelling of a network: options in the order of `options`, defaults left out."""
    given = [f"{o.name}={values[o.name]}" for o in options if values[o.name] != o.default]
    return f"{name}:{','.join(given)}" if given else name


def unknown_name(name: str, names: Sequence[str]) -> ProbeError:
    """The error for a name that is not among `names`: it lists the nearest, or all of them."""
    near = difflib.get_close_matches(name.lower(), names, n=4, cutoff=0.6)
    what = f"the nearest names are {', '.join(near)}" if near else f"there are {', '.join(names)}"
    return ProbeError(f'unknown architecture "{name}": {what}')


def _what_there_is(name: str, options: Sequence[Option]) -> str:
    if not options:
        return f"{name} takes no options"
    return f"{name} takes " + " and ".join(f"{o.name} ({o})" for o in options)
