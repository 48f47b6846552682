"""Units of work that are done once: kept in a journal, and taken from it after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

Arrays = Mapping[str, np.ndarray]


class Memo(Protocol):
    """What keeps finished units by a key of any short text; arrays come back bit for bit."""

    def get(self, key: str) -> Arrays | None: ...
    def put(self, key: str, arrays: Arrays) -> None: ...


def once(journal: Memo | None, key: str, compute: Callable[[], Arrays]) -> Arrays:
    """What `compute` gives, or what it gave for that key before."""
    kept = journal.get(key) if journal is not None else None
    if kept is not None:
        return kept
    found = compute()
    if journal is not None:
        journal.put(key, found)
    return found
