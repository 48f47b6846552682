"""Deletions beside disturbances of the same size."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.lesion import baseline, edited
from resnet_probe.figures.marks import LOOKS, Look
from resnet_probe.figures.style import Given

NAMES = {
    "delete": "deleted",
    "other image": "moved as far, along another image's branch",
    "noise": "moved as far, along white noise",
    "sign": "reversed (twice as far)",
}


def disturbances(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """The error after each deletion and each disturbance, by block; bars are 95 % intervals.

    Raises ProbeError for a table without disturbances.
    """
    if "beside_deletion_pct" not in table:
        raise ProbeError("the table has no disturbances: is it the table of a control?")
    table = table.assign(edits=1, tau=float("nan"), blocks=table["block"])
    whole, rows = baseline(table), edited(table)
    rows["block"] = pd.to_numeric(rows["block"]).astype(int)
    kinds = list(rows["kind"].unique())
    with style.theme():
        figure, (axes,) = style.axes(columns=columns, height=2.9, given=ax)
        marks.number(axes, 1, int(rows["block"].max()))
        marks.scale_errors(axes, table["error_pct"], table)
        marks.draw_stages(axes, rows, width_pt=72 * style.WIDTHS[columns] - 40)
        marks.draw_baseline(axes, whole)
        size = marks.marker_size(2 * rows["block"].max(), 1, largest=4)
        for place, (kind, look) in enumerate(zip(kinds, LOOKS, strict=False)):
            some, (color, _, marker) = rows[rows["kind"] == kind], Look(*look)
            error = some["error_pct"]
            reach = [(error - some["ci_low_pct"]).abs(), (some["ci_high_pct"] - error).abs()]
            axes.errorbar(
                some["block"] + 0.18 * (place - (len(kinds) - 1) / 2), error, reach, fmt=marker,
                ms=size, color=color, mfc="white" if kind != "delete" else color, mew=0.8,
                elinewidth=0.6, label=NAMES[kind], clip_on=False,
            )  # fmt: skip
        axes.set_xlabel("block")
        style.title(axes, title, columns=columns, pad=13)
        style.legend(figure, axes, columns=columns)
    return figure
