"""How much of the variance over gates is of each order."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.style import Given

LEAST = 0.5
"""Percent of the variance: a bar of less cannot be seen."""


def variance_by_order(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """Bars of the share of each order, a colour a chance of being kept; 95 % intervals.

    The highest orders are left out where none of them is more than `LEAST`, which the axis says.
    Raises ProbeError for another study's table.
    """
    if "keep" not in table or "or_more" not in table:
        raise ProbeError("the table has no variance by order: is it the table of interactions?")
    chances = sorted(table["keep"].unique())
    width = 0.8 / len(chances)
    last, most = _last(table), int(table["order"].max())
    table = table[table["order"] <= last]
    with style.theme():
        figure, (axes,) = style.axes(columns=columns, height=2.7, given=ax)
        for place, (keep, look) in enumerate(marks.looks([f"{keep:g}" for keep in chances])):
            rows = table[table["keep"] == chances[place]].sort_values("order")
            x = np.arange(1, len(rows) + 1) + width * (place - (len(chances) - 1) / 2)
            value = rows["value"]
            reach = [(value - rows["ci_low"]), (rows["ci_high"] - value)]
            axes.bar(
                x, value, width * 0.92, yerr=reach, color=look.color, alpha=0.85,
                hatch="" if place % 2 == 0 else "////", edgecolor="white", lw=0,
                error_kw={"elinewidth": 0.7, "ecolor": style.INK},
                label=f"each kept with a chance of {keep}",
            )  # fmt: skip
        axes.set_xticks(range(1, len(rows) + 1))
        names = [f"{row.order}{'+' if row.or_more else ''}" for row in rows.itertuples()]
        axes.set_xticklabels(names)
        axes.set_ylim(bottom=np.nanmin([0.0, *table["ci_low"]]))
        if table["value"].isna().all():
            axes.text(0.5, 0.5, "nothing varies", transform=axes.transAxes, ha="center")
        small = f"{last + 1} to {most}" if last + 1 < most else f"{most}"
        rest = f"\n({small}: below {LEAST:g} %)" if last < most else ""
        axes.set_xlabel(f"order: blocks that act together{rest}")
        axes.set_ylabel("share of variance (%)")
        style.title(axes, title, columns=columns)
        style.legend(figure, axes, columns=columns)
    return figure


def _last(table: pd.DataFrame) -> int:
    """The highest order whose bar, or the end of whose interval, can be seen."""
    shown = table[["value", "ci_high"]].max(axis=1) >= LEAST
    return int(table.loc[shown | table["or_more"] | (table["order"] == 1), "order"].max())
