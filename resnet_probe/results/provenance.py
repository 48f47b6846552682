"""What made a table, as JSON: written beside it, read back, and compared with what is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_probe.errors import ProbeError

FILE = "provenance.json"
SHOWN = 3


def plain(value: Any) -> Any:
    """``value`` in JSON's own types: what comes back when it is written and read again.

    Numpy numbers and arrays become numbers and lists, paths and other objects their text, and
    numbers that JSON lacks (NaN, infinity) None.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def numbers(value: Any) -> Any:
    """A fact as it was before `plain`: None among numbers, or alone in a list, is NaN again."""
    if isinstance(value, Mapping):
        return {key: numbers(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if all(item is None or isinstance(item, int | float) for item in value):
        return [np.nan if item is None else item for item in value]
    return [numbers(item) for item in value]


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON that a person can read."""
    text = json.dumps(plain(record), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """The record at ``path``; ProbeError where there is none or it is not whole."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ProbeError(f"{path} cannot be read: it is no file")
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProbeError(f"{path.parent} holds no run: there is no {path.name} in it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ProbeError(f"{path} cannot be read: it was cut short or is not JSON") from error
    if not isinstance(record, dict):
        raise ProbeError(f"{path} cannot be read: it is not a JSON object")
    return record


def difference(asked: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The first entries in which two identities differ, as text; empty where they agree.

    ``arch is 'resnet20' there and 'resnet56' was asked for; seed …``.
    """
    asked, found = plain(asked), plain(found)
    keys = [*asked, *(key for key in found if key not in asked)]
    differing = [
        f"{key} is {_shown(found, key)} there and {_shown(asked, key)} was asked for"
        for key in keys
        if (key in asked) != (key in found) or asked[key] != found[key]
    ]
    more = len(differing) - SHOWN
    return "; ".join(differing[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _shown(identity: Mapping[str, Any], key: str) -> str:
    if key not in identity:
        return "not set"
    text = json.dumps(identity[key], ensure_ascii=False).strip('"')
    return text if len(text) <= 40 else f"{text[:37]}…"
