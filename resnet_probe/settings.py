"""What a user may set: a frozen dataclass whose fields are the only place where an option stands.

Its names, types, defaults, bounds and help give the keyword arguments of a function in Python, the
options of a command, the identity of a result, and the command that is printed beside it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from itertools import islice
from types import UnionType
from typing import Any, NamedTuple, Self, get_args, get_origin, get_type_hints

from resnet_probe.errors import ProbeError, did_you_mean, on_one_line

DEFAULT_MEMORY = 2 * 2**30
WORDS = {int: "a whole number", float: "a number", str: "a name", bool: "True or False"}
LONGEST = 100_000
"""Values of an option that takes several."""
UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
MOST = 2**53
"""No number of images, draws or bytes goes beyond what a float holds exactly."""


class Option(NamedTuple):
    """One field of a `Settings` class; `read` makes its value of the text on a command line.

    `several` takes more than one word, each read by itself.
    """

    name: str
    default: Any
    help: str
    kind: type
    metavar: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    read: Callable[[str], Any] | None = None
    write: Callable[[Any], str] = str
    group: str = ""
    several: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    def words(self, value: Any) -> list[str]:
        """How a command line asks for this value."""
        if self.kind is bool:
            return [self.flag] if value else [f"--no-{self.flag[2:]}"]
        values = value if self.several else [value]
        return [self.flag, *map(self.write, values)]

    def check(self, value: Any) -> None:
        """Raises `ProbeError` for a value that is none of the choices, or out of bounds."""
        if value is None and self.default is None:
            return
        for one in value if isinstance(value, tuple | list) else (value,):
            if self.choices and one not in self.choices:
                there = ", ".join(self.choices) + did_you_mean(one, self.choices)
                raise ProbeError(f"unknown {self.name} {one!r}: there are {there}")
        numbers = isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind in (int, float) and not numbers:
            raise ProbeError(f"{self.name}={value!r} is no number")
        if self.kind is int and (abs(value) > MOST or not float(value).is_integer()):
            raise ProbeError(f"{self.name}={_short(value)} is no whole number up to {MOST:,}")
        if numbers and not _finite(value):
            raise ProbeError(f"{self.name}={_short(value)} is no finite number")
        if self.least is not None and numbers and value < self.least:
            raise ProbeError(f"{self.name}={value}: at least {self.least:g} is needed")
        if self.most is not None and numbers and value > self.most:
            raise ProbeError(f"{self.name}={value}: at most {self.most:,} is allowed")


def _finite(value: float) -> bool:
    """Whether a number is one that a float can hold, more or less."""
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number of more than 308 digits
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:20]}… ({len(text)} characters)"


def option(default: Any, help: str, **more: Any) -> Any:
    """A field of a `Settings` class; `more` are fields of `Option`."""
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The base of all options: `of` reads keyword arguments, `words` writes a command's."""

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for each in self.options():
            value = settled(each, getattr(self, each.name), kinds[each.name])
            object.__setattr__(self, each.name, value)
            each.check(value)

    @classmethod
    def options(cls) -> Iterator[Option]:
        """The options in the order in which they stand."""
        kinds = get_type_hints(cls)
        for one in fields(cls):
            yield Option(one.name, _default(one), kind=_kind(kinds[one.name]), **one.metadata)

    @classmethod
    def of(cls, given: Mapping[str, Any], *, among: Iterable[str] = ()) -> Self:
        """From keyword arguments; those in `among` are somebody else's.

        Raises `ProbeError` for a name that there is not, with the nearest that there is.
        """
        names = [one.name for one in fields(cls)]
        known = [*names, *among]
        for name in given:
            if name not in known:
                hint = did_you_mean(name, known, form="{}=")
                raise ProbeError(
                    f"there is no argument {name}=: there are {', '.join(known)}{hint}"
                )
        return cls(**{name: value for name, value in given.items() if name in names})

    def words(self) -> list[str]:
        """The command-line words for all that is not as it is by default."""
        return [
            word
            for each in self.options()
            if (value := getattr(self, each.name)) != each.default
            for word in each.words(value)
        ]

    @property
    def values(self) -> dict[str, Any]:
        """By name, in order."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def settled(one: Option, value: Any, hint: Any) -> Any:
    """What was given for an option, as its type has it: arrays as numbers, lists as tuples.

    One value stands for a tuple of it, and text for what it says on a command line.  Raises
    `ProbeError` for what cannot be meant.
    """
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    if hasattr(value, "tolist"):  # of NumPy and torch
        value = value.tolist()
    several = next((kind for kind in kinds if get_origin(kind) is tuple), None)
    kind = kinds[0] if several is None else get_args(several)[0]
    if several is not None and kind in WORDS:
        return _tuple_of(one, value, kind)
    if callable(value) and len(kinds) > 1:
        return value  # a metric of the user's own
    if kind is int and isinstance(value, str) and one.read is not None:
        return one.read(value)
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # the number of a block, where others have names
    if kind in (str, bool) and not isinstance(value, kind):
        raise _refused(one, value, WORDS[kind])
    return value


def _tuple_of(one: Option, value: Any, kind: type) -> tuple[Any, ...]:
    wanted = f"{WORDS[kind]}, or several"
    if isinstance(value, str) and one.read is not None:
        return tuple(one.read(value))
    alone = isinstance(value, int | float | str) or not isinstance(value, Iterable)
    found = (value,) if alone else tuple(islice(value, LONGEST + 1))
    number = int | float if kind is float else kind
    for each in found:
        if isinstance(each, bool) or not isinstance(each, number):
            raise _refused(one, value, wanted)
    if len(found) > LONGEST:
        raise _refused(one, value, f"at most {LONGEST:,} values")
    return found


def _refused(one: Option, value: Any, wanted: str) -> ProbeError:
    there = f" ({', '.join(one.choices)})" if one.choices else ""
    return ProbeError(f"{one.name}={on_one_line(_short(value))}: give {wanted}{there}")


def signature(*classes: type[Settings], first: Iterable[str] = ()) -> inspect.Signature:
    """The signature of a function that takes `first`, then the options by keyword."""
    named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in first]
    keyword = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=_default(one), annotation=one.type
        )
        for cls in classes
        for one in fields(cls)
    ]
    return inspect.Signature([*named, *keyword])


def explained(*classes: type[Settings]) -> str:
    """A list of the options with their help, for a docstring."""
    return "\n".join(f"- `{o.name}`: {o.help}" for cls in classes for o in cls.options())


def whole_number(text: str, digits: int = 9) -> int | None:
    """The number that `text` spells in at most so many digits, else None."""
    # isdecimal() keeps out what int() would take besides: signs, blanks, underscores. The
    # length is looked at before int(), which refuses thousands of digits by itself.
    if not (text.isascii() and text.isdecimal() and len(text) <= digits):
        return None
    return int(text)


def as_file_name(text: str) -> str:
    """A name as part of that of a file or folder: `vgg16-width-16` of `vgg16:width=16`."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.")


