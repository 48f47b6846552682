"""Lists of edits as a caller gives them: edits, their texts, or a file of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resnet_probe.edits.edit import Edit
from resnet_probe.errors import ProbeError


def given(values: Any) -> tuple[Edit, ...]:
    """Edits from what a caller writes: edits, their texts, or one of them alone."""
    if isinstance(values, str | Edit):
        values = (values,)
    if hasattr(values, "tolist"):  # an array of texts
        values = values.tolist()
    if not isinstance(values, Iterable):
        raise ProbeError(f"edits={values!r} are no edits: give a list of edits or of their texts")
    found: list[Edit] = []
    for value in values:
        if isinstance(value, tuple | list) and not isinstance(value, str):
            found.extend(given(value))
        elif isinstance(value, str | Edit):
            found.append(Edit.parse(value) if isinstance(value, str) else value)
        else:
            raise ProbeError(f"{value!r} is no edit: write Edit.delete(3, 7) or 'delete 3 7'")
    return tuple(found)


def _is_file(path: Path) -> bool:
    """Not so where nobody can say: a long list of edits is too long for a name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read(text: str) -> tuple[Edit, ...]:
    """The edit of a text, or those of a file that has this name, one a line; # begins a comment."""
    path = Path(text)
    if not _is_file(path):
        if text.endswith(".txt"):
            reason = "it is no file" if path.exists() else "No such file"
            raise ProbeError(f"{path} with edits cannot be read: {reason}")
        return (Edit.parse(text),)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ProbeError(f"{path} with edits cannot be read: {reason}") from None
    found = []
    for place, line in enumerate(lines, start=1):
        if said := line.partition("#")[0].strip():
            try:
                found.append(Edit.parse(said))
            except ProbeError as error:
                raise ProbeError(f"line {place} of {path}: {error}") from None
    if not found:
        raise ProbeError(f"{path} holds no edits: write one a line, such as delete 3 7")
    return tuple(found)
