"""Blocks that go one after another: what each order costs, and which blocks go when."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.lesion import baseline, edited
from resnet_probe.figures.style import Given

NAMES = {
    "greedy": "cost measured again each time",
    "single deletion": "cost of single deletions",
    "block influence": "Block Influence",
}


def orders_of_deletion(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2, ax: Given = None
) -> Figure:
    """(a) the error by how many blocks are gone, a line an order, (b) which block goes when.

    Bands are 95 % intervals.  Raises ProbeError for a table of something else.
    """
    if "chosen_error_pct" not in table:
        raise ProbeError("the table has no orders of deletion: is it the table of a greedy?")
    table = table.assign(tau=float("nan"))
    whole, rows = baseline(table), edited(table)
    with style.theme():
        figure, panels = style.panels(2, columns=columns, height=2.7, title=title, given=ax)
        _draw_errors(panels[0], whole, rows, unit, columns)
        _draw_orders(panels[1], rows, unit, columns)
        style.letter(panels, ["what it costs", f"which {unit} goes when"])
        style.legend(figure, panels, columns=columns)
    return figure


def _draw_errors(ax: Axes, whole: pd.Series, rows: pd.DataFrame, unit: str, columns: int) -> None:
    last = int(rows["edits"].max())
    marks.number(ax, 1, last)
    ax.set_xlim(left=-0.01 * last)
    marks.scale_errors(ax, rows["error_pct"], rows)
    marks.draw_baseline(ax, whole)
    for way, look in marks.looks(list(NAMES)):
        some = rows[rows["kind"] == way]
        marks.line(
            ax, some["edits"], some, look, value="error_pct", ends=("ci_low_pct", "ci_high_pct"),
            label=NAMES[way], size=marks.marker_size(last, columns), shade=0.15,
        )  # fmt: skip
    ax.set_xlabel(f"{unit}s deleted")


def _draw_orders(ax: Axes, rows: pd.DataFrame, unit: str, columns: int) -> None:
    last = int(rows["edits"].max())
    for way, look in marks.looks(list(NAMES)):
        some = rows[rows["kind"] == way]
        ax.plot(
            some["edits"], some["block"], look.marker, ms=marks.marker_size(last, columns),
            color=look.color, mfc=look.color if way == "greedy" else "none", mew=0.7,
            clip_on=False, zorder=2 if way == "greedy" else 3,
        )  # fmt: skip
    marks.number(ax, 1, last)
    for end in rows.groupby("stage")["block"].max().sort_values().iloc[:-1]:
        ax.axhline(end + 0.5, color=style.PUBLISHED, lw=0.5, zorder=1)
    ax.set_ylim(0.5, rows["block"].max() + 0.5)
    ax.set_xlabel("place in the order of deletion")
    ax.set_ylabel(f"{unit} that goes")
