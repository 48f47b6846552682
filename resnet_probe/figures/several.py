"""What several edits at once do to the error: deletions, swaps, duplications."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.rows import baseline, edited

COUNTED = {
    "delete": "blocks deleted",
    "permute": "swaps inside stages",
    "duplicate": "blocks duplicated",
}

BESIDE = 0.4  # published values stand to the right of the boxes


def multi_edit(
    table: pd.DataFrame,
    *,
    title: str = "",
    compare: pd.DataFrame | None = None,
    unit: str = "block",
    columns: int = 2,
) -> Figure:
    """Box plots of the error against the number of edits, one panel for each kind of edit.

    A box holds the middle half of the draws, its line the median; whiskers reach the last draw
    within 1.5 box lengths, dots lie beyond. Diamonds beside
    the boxes are the medians in ``compare``
    (`published.comparison`, rows with ``by == "edits"``), lines their quartiles. Raises
    ProbeError for a table of something else.
    """
    whole, rows = baseline(table), edited(table)
    kinds = [kind for kind in COUNTED if (rows["kind"] == kind).any()]
    if not kinds:
        raise ProbeError(f"the table has no rows of kind {', '.join(COUNTED)}: nothing to draw")
    with style.theme():
        figure, panels = style.axes(columns=columns, height=2.7, panels=len(kinds))
        for ax, kind in zip(panels, kinds, strict=True):
            marks.draw_baseline(ax, whole)
            _draw_boxes(ax, rows[rows["kind"] == kind], _draws(rows))
            _draw_published(ax, compare, kind)
            ax.set_xlabel(COUNTED[kind].replace("block", unit))
            ax.set_ylabel("")
        lowest, highest = rows["error_pct"].min(), rows["error_pct"].max()
        if highest > 2.5 * lowest:
            panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("error (%)")
        style.title(panels[0], title, columns=columns)
        style.legend(figure, panels[0], columns=columns)
    return figure


def _draws(rows: pd.DataFrame) -> str:
    sizes = rows.groupby(["kind", "edits"]).size()
    least, most = sizes.min(), sizes.max()
    return f"{least} draws each" if least == most else f"{least}–{most} draws each"


def _draw_boxes(ax: Axes, rows: pd.DataFrame, label: str) -> None:
    # matplotlib's own: seaborn 0.13 hands it an argument that it no longer takes from 3.13 on.
    groups = rows.groupby("edits")["error_pct"]
    line = {"color": style.OURS, "linewidth": 0.8}
    ax.boxplot(
        [group.to_numpy() for _, group in groups],
        positions=np.unique(rows["edits"]),
        widths=0.5,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": style.LIGHT, "edgecolor": style.OURS, "linewidth": 0.8},
        whiskerprops=line,
        capprops=line,
        medianprops={"color": style.INK, "linewidth": 1.4},
        flierprops={"marker": "o", "markersize": 1.8, "markeredgecolor": style.OURS, "mew": 0.4},
        zorder=3,
    )
    ax.fill_between([], [], facecolor=style.LIGHT, edgecolor=style.OURS, lw=0.8, label=label)
    marks.number(ax, int(rows["edits"].min()), int(rows["edits"].max()))


def _draw_published(ax: Axes, compare: pd.DataFrame | None, kind: str) -> None:
    if compare is None:
        return
    rows = compare[(compare["kind"] == kind) & (compare["by"] == "edits")]
    rows = rows[rows["edits"].between(*ax.get_xlim())]
    if rows.empty:
        return
    reach = np.abs(rows[["q1_pct", "q3_pct"]].to_numpy().T - rows["median_pct"].to_numpy())
    ax.errorbar(
        rows["edits"] + BESIDE, rows["median_pct"], reach, fmt="D", ms=3, mew=0,
        color=style.PUBLISHED, elinewidth=0.9, zorder=5,
        label=rows["label"].iloc[0],
    )  # fmt: skip
