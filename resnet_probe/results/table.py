"""A table as CSV, and the same table back: texts as texts, numbers to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd


def write(path: Path, table: pd.DataFrame) -> None:
    """Write the columns and rows; gaps and empty texts are empty cells."""
    table.to_csv(path, index=False, lineterminator="\n")


def kinds(table: pd.DataFrame) -> dict[str, str]:
    """What `read` needs to restore each column: the dtype of numbers and truth values, or text."""
    numeric = pd.api.types.is_numeric_dtype
    return {
        str(name): str(column.dtype) if numeric(column) else "text"
        for name, column in table.items()
    }


def read(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table that was written, from the `kinds` of its columns."""
    # As text first: pandas would take the name "NA" for a gap, and may round the last digit.
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.DataFrame({name: _restored(text[name], kind) for name, kind in columns.items()})


def _restored(column: pd.Series, kind: str) -> pd.Series:
    if kind == "text":
        return column
    parsers: dict[str, Callable[[str], Any]] = {"b": "True".__eq__, "f": float}
    parse = parsers.get(pd.Series(dtype=kind).dtype.kind, int)
    cells: list[Any] = [parse(cell) if cell else None for cell in column]
    return pd.Series(cells, dtype=kind)
