"""A lesion's error with the trained batch-norm statistics and with statistics of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import lines, marks, panels, style
from resnet_probe.figures.lines import LOOKS, Look
from resnet_probe.figures.rows import baseline, edited

BASELINES = {"error_pct": "baseline", "recalibrated_error_pct": "baseline, re-estimated"}
STALE, OWN = "statistics of the whole network", "statistics re-estimated after the lesion"


def recalibrated_errors(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2
) -> Figure:
    """Both errors of each lesion: by block for single deletions, else medians and quartiles.

    Bars are 95 % intervals, bands go from the first to the third quartile of the draws; the lines
    are the two baselines.  Raises ProbeError for a table without re-estimated statistics.
    """
    if "recalibrated_error_pct" not in table:
        raise ProbeError("the table has no re-estimated statistics: ask for them (--recalibrate)")
    whole, rows = baseline(table), edited(table)
    single = bool(((rows["kind"] == "delete") & (rows["edits"] == 1)).all())
    with style.theme():
        figure, (ax,) = style.axes(columns=columns, height=2.9)
        errors = pd.concat([table["error_pct"], table["recalibrated_error_pct"]])
        (_draw_blocks if single else _draw_draws)(ax, rows, columns)
        marks.scale_errors(ax, errors, table)
        for (column, name), look in zip(BASELINES.items(), LOOKS, strict=False):
            ax.axhline(whole[column], color=look[0], ls=look[1], lw=0.8, zorder=2,
                       label=f"{name}, {whole[column]:.2f} %")  # fmt: skip
        ax.set_xlabel(_label(rows, single, unit))
        style.title(ax, title, columns=columns, pad=13 if single else 6)
        panels.legend(figure, [ax], columns=columns)
    return figure


def _draw_blocks(ax: Axes, rows: pd.DataFrame, columns: int) -> None:
    rows = rows.assign(block=pd.to_numeric(rows["blocks"]).astype(int))
    marks.number(ax, 1, int(rows["block"].max()))
    marks.draw_stages(ax, rows, width_pt=72 * style.WIDTHS[columns] - 40)
    size = lines.marker_size(2 * len(rows), 1, largest=4)
    both = (("", STALE, "full", -0.16), ("recalibrated_", OWN, "none", 0.16))
    for (prefix, name, fill, aside), (color, _, marker) in zip(both, LOOKS, strict=False):
        error = rows[f"{prefix}error_pct"]
        reach = [(error - rows[f"{prefix}ci_low_pct"]).abs(), rows[f"{prefix}ci_high_pct"] - error]
        ax.errorbar(
            rows["block"] + aside, error, reach, fmt=marker, ms=size, elinewidth=0.6, mew=0.8,
            color=color, mfc=color if fill == "full" else "white", label=f"{name} (95 % CI)",
            clip_on=False,
        )  # fmt: skip


def _draw_draws(ax: Axes, rows: pd.DataFrame, columns: int) -> None:
    ordered = bool(rows["tau"].notna().any())
    by = rows["tau"].round(2) if ordered else rows["edits"].astype(int)
    both = (("error_pct", STALE), ("recalibrated_error_pct", OWN))
    for (column, name), look in zip(both, LOOKS, strict=False):
        found = rows.groupby(by)[column].quantile(np.array([0.25, 0.5, 0.75])).unstack()
        found.columns = pd.Index(["low", "value", "high"])
        x = found.index.to_numpy()
        lines.line(ax, x, found, Look(*look), ends=("low", "high"), label=f"{name}, median")
    if ordered:
        ax.invert_xaxis()
    else:
        marks.number(ax, int(by.min()), int(by.max()))


def _label(rows: pd.DataFrame, single: bool, unit: str) -> str:
    if rows["tau"].notna().any():
        return "Kendall τ to the trained order"
    kind = {"delete": f"{unit}s deleted", "permute": "swaps", "duplicate": f"{unit}s duplicated"}
    return f"{unit} deleted" if single else kind[str(rows["kind"].iloc[0])]
