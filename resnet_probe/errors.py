"""The one error that this package raises on purpose, and what it suggests."""

from __future__ import annotations

from collections.abc import Iterable

ALIKE, AS_ALIKE = 0.6, 0.1
"""The least likeness (twice the letters in common, by all of both) that counts, and how far below
the greatest one another may lie."""
MOST, PART = 3, 3
"""Names that are suggested, and the letters from which on a part of a name stands for it."""


class ProbeError(Exception):
    """A request that cannot be met, in one sentence: what was asked, found, and is allowed.

    The library raises it; the command line prints it and exits with status 2.
    """


def first_line(error: BaseException | None) -> str:
    """The first line of an error's message, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def on_one_line(text: str) -> str:
    """A text with what would end its line, or steer a terminal, as Python writes it: `new\\nline`.

    Names that were typed stand in messages, and those of files may hold any character.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def did_you_mean(name: object, known: Iterable[str], *, form: str = "{}") -> str:
    """`; did you mean resnet20 or resnet32?`, to stand behind a sentence; empty if none is near.

    Near are the `known` names spelled most alike, in capitals or not; where there are none, those
    of which `name` is a part. Each is written in `form`.
    """
    asked = str(name).lower()
    spelled = {each.lower(): form.format(each) for each in known}
    near = _alike(asked, spelled)
    if not near and len(asked) >= PART:
        near = [each for each in spelled if asked in each][:MOST]
    if not near:
        return ""
    *most, last = (spelled[each] for each in near)
    return f"; did you mean {', '.join(most)}{' or ' if most else ''}{last}?"


def _alike(asked: str, names: Iterable[str]) -> list[str]:
    """The names most alike, the best first."""
    from difflib import SequenceMatcher, get_close_matches

    near = get_close_matches(asked, names, n=MOST, cutoff=ALIKE)
    likeness = [SequenceMatcher(None, each, asked).ratio() for each in near]
    return [n for n, like in zip(near, likeness, strict=True) if like > likeness[0] - AS_ALIKE]