def numbers(text: str) -> tuple[int, ...]:
    """`1-5,10` as (1, 2, 3, 4, 5, 10)."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = whole_number(first), whole_number(last if dash else first)
        if low is None or high is None:
            raise ProbeError(f"counts={text!r} is no list of numbers: write 1-20 or 1,5,10")
        if high < low or high > 100_000:
            raise ProbeError(f"counts={text!r} goes from {low} to {high}: write the smaller first")
        found.extend(range(low, high + 1))
    return tuple(dict.fromkeys(found))


def listed(values: Iterable[Any]) -> str:
    """`1,5,10`: what `numbers`, `taus` and lists of names are read from."""
    return ",".join(map(str, values))


def taus(text: str) -> tuple[float, ...]:
    """`1.0:0.7:0.1` as (1.0, 0.9, 0.8, 0.7); one number, or some with commas, as they are."""
    try:
        if ":" not in text:
            return tuple(float(part) for part in text.split(","))
        first, last, step = (float(part) for part in text.split(":"))
        steps = round((first - last) / step)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ProbeError(
            f"tau={text!r} is neither a number nor FROM:TO:STEP, such as 1.0:0.7:0.05"
        ) from None
    if step <= 0 or not 0 <= steps <= 1000:
        raise ProbeError(f"tau={text!r}: FROM:TO:STEP goes down from FROM to TO by a positive STEP")
    return tuple(round(first - i * step, 6) for i in range(steps + 1))


def parse_bytes(text: str | int) -> int:
    """Bytes from `2GiB`, `500 MB` or `1048576`, in powers of 1024; else raises `ProbeError`."""
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d*)?)\s*([kmgt]?)i?b?\s*", str(text).lower())
    size = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if not 0 < size <= MOST:
        raise ProbeError(f"memory {text!r} is not a size: write for example 2GiB or 500MiB")
    return size


def format_bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _default(one: Field[Any]) -> Any:
    return None if one.default is MISSING else one.default


def _kind(hint: Any) -> type:
    """The type that is not None, of `int | None` and the like."""
    found = [part for part in get_args(hint) if part is not type(None)]
    first = found[0] if isinstance(hint, UnionType) and found else hint
    return first if isinstance(first, type) else object
