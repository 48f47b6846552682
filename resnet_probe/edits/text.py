"""The text form of edits: `delete 3 7; parallel 10..20`, for command lines, tables and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from resnet_probe.errors import ProbeError

VALUES = ("zero", "mean", "channel mean", "resample", "constant", "linear")
"""What can stand in the place of a branch's output."""
FORMS = {
    "delete": "delete BLOCKS",
    "cut": "cut BLOCKS",
    "swap": "swap BLOCK BLOCK",
    "order": "order BLOCKS",
    "reverse": "reverse FIRST..LAST",
    "repeat": "repeat BLOCK TIMES, or repeat FIRST..LAST TIMES",
    "run": "run BLOCKS",
    "scale": "scale BLOCK GATE, and more of such pairs",
    "parallel": "parallel FIRST..LAST, and the number of rounds behind it",
    "replace": f"replace BLOCKS VALUE, where VALUE is {', '.join(VALUES[:-1])} or {VALUES[-1]}",
}
BLOCKS = "BLOCKS are numbers and ranges such as 3 7 10..20"
GRAMMAR = "; ".join(FORMS.values()) + f"; {BLOCKS}; changes one after another stand between ;"
"""How an edit is written."""
FARTHEST = 100_000
"""No network has a block of a larger number; so a range never grows out of hand."""


class Change(NamedTuple):
    """One verb with its blocks, and what goes with it.

    `more` is how often (repeat), the rounds (parallel), the gates of the blocks (scale), or the
    name of a value (replace).
    """

    verb: str
    blocks: tuple[int, ...]
    more: int | tuple[float, ...] | str | None = None

    def __str__(self) -> str:
        if self.verb == "scale":
            assert isinstance(self.more, tuple)
            pairs = zip(self.blocks, self.more, strict=True)
            return " ".join(["scale", *(f"{b} {number(gate)}" for b, gate in pairs)])
        if self.verb in ("reverse", "parallel", "repeat"):
            words = [self.verb, spans(range(self.blocks[0], self.blocks[-1] + 1), least=2)]
        else:
            words = [self.verb, spans(self.blocks)]
        plain = self.verb == "parallel" and self.more == 1
        return " ".join(words if self.more is None or plain else [*words, str(self.more)])


class Word(NamedTuple):
    """A word and its place in the text, from 1."""

    text: str
    place: int


Arguments = tuple[tuple[Any, ...], dict[str, int]]


class _Wrong(Exception):
    """A word that does not fit, and what would."""

    def __init__(self, word: Word, wanted: str) -> None:
        super().__init__(wanted)
        self.word, self.wanted = word, wanted


class Said(NamedTuple):
    """A verb, and the arguments of the constructor of that name."""

    verb: Word
    given: tuple[Any, ...]
    named: dict[str, int]


def parse(text: str) -> Iterator[Said]:
    """The changes that a text asks for.

    Raises `ProbeError` with the place of the first word that does not fit, and the grammar.
    """
    start = 0
    for part in text.split(";"):
        words = [Word(m[0], start + m.start() + 1) for m in re.finditer(r"\S+", part)]
        end = Word("", start + len(part) + 1)
        start += len(part) + 1
        try:
            yield _change(words, end)
        except _Wrong as found:
            verb = words[0] if words else end
            raise wrong(text, verb, found.word, found.wanted) from None


def wrong(text: str, verb: Word, word: Word, wanted: str) -> ProbeError:
    """`the edit 'delete x' cannot be read at character 8: found 'x', wanted …; it is written: …`"""
    form = FORMS.get(verb.text)
    grammar = f"{form}; {BLOCKS}" if form else GRAMMAR
    found = f"{word.text!r}" if word.text else "the end"
    return ProbeError(
        f"the edit {text!r} cannot be read at character {word.place}: found {found}, wanted "
        f"{wanted}; it is written: {grammar}"
    )


def _change(words: list[Word], end: Word) -> Said:
    if not words:
        raise _Wrong(end, "an edit")
    verb, rest = words[0], words[1:]
    if verb.text not in FORMS:
        raise _Wrong(verb, "one of " + ", ".join(FORMS))
    if not rest and verb.text != "run":
        raise _Wrong(end, "blocks")
    given, named = READERS[verb.text](rest, end)
    return Said(verb, given, named)


