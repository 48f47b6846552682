"""The kinds of options that architectures take: what each allows, reads and spells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Value = str | int | float | tuple[int, ...]


class Spelled:
    """What all options have in common: a default, None where a value must be given."""

    default: Value | None

    @property
    def usual(self) -> str:
        """The default as it is written, `none` where it is no value at all."""
        return spelled(self.default) if self.default not in (None, ()) else "none"


@dataclass(frozen=True)
class Choice(Spelled):
    """An option that takes one of a few words; `aliases` are other spellings of some of them."""

    name: str
    default: str | None
    allowed: tuple[str, ...]
    aliases: dict[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        *most, last = self.allowed
        return f"{', '.join(most)} or {last}" if most else last

    def read(self, text: str) -> str | None:
        """The value that `text` spells, None where it is not an allowed one."""
        text = self.aliases.get(text, text)
        return text if text in self.allowed else None


@dataclass(frozen=True)
class Count(Spelled):
    """An option that takes a whole number between two bounds, both included."""

    name: str
    default: int | None
    low: int = 1
    high: int = 1024

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, text: str) -> int | None:
        """The value that `text` spells, None where it is not an allowed one."""
        value = whole_number(text, len(str(self.high)))
        return value if value is not None and self.low <= value <= self.high else None


@dataclass(frozen=True)
class Depth(Spelled):
    """An option that takes depths of one form, step · n + extra with n from 1; must be given."""

    step: int
    extra: int
    high: int = 9999
    name: str = "depth"
    default: None = None

    def __str__(self) -> str:
        first, second, third = (self.step * n + self.extra for n in (1, 2, 3))
        return f"{self.form} layers, n from 1 ({first}, {second}, {third}, …)"

    @property
    def form(self) -> str:
        """`6n+2`."""
        step = "" if self.step == 1 else str(self.step)
        return f"{step}n+{self.extra}"

    def read(self, text: str) -> int | None:
        """The value that `text` spells, None where it is not an allowed one."""
        depth = whole_number(text, len(str(self.high)))
        return depth if depth is not None and depth in self.nearest(depth) else None

    def nearest(self, depth: int) -> tuple[int, ...]:
        """The possible depths next to that one: itself, or those below and above."""
        lowest = self.step + self.extra
        below = (min(depth, self.high) - self.extra) // self.step * self.step + self.extra
        if depth == below:
            return (depth,) if depth >= lowest else (lowest,)
        pair = (below, below + self.step)
        return tuple(d for d in pair if lowest <= d <= self.high) or (lowest,)


@dataclass(frozen=True)
class Share(Spelled):
    """An option that takes a number between 0 and 1; 0 itself where it is the default."""

    name: str
    default: float

    def __str__(self) -> str:
        bounds = "from 0 to below 1" if self.default == 0 else "above 0 and up to 1"
        return f"a number {bounds}, such as 0.5"

    def read(self, text: str) -> float | None:
        """The value that `text` spells, None where it is not an allowed one."""
        if not re.fullmatch(r"[01]|[01]?\.\d{1,9}|[01]\.", text):
            return None
        value = float(text)
        inside = 0 <= value < 1 if self.default == 0 else 0 < value <= 1
        return value if inside else None


@dataclass(frozen=True)
class Bias(Spelled):
    """An option that takes a number of either sign."""

    name: str
    default: float

    def __str__(self) -> str:
        return "a number from -99 to 99, such as -6"

    def read(self, text: str) -> float | None:
        """The value that `text` spells, None where it is not an allowed one."""
        return float(text) if re.fullmatch(r"-?\d{1,2}(\.\d{1,6})?", text, re.ASCII) else None


@dataclass(frozen=True)
class Numbers(Spelled):
    """An option that takes whole numbers from 1, joined by plus signs."""

    name: str
    default: tuple[int, ...] = ()

    def __str__(self) -> str:
        return "numbers from 1 joined by plus signs, such as 3+7"

    def read(self, text: str) -> tuple[int, ...] | None:
        """The numbers that `text` spells, in order; None where it does not spell any."""
        if not re.fullmatch(r"[1-9]\d{0,5}(\+[1-9]\d{0,5})*", text, re.ASCII):
            return None
        return tuple(sorted({int(number) for number in text.split("+")}))


Option = Choice | Count | Depth | Share | Bias | Numbers


def whole_number(text: str, digits: int) -> int | None:
    """The number that `text` spells in at most so many digits, else None."""
    # isdecimal() keeps out what int() would take besides: signs, blanks, underscores. The
    # length is looked at before int(), which refuses thousands of digits by itself.
    if not (text.isascii() and text.isdecimal() and len(text) <= digits):
        return None
    return int(text)


def spelled(value: Value) -> str:
    """The one spelling of a value, which its option reads again."""
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return f"{value:.9g}" if isinstance(value, float) else str(value)
