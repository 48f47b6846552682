"""How numbers with their intervals are written."""

from __future__ import annotations

import pandas as pd


def estimate(row: pd.Series, digits: int = 2, unit: str = "") -> str:
    """`0.74 (95 % CI 0.72–0.76)`, without the interval where there is none."""
    value = f"{row['value']:.{digits}f}{unit}"
    if pd.isna(row["ci_low"]):
        return value
    to = " to " if row["ci_low"] < 0 else "–"
    return f"{value} (95 % CI {row['ci_low']:.{digits}f}{to}{row['ci_high']:.{digits}f}{unit})"


def listed(parts: list[str], most: int = 8) -> str:
    """`a, b, c`, and how many more."""
    more = len(parts) - most
    return ", ".join(parts[:most]) + (f" and {more} more" if more > 0 else "")


def block_of(row: pd.Series) -> str:
    """`10 (layer2.0)`."""
    return f"{row['block']} ({row['name']})"
