"""The text form of edits: `delete 3 7; parallel 10..20`, for command lines, tables and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from resnet_probe.edits.edit import VALUES, Edit
from resnet_probe.errors import ProbeError

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


class Word(NamedTuple):
    """A word and its place in the text, from 1."""

    text: str
    place: int


class _Wrong(Exception):
    """A word that does not fit, and what would."""

    def __init__(self, word: Word, wanted: str) -> None:
        super().__init__(wanted)
        self.word, self.wanted = word, wanted


def parse(text: str) -> Edit:
    """The edit that a text says.

    Raises `ProbeError` with the place of the first word that does not fit, and the grammar.
    """
    edit, start = Edit(), 0
    for part in text.split(";"):
        words = [Word(m[0], start + m.start() + 1) for m in re.finditer(r"\S+", part)]
        end = Word("", start + len(part) + 1)
        start += len(part) + 1
        try:
            edit = edit >> _change(words, end)
        except _Wrong as wrong:
            raise ProbeError(_told(text, wrong, words)) from None
    return edit


def given(values: Any) -> tuple[Edit, ...]:
    """Edits from what a caller writes: edits, their texts, or one of them alone."""
    if isinstance(values, str | Edit):
        values = (values,)
    if not isinstance(values, Iterable):
        raise ProbeError(f"edits={values!r} are no edits: give a list of edits or of their texts")
    found: list[Edit] = []
    for value in values:
        if isinstance(value, tuple | list) and not isinstance(value, str):
            found.extend(given(value))
        elif isinstance(value, str | Edit):
            found.append(parse(value) if isinstance(value, str) else value)
        else:
            raise ProbeError(f"{value!r} is no edit: write Edit.delete(3, 7) or 'delete 3 7'")
    return tuple(found)


def read(text: str) -> tuple[Edit, ...]:
    """The edit of a text, or those of a file that has this name, one a line; # begins a comment."""
    path = Path(text)
    if not (text.endswith(".txt") or path.is_file()):
        return (parse(text),)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ProbeError(f"{path} with edits cannot be read: {reason}") from None
    found = []
    for place, line in enumerate(lines, start=1):
        if said := line.partition("#")[0].strip():
            try:
                found.append(parse(said))
            except ProbeError as error:
                raise ProbeError(f"line {place} of {path}: {error}") from None
    if not found:
        raise ProbeError(f"{path} holds no edits: write one a line, such as delete 3 7")
    return tuple(found)


def _change(words: list[Word], end: Word) -> Edit:
    if not words:
        raise _Wrong(end, "an edit")
    verb, rest = words[0], words[1:]
    if verb.text not in FORMS:
        raise _Wrong(verb, "one of " + ", ".join(FORMS))
    if not rest and verb.text != "run":
        raise _Wrong(end, "blocks")
    try:
        return READERS[verb.text](rest, end)
    except ProbeError as error:
        raise _Wrong(verb, str(error)) from None


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


def _swap(words: list[Word], end: Word) -> Edit:
    _only(words, 2)
    if len(words) < 2:
        raise _Wrong(end, "another block")
    return Edit.swap(_single(words[0]), _single(words[1]))


def _reverse(words: list[Word], end: Word) -> Edit:
    _only(words, 1)
    span = _span(words[0])
    return Edit.reverse(span[0], span[-1])


def _repeat(words: list[Word], end: Word) -> Edit:
    _only(words, 2)
    if len(words) < 2:
        raise _Wrong(end, "how often")
    span = _span(words[0])
    return Edit.repeat(span[0], span[-1], times=_whole(words[1], "a number of times"))


def _parallel(words: list[Word], end: Word) -> Edit:
    _only(words, 2)
    span = _span(words[0])
    rounds = _whole(words[1], "a number of rounds") if len(words) > 1 else 1
    return Edit.parallel(span[0], span[-1], rounds=rounds)


def _scale(words: list[Word], end: Word) -> Edit:
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
    return Edit.scale(gates)


def _replace(words: list[Word], end: Word) -> Edit:
    count = next((i for i, w in enumerate(words) if not w.text[:1].isdecimal()), len(words))
    value = " ".join(word.text for word in words[count:])
    if not count:
        raise _Wrong(words[0], "blocks")
    if value not in VALUES:
        raise _Wrong(words[count] if value else end, "a value: " + ", ".join(VALUES))
    return Edit.replace(_blocks(words[:count]), value)


READERS: dict[str, Callable[[list[Word], Word], Edit]] = {
    "delete": lambda words, end: Edit.delete(*_blocks(words)),
    "cut": lambda words, end: Edit.cut(*_blocks(words)),
    "swap": _swap,
    "order": lambda words, end: Edit.order(_blocks(words)),
    "reverse": _reverse,
    "repeat": _repeat,
    "run": lambda words, end: Edit.run(_blocks(words)),
    "scale": _scale,
    "parallel": _parallel,
    "replace": _replace,
}


def _told(text: str, wrong: _Wrong, words: list[Word]) -> str:
    """`'delete x': 'x' at character 8 is no …; it is written: delete BLOCKS, where …`."""
    verb = words[0].text if words else ""
    form = FORMS.get(verb)
    grammar = f"{form}; {BLOCKS}" if form else GRAMMAR
    found = f"{wrong.word.text!r}" if wrong.word.text else "the end"
    return (
        f"the edit {text!r} cannot be read at character {wrong.word.place}: found {found}, wanted "
        f"{wrong.wanted}; it is written: {grammar}"
    )
