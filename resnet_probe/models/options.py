"""The options that architectures take: what each is about, allows, reads and spells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from resnet_probe.settings import whole_number

Value: TypeAlias = str | int | float | tuple[int, ...]

ABOUT = {
    "depth": "layers with weights, as the papers count them",
    "widen": "how many times wider than the stem the blocks of the first stage are",
    "order": "where batch norms and ReLUs stand (He et al. 2016, figure 4)",
    "shortcut": "A pads with zeros where the shape changes, B projects there, C everywhere (conv "
    "is another word for it); scaled halves shortcut and branch, gated lets a gate share between "
    "them (…_shortcut: the shortcut alone), dropout has ratio 0.5 (He et al. 2016, table 1)",
    "gate_bias": "the initial bias of gates; negative ones begin near the shortcut",
    "stride": "which convolution of a bottleneck strides: v1 the first 1×1, as in 2015, v1.5 the "
    "3×3, as in torchvision",
    "width": "channels of the stem, of a ResNeXt's groups, or units of a layer",
    "cardinality": "the groups of a 3×3 convolution",
    "side": "pixels to a side that images are averaged to before they are flattened",
    "batch_norm": "whether one stands behind every convolution",
    "dropout": "the share of values dropped inside a branch in training",
    "zero_init": "whether the last batch norm of each branch begins at 0, so that blocks are idle",
    "stochastic_depth": "the probability that the last block's branch is run in training; it falls "
    "linearly from 1 (Huang et al. 2016)",
    "deleted": "blocks that are built without a branch, as a lesion leaves them",
}  # fmt: skip
"""What each option is about, in words."""


@dataclass(frozen=True)
class Option:
    """An option by name: `takes` says in words what it takes, `default` None that it must be given.

    `read` gives the value that a text spells, None where it is not an allowed one.  An option that
    takes depths has their form, step · n + extra with n from 1, in `depths`, up to `high`.
    """

    name: str
    default: Value | None
    takes: str
    read: Callable[[str], Value | None] = field(compare=False, repr=False)
    depths: tuple[int, int] | None = None
    high: int = 0

    def __str__(self) -> str:
        return self.takes

    @property
    def usual(self) -> str:
        """The default as it is written, `none` where it is no value at all."""
        return "none" if self.default is None or self.default == () else spelled(self.default)

    @property
    def form(self) -> str:
        """`6n+2`, where the option takes depths; else empty."""
        if self.depths is None:
            return ""
        step, extra = self.depths
        return f"{'' if step == 1 else step}n+{extra}"

    def nearest(self, depth: int) -> tuple[int, ...]:
        """The possible depths next to that one: itself, or those below and above."""
        step, extra = self.depths or (1, 0)
        lowest = step + extra
        below = (min(depth, self.high) - extra) // step * step + extra
        if depth == below:
            return (depth,) if depth >= lowest else (lowest,)
        return tuple(d for d in (below, below + step) if lowest <= d <= self.high) or (lowest,)


def choice(
    name: str,
    default: str | None,
    allowed: tuple[str, ...],
    aliases: Mapping[str, str] | None = None,
) -> Option:
    """One of a few words; `aliases` are other spellings of some of them."""
    *most, last = allowed
    known = {**{word: word for word in allowed}, **(aliases or {})}
    return Option(name, default, f"{', '.join(most)} or {last}" if most else last, known.get)


def count(name: str, default: int | None, *, high: int = 1024) -> Option:
    """A whole number from 1 to `high`."""

    def read(text: str) -> int | None:
        value = whole_number(text, len(str(high)))
        return value if value is not None and 1 <= value <= high else None

    return Option(name, default, f"a whole number from 1 to {high}", read)


def depth(step: int, extra: int, *, high: int = 9999) -> Option:
    """A depth of the form step · n + extra, which must be given."""

    def read(text: str) -> int | None:
        value = whole_number(text, len(str(high)))
        return value if value is not None and value in made.nearest(value) else None

    made = Option("depth", None, "", read, (step, extra), high)
    first = ", ".join(str(step * n + extra) for n in (1, 2, 3))
    takes = f"{made.form} layers, n from 1 ({first}, …)"
    return Option("depth", None, takes, read, (step, extra), high)


def share(name: str, default: float) -> Option:
    """A number between 0 and 1; 0 itself where it is the default."""

    def read(text: str) -> float | None:
        if not re.fullmatch(r"[01]|[01]?\.\d{1,9}|[01]\.", text):
            return None
        value = float(text)
        return value if (0 <= value < 1 if default == 0 else 0 < value <= 1) else None

    bounds = "from 0 to below 1" if default == 0 else "above 0 and up to 1"
    return Option(name, default, f"a number {bounds}, such as 0.5", read)


def bias(name: str, default: float) -> Option:
    """A number of either sign."""

    def read(text: str) -> float | None:
        return float(text) if re.fullmatch(r"-?\d{1,2}(\.\d{1,6})?", text, re.ASCII) else None

    return Option(name, default, "a number from -99 to 99, such as -6", read)


def numbers(name: str) -> Option:
    """Whole numbers from 1, joined by plus signs; by default none."""

    def read(text: str) -> tuple[int, ...] | None:
        if not re.fullmatch(r"[1-9]\d{0,5}(\+[1-9]\d{0,5})*", text, re.ASCII):
            return None
        return tuple(sorted({int(number) for number in text.split("+")}))

    return Option(name, (), "numbers from 1 joined by plus signs, such as 3+7", read)


def spelled(value: Value) -> str:
    """The one spelling of a value, which its option reads again."""
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return f"{value:.9g}" if isinstance(value, float) else str(value)
