"""A sentence that knows which of its words are numbers, and which numbers they are.

So a page can mark each number up, and a test can compare each with the table it is from: no digit
stands in a sentence that is not the value of a name.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from resnet_probe.results import Result
from resnet_probe.stats import Estimate

CONFIDENCE = "95 %"
"""The only number that a template may spell out: the confidence of every interval."""


class Piece(NamedTuple):
    """A stretch of text; `name` and `value` of the number that it shows, None for plain words."""

    text: str
    name: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class Sentence:
    """`template` as for `str.format`, `values` by name: numbers, or texts of the table.

    Raises `ValueError` for a digit in the template that is no value, `KeyError` for a name without
    a value: both are mistakes of whoever wrote the sentence, not of the reader.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for piece in self.pieces():
            literal = piece.text.replace(CONFIDENCE, "")
            if piece.name is None and any(sign.isdecimal() for sign in literal):
                raise ValueError(f"a number that is no value stands in {piece.text!r}")

    def __str__(self) -> str:
        return "".join(piece.text for piece in self.pieces())

    def __add__(self, other: Sentence) -> Sentence:
        """Both, one after the other; `ValueError` where a name has two values."""
        for name in self.values.keys() & other.values.keys():
            if repr(self.values[name]) != repr(other.values[name]):
                raise ValueError(f"{name} is both {self.values[name]} and {other.values[name]}")
        return Sentence(self.template + other.template, {**self.values, **other.values})

    def pieces(self) -> Iterator[Piece]:
        """The text in order, each value a piece of its own; what is one is no `blocks`."""
        before = ""
        for words, name, form, _ in string.Formatter().parse(self.template):
            if words:
                yield Piece(counted(before + words)[len(before) :])
            before = ""
            if name is not None:
                value = self.values[name]
                number = None if isinstance(value, str) else float(value)
                piece = Piece(_shown(value, form or ""), name, number)
                before = "" if words and words[-1] in APART else piece.text
                yield piece

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that it shows, by name, not rounded."""
        return {
            piece.name: piece.value
            for piece in self.pieces()
            if piece.name is not None and piece.value is not None
        }


PLAIN = 1e5
"""Below it a number is written out: 126, and not 1.3e+02."""


def _shown(value: Any, form: str) -> str:
    """As `format` does, with a true minus sign, and no sign before a rounded nought.

    What nothing can be divided by has no value: `undefined`.
    """
    if not isinstance(value, str) and math.isnan(value):
        return "undefined"
    text = format(value, form).replace("inf", "∞")
    if "e+" in text and abs(value) < PLAIN:
        text = format(value, ".0f")
    if isinstance(value, str) or text[:1] not in ("-", "+"):
        return text
    if not any(sign in "123456789" for sign in text):
        return text[1:]
    return text.replace("-", "−", 1) if text[0] == "-" else text


APART = "^–−/±.,-"
"""Signs before a 1 that make it a part of another number."""
NOUNS = "block|layer|image|text|edit|deletion|range|network|path|group|gate|pair|draw|order|other"
VERBS = {"are": "is", "hold": "holds", "form": "forms"}
ONE = re.compile(
    rf"(?<![\w{APART}])1(?: (?P<noun>(?:random )?(?:{NOUNS}))s\b)?"
    rf"(?: (?P<verb>{'|'.join(VERBS)})\b)?"
)


def counted(text: str) -> str:
    """`1 block is`, where a text for any number says `1 blocks are`."""

    def one(found: re.Match[str]) -> str:
        noun, verb = found["noun"], VERBS.get(found["verb"])
        return " ".join(word for word in ("1", noun, verb) if word)

    return ONE.sub(one, text)


def interval(
    name: str,
    values: Mapping[str, Any],
    form: str = ".2f",
    unit: str = " %",
    what: str = f"{CONFIDENCE} CI",
) -> str:
    """The template ` (95 % CI {name_low} to {name_high} %)`; empty where there is no interval."""
    found = inside(name, values, form, unit, what)
    return found and f" ({found})"


def inside(
    name: str,
    values: Mapping[str, Any],
    form: str = ".2f",
    unit: str = " %",
    what: str = f"{CONFIDENCE} CI",
) -> str:
    """As `interval`, to stand in a bracket with something else."""
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{what} {{{name}_low:{form}}} to {{{name}_high:{form}}}{unit}"


def unit_of_points(value: float) -> str:
    """`point` of exactly 1, else `points`: the word behind a number that is given as it is."""
    return "point" if abs(value) == 1 else "points"


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    `sentence` is the answer in full, `answer` in short where it belongs to the opening of a
    report.  `verdict` says whether `claim` holds by `rule`, judged by `estimate` in `unit`; a
    finding without a claim is a description and has none of the four.
    """

    sentence: Sentence
    answer: Sentence | None = None
    claim: str = ""
    rule: Sentence | None = None
    verdict: str = ""
    estimate: Estimate | None = None


SAID = ("sentence", "answer", "claim", "rule")
S = TypeVar("S")
"""A text, a sentence or a finding, or none."""


def of_its_inputs(say: Callable[..., S]) -> Callable[..., S]:
    """What `say` makes of a result, with the word for what the network was measured on."""

    @wraps(say)
    def said(result: Result, *more: Any, **options: Any) -> S:
        found = say(result, *more, **options)
        return _called(found, result)

    return said


def _called(said: Any, result: Result) -> Any:
    if isinstance(said, str):
        return counted(result.in_words(said))
    if isinstance(said, Sentence):
        return replace(said, template=result.in_words(said.template))
    if isinstance(said, Finding):
        parts = {name: _called(getattr(said, name), result) for name in SAID}
        return replace(said, **parts)
    return said


def estimate(row: pd.Series, digits: int = 2, unit: str = "") -> str:
    """`0.74 (95 % CI 0.72–0.76)`, without the interval where there is none."""
    if pd.isna(row["value"]):
        return "undefined"
    value = f"{row['value']:.{digits}f}{unit}"
    if pd.isna(row["ci_low"]):
        return value
    to = " to " if row["ci_low"] < 0 else "–"
    return f"{value} (95 % CI {row['ci_low']:.{digits}f}{to}{row['ci_high']:.{digits}f}{unit})"


def ends_of(low: float, high: float) -> str:
    """`+0.10 to +0.62`, or that there is no interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    return f"{low:+z.2f} to {high:+z.2f}"


def listed(parts: list[str], most: int = 8) -> str:
    """`a, b, c`, and how many more."""
    more = len(parts) - most
    return ", ".join(parts[:most]) + (f" and {more} more" if more > 0 else "")


def block_of(row: pd.Series) -> str:
    """`10 (layer2.0)`."""
    return f"{row['block']} ({row['name']})"
