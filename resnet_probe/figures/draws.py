"""What many edits at once do to the error: blocks deleted, swapped, run twice, or reordered.

A table has many random draws: boxes over the number of edits, or dots and quartiles over how far
the order is off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.lesion import baseline, edited
from resnet_probe.figures.style import Given
from resnet_probe.stats import median_interval

COUNTED = {
    "delete": "blocks deleted",
    "permute": "swaps inside stages",
    "duplicate": "blocks duplicated",
}
BESIDE = 0.4  # published values stand to the right of the boxes
FEW = 30  # more different values of τ than that are put into bins
BIN = 0.02
ENOUGH = 5  # permutations for quartiles of a bin


def multi_edit(
    table: pd.DataFrame,
    *,
    title: str = "",
    compare: pd.DataFrame | None = None,
    unit: str = "block",
    columns: int = 2,
    ax: Given = None,
) -> Figure:
    """Box plots of the error against the number of edits, one panel for each kind of edit.

    A box holds the middle half of the draws, its line the median, the bar on it the median's 95 %
    interval; whiskers reach the last draw within 1.5 box lengths, dots lie beyond. Diamonds beside
    the boxes are the medians in ``compare``
    (`published.comparison`, rows with ``by == "edits"``), lines their quartiles. Raises
    ProbeError for a table of something else.
    """
    whole, rows = baseline(table), edited(table)
    kinds = [kind for kind in COUNTED if (rows["kind"] == kind).any()]
    if not kinds:
        raise ProbeError(f"the table has no rows of kind {', '.join(COUNTED)}: nothing to draw")
    with style.theme():
        figure, panels = style.axes(columns=columns, height=2.7, panels=len(kinds), given=ax)
        for panel, kind in zip(panels, kinds, strict=True):
            marks.draw_baseline(panel, whole)
            _draw_boxes(panel, rows[rows["kind"] == kind], _draws(rows))
            _draw_published_counts(panel, compare, kind)
            panel.set_xlabel(COUNTED[kind].replace("block", unit))
            panel.set_ylabel("")
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
    _draw_medians(ax, groups, fmt="_", ms=0)
    marks.number(ax, int(rows["edits"].min()), int(rows["edits"].max()))


def _draw_medians(ax: Axes, groups: Any, **look: Any) -> None:
    """The median of each group with its 95 % interval over the draws, where these are enough."""
    places, found = zip(*((place, median_interval(group)) for place, group in groups), strict=True)
    value, low, high = np.array(found).T
    reach = np.nan_to_num([value - low, high - value])
    ax.errorbar(
        places, value, reach, color=style.INK, elinewidth=1.6, zorder=4, label="median (95 % CI)",
        **look,
    )  # fmt: skip


def _draw_published_counts(ax: Axes, compare: pd.DataFrame | None, kind: str) -> None:
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


def permutation_tau(
    table: pd.DataFrame,
    *,
    title: str = "",
    compare: pd.DataFrame | None = None,
    columns: int = 2,
    ax: Given = None,
) -> Figure:
    """The error of each reordered network against Kendall's τ, the trained order on the left.

    One dot a permutation, a line through the medians with their 95 % intervals over permutations,
    and a band from the first to the third quartile, at each τ or in bins of 0.02.
    Diamonds are the medians in ``compare`` (`published.comparison`, rows with ``by == "tau"``),
    lines their quartiles. Raises ProbeError for a table of something else.
    """
    whole, rows = baseline(table), edited(table)
    rows = rows[rows["tau"].notna()]
    if rows.empty:
        raise ProbeError("no row of the table has a Kendall τ: is it the table of permutations?")
    with style.theme():
        figure, (ax,) = style.axes(columns=columns, height=2.7, given=ax)
        marks.draw_baseline(ax, whole)
        _draw_orders(ax, rows)
        _draw_published_orders(ax, compare)
        room = 0.02 * (1 - rows["tau"].min()) + 0.004
        ax.set_xlim(1 + room, min(_ends(rows, compare)) - room)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("Kendall τ to the trained order")
        ax.set_ylabel("error (%)")
        style.title(ax, title, columns=columns)
        style.legend(figure, ax, columns=columns)
    return figure


def _ends(rows: pd.DataFrame, compare: pd.DataFrame | None) -> list[float]:
    published = [] if compare is None else [float(compare["tau_low"].min())]
    return [float(rows["tau"].min()), *published]


def _draw_orders(ax: Axes, rows: pd.DataFrame) -> None:
    ax.plot(
        rows["tau"], rows["error_pct"], ls="", marker="o", ms=2.2, mew=0, color=style.OURS,
        alpha=0.35, label="one permutation", zorder=2.5,
    )  # fmt: skip
    groups = _by_tau(rows)
    quartiles = groups.quantile(np.array([0.25, 0.5, 0.75])).unstack()
    ax.fill_between(
        quartiles.index, quartiles[0.25], quartiles[0.75], color=style.OURS, alpha=0.2, lw=0,
        zorder=2.2, label="quartiles",
    )  # fmt: skip
    _draw_medians(ax, groups, fmt="o-", ms=2.2, mew=0, lw=0.9)


def _by_tau(rows: pd.DataFrame) -> Any:
    """The errors at each τ, or in each bin that holds enough permutations."""
    tau = rows["tau"].round(3)
    if tau.nunique() > FEW:
        middles = (np.floor(rows["tau"] / BIN) + 0.5) * BIN
        tau = middles.clip(upper=1 - BIN / 2).round(3)
        rows = rows[tau.map(tau.value_counts()) >= ENOUGH]
    return rows.groupby(tau)["error_pct"]


def _draw_published_orders(ax: Axes, compare: pd.DataFrame | None) -> None:
    if compare is None:
        return
    rows = compare[(compare["by"] == "tau") & (compare["n"] >= ENOUGH)]
    middle = (rows["tau_low"] + rows["tau_high"]) / 2
    reach = np.abs(rows[["q1_pct", "q3_pct"]].to_numpy().T - rows["median_pct"].to_numpy())
    ax.errorbar(
        middle, rows["median_pct"], reach, fmt="D", ms=3, mew=0,
        color=style.PUBLISHED, elinewidth=0.9, zorder=5,
        label=rows["label"].iloc[0],
    )  # fmt: skip
