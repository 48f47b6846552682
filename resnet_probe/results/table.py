"""A table as CSV, and the same table back; and how the estimate of a row is written."""

from __future__ import annotations

import math
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
    """The table that was written, to the last digit, from the `kinds` of its columns."""
    # As text first: pandas would take the name "NA" for a gap, and may round the last digit.
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.DataFrame({name: _restored(text[name], kind) for name, kind in columns.items()})


def number(value: float) -> str:
    """Three digits that say something, whole numbers as they are."""
    if math.isnan(value):
        return "–"
    if abs(value) < 5e-7:
        return "0"
    if value == round(value) and abs(value) < 1e9:
        return f"{value:,.0f}".replace("-", "−")
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}".replace("-", "−")


def interval(row: pd.Series) -> str:
    """`0.67 (0.55 to 0.80)`: its `value`, `ci_low` and `ci_high`."""
    return f"{number(row['value'])} ({number(row['ci_low'])} to {number(row['ci_high'])})"


def _restored(column: pd.Series, kind: str) -> pd.Series:
    if kind == "text":
        return column
    parsers: dict[str, Callable[[str], Any]] = {"b": "True".__eq__, "f": float}
    parse = parsers.get(pd.Series(dtype=kind).dtype.kind, int)
    cells: list[Any] = [parse(cell) if cell else None for cell in column]
    return pd.Series(cells, dtype=kind)