def _span(word: Word) -> range:
    """`10..20`, or one number."""
    found = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", word.text, re.ASCII)
    if found is None:
        raise _Wrong(word, "a block or a range such as 10..20")
    first, last = int(found[1]), int(found[2] or found[1])
    if not 1 <= first <= last <= FARTHEST:
        raise _Wrong(word, "blocks from 1 on, the smaller number first")
    return range(first, last + 1)


def _blocks(words: Iterable[Word]) -> list[int]:
    return [number for word in words for number in _span(word)]


def _single(word: Word) -> int:
    span = _span(word)
    if len(span) > 1:
        raise _Wrong(word, "one block")
    return span[0]


def _whole(word: Word, wanted: str) -> int:
    if not re.fullmatch(r"\d{1,9}", word.text, re.ASCII):
        raise _Wrong(word, wanted)
    return int(word.text)


def _only(words: list[Word], most: int) -> None:
    if len(words) > most:
        raise _Wrong(words[most], "nothing more")


def _swap(words: list[Word], end: Word) -> Arguments:
    _only(words, 2)
    if len(words) < 2:
        raise _Wrong(end, "another block")
    return (_single(words[0]), _single(words[1])), {}


def _reverse(words: list[Word], end: Word) -> Arguments:
    _only(words, 1)
    span = _span(words[0])
    return (span[0], span[-1]), {}


def _repeat(words: list[Word], end: Word) -> Arguments:
    _only(words, 2)
    if len(words) < 2:
        raise _Wrong(end, "how often")
    span = _span(words[0])
    return (span[0], span[-1]), {"times": _whole(words[1], "a number of times")}


def _parallel(words: list[Word], end: Word) -> Arguments:
    _only(words, 2)
    span = _span(words[0])
    rounds = _whole(words[1], "a number of rounds") if len(words) > 1 else 1
    return (span[0], span[-1]), {"rounds": rounds}


def _scale(words: list[Word], end: Word) -> Arguments:
    gates: dict[int, float] = {}
    if len(words) % 2:
        raise _Wrong(end, "a gate")
    for block, gate in zip(words[::2], words[1::2], strict=True):
        number = _single(block)
        if number in gates:
            raise _Wrong(block, "each block once")
        try:
            gates[number] = float(gate.text)
        except ValueError:
            raise _Wrong(gate, "a gate, a number such as 0.5") from None
    return (gates,), {}


def _replace(words: list[Word], end: Word) -> Arguments:
    count = next((i for i, w in enumerate(words) if not w.text[:1].isdecimal()), len(words))
    value = " ".join(word.text for word in words[count:])
    if not count:
        raise _Wrong(words[0], "blocks")
    if value not in VALUES:
        raise _Wrong(words[count] if value else end, "a value: " + ", ".join(VALUES))
    return (_blocks(words[:count]), value), {}


READERS: dict[str, Callable[[list[Word], Word], Arguments]] = {
    "delete": lambda words, end: (tuple(_blocks(words)), {}),
    "cut": lambda words, end: (tuple(_blocks(words)), {}),
    "swap": _swap,
    "order": lambda words, end: ((_blocks(words),), {}),
    "reverse": _reverse,
    "repeat": _repeat,
    "run": lambda words, end: ((_blocks(words),), {}),
    "scale": _scale,
    "parallel": _parallel,
    "replace": _replace,
}


def spans(numbers: Sequence[int], *, least: int = 3) -> str:
    """`3 7 10..20`: runs of at least `least` ascending numbers as a range."""
    parts: list[str] = []
    start = 0
    for stop in range(1, len(numbers) + 1):
        if stop < len(numbers) and numbers[stop] == numbers[stop - 1] + 1:
            continue
        run = numbers[start:stop]
        parts += [f"{run[0]}..{run[-1]}"] if len(run) >= least else map(str, run)
        start = stop
    return " ".join(parts)


def number(gate: float) -> str:
    """The shortest text that reads as this number again."""
    return str(int(gate)) if gate == int(gate) and abs(gate) < 1e15 else repr(gate)
