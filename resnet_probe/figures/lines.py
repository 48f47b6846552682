"""Lines that can be told apart in colour and in grey, with bands or bars for their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from resnet_probe.figures import style

# Okabe and Ito's colours, each with a line and a marker of its own.
LOOKS: tuple[tuple[str, Any, str], ...] = (
    ("#0072B2", "-", "o"),
    ("#D55E00", (0, (5, 1.5)), "s"),
    ("#009E73", (0, (1, 1)), "^"),
    ("#CC79A7", (0, (5, 1.5, 1, 1.5)), "D"),
    ("#56B4E9", "-", "v"),
    ("#E69F00", (0, (5, 1.5)), "P"),
    ("#222222", (0, (1, 1)), "X"),
)


class Look(NamedTuple):
    """Colour, dash and marker of a line."""

    color: str
    dash: Any
    marker: str


def looks(names: Sequence[str]) -> Iterator[tuple[str, Look]]:
    """Each name with a look of its own; after seven they begin again."""
    for place, name in enumerate(names):
        yield name, Look(*LOOKS[place % len(LOOKS)])


def line(
    ax: Axes,
    x: pd.Series | np.ndarray,
    rows: pd.DataFrame,
    look: Look,
    *,
    value: str = "value",
    ends: tuple[str, str] = ("ci_low", "ci_high"),
    label: str | None = None,
    marked: bool = True,
    size: float = 2.6,
    shade: float = 0.2,
) -> None:
    """A line through `value` with the interval between `ends` as a band; NaN leaves a gap."""
    mark = look.marker if marked else ""
    ax.plot(
        x, rows[value], color=look.color, ls=look.dash, lw=1.1, marker=mark, ms=size, mew=0,
        label=label, zorder=3,
    )  # fmt: skip
    low, high = (pd.to_numeric(rows[end]) for end in ends)
    if low.notna().any():
        ax.fill_between(x, low, high, color=look.color, alpha=shade, lw=0, zorder=2)


def marker_size(points: int, columns: int, *, largest: float = 3.2) -> float:
    """In points: as large as the room between two of so many along an axis allows."""
    return float(np.clip(60 * style.WIDTHS[columns] / columns / max(points, 1), 1.2, largest))
