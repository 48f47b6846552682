"""What deleting each single block does to the error."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.rows import baseline, edited
from resnet_probe.stats import holm

NAMED = 5  # blocks at most that carry their number
CLEAR = 1.5  # times the typical block's damage
LEVEL = 0.05


def single_deletion(
    table: pd.DataFrame,
    *,
    title: str = "",
    compare: pd.DataFrame | None = None,
    transitions: Collection[int] | None = None,
    unit: str = "block",
    columns: int = 2,
) -> Figure:
    """The error after deleting each block, with 95 % intervals, beside the whole network's.

    ``table`` is a lesion's table with one deletion a row. Hollow markers: no difference from
    the baseline is shown on the same images (``p_value``, McNemar's, is 0.05 or more after
    Holm's correction for the number of blocks). Diamonds: ``transitions``, the first blocks of
    the stages from the second on unless given. ``compare`` (`published.comparison`) is
    overlaid, stretched to the same length where it has more or fewer blocks. ``unit`` is
    ``layer`` for plain networks. Raises ProbeError for a table of something else.
    """
    whole, rows = baseline(table), _single(edited(table))
    last = rows["block"].max()
    first = _first_of_stages(rows) if transitions is None else set(transitions)
    turn = rows["block"].isin(first)
    with style.theme():
        figure, (ax,) = style.axes(columns=columns, height=2.9 if columns == 2 else 2.7)
        marks.number(ax, 1, last)
        marks.scale_errors(ax, _all_errors(table, compare), table)
        marks.draw_stages(ax, rows, width_pt=72 * style.WIDTHS[columns] - 40)
        marks.draw_baseline(ax, whole)
        _draw_published(ax, compare, last)
        size = _marker_size(last, columns)
        _draw_points(ax, rows[~turn], "o", size, style.OURS, f"one {unit} deleted (95 % CI)")
        if turn.any():
            _draw_points(ax, rows[turn], "D", max(size, 3), style.TRANSITION, "stage transition")
        _name_worst(ax, rows, whole["error_pct"], size, columns)
        ax.set_xlabel(f"{unit} deleted")
        style.title(ax, title, columns=columns, pad=13)
        style.legend(figure, ax, columns=columns)
    return figure


def _single(rows: pd.DataFrame) -> pd.DataFrame:
    if not ((rows["kind"] == "delete") & (rows["edits"] == 1)).all():
        raise ProbeError("the table holds other edits than single deletions: draw it as multi_edit")
    p_values = pd.to_numeric(rows["p_value"]) if "p_value" in rows else pd.Series(0.0, rows.index)
    several = rows["blocks"].astype(str).str.contains(" ").any()  # layers, in order
    numbers = pd.Series(range(1, len(rows) + 1), rows.index) if several else rows["blocks"]
    blocks = pd.to_numeric(numbers).astype(int)
    return rows.assign(block=blocks, same=holm(p_values) >= LEVEL).sort_values("block")


def _first_of_stages(rows: pd.DataFrame) -> set[int]:
    return set(rows.groupby("stage", sort=False)["block"].min().iloc[1:])


def _all_errors(table: pd.DataFrame, compare: pd.DataFrame | None) -> pd.Series:
    if compare is None:
        return table["error_pct"]
    return pd.concat([table["error_pct"], compare["error_pct"]], ignore_index=True)


def _marker_size(blocks: int, columns: int) -> float:
    """In points: as large as the room between two blocks allows, within reason."""
    return float(np.clip(0.9 * (72 * style.WIDTHS[columns] - 45) / blocks, 1.6, 4.5))


def _draw_published(ax: Axes, compare: pd.DataFrame | None, blocks: int) -> None:
    if compare is None:
        return
    place = (compare["block"] - 0.5) * blocks / len(compare) + 0.5
    label, base = compare["label"].iloc[0], compare["baseline_pct"].iloc[0]
    ax.plot(
        place, compare["error_pct"], color=style.PUBLISHED, lw=0.9, ls=(0, (5, 1.2)), zorder=2.2,
        label=label,
    )  # fmt: skip
    ax.axhline(
        base, color=style.PUBLISHED, lw=0.8, ls=(0, (1, 1.5)), zorder=2,
        label=f"its baseline, {base:.2f} %",
    )  # fmt: skip


def _draw_points(
    ax: Axes, rows: pd.DataFrame, marker: str, size: float, colour: str, label: str
) -> None:
    edge = style.INK if marker == "D" else colour
    for shown, face in ((~rows["same"], colour), (rows["same"], "white")):
        part = rows[shown]
        text = label
        if face == "white":  # one such entry in the legend is enough, and "_" makes none
            text = "_" if part.empty or marker == "D" else f"not significant (p ≥ {LEVEL})"
        reach = part[["ci_low_pct", "ci_high_pct"]].sub(part["error_pct"], axis=0).abs()
        ax.errorbar(
            part["block"], part["error_pct"], reach.to_numpy().T, fmt=marker, ms=size, mfc=face,
            mec=edge, mew=0.7, ecolor=edge, elinewidth=0.7, label=text,
            zorder=3.5 if marker == "D" else 3,
        )  # fmt: skip


def _name_worst(ax: Axes, rows: pd.DataFrame, base: float, size: float, columns: int) -> None:
    """Numbers over the worst blocks that stand clear of the typical one; of neighbours the worst.

    So a number never covers another.
    """
    typical = rows["error_pct"].median()
    clear = rows["error_pct"] - base > CLEAR * (typical - base)
    clear &= ~rows["same"] & (rows["ci_low_pct"] > typical)
    worst = rows[clear].nlargest(NAMED, "error_pct")
    tops = worst[["block", "ci_high_pct"]].to_numpy(float)
    places = (ax.transScale + ax.transLimits).transform(tops)  # as shares of the axes
    named: list[np.ndarray] = []
    for top, place in zip(tops, places, strict=True):
        if any((np.abs(place - other) < (0.06 / columns, 0.07)).all() for other in named):
            continue
        named.append(place)
        ax.annotate(
            f"{top[0]:.0f}", tuple(top), xytext=(0, 1 + size / 2), textcoords="offset points",
            fontsize=7, ha="center", va="bottom",
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.2},
        )  # fmt: skip
