"""Many networks beside one another, and a small figure of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from resnet_probe.errors import ProbeError
from resnet_probe.figures import style
from resnet_probe.figures.marks import LOOKS, Look
from resnet_probe.figures.style import Given
from resnet_probe.findings.atlas import networks

SIZE = 1.7, 0.5
"""Inches of a small figure."""
LABELS = ("blocks harmless (%)", "blocks harmless (%)", "worst block (0 first, 1 last)",
          "median ‖F‖/‖shortcut‖")  # fmt: skip
APART = 0.01
"""Of the axis, between points at the same place."""
TRAINED, CONTROL = Look(*LOOKS[0]), Look(style.PUBLISHED, "-", "o")


def networks_by_size(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """(a) harmless blocks by depth and (b) by width, (c) the place of the worst block, (d) the size
    of residuals by depth.

    A point is a network with its 95 % interval; hollow and grey: untrained.  Raises ProbeError for
    a table of something else.
    """
    if "quantity" not in table or "network" not in table:
        raise ProbeError("the table has no column 'network': is it the table of an atlas?")
    with style.theme():
        figure, axes = style.panels(4, columns=columns, height=2.3, title=title, given=ax)
        _draw(axes[0], table, "blocks", "harmless")
        _draw(axes[1], table, "width", "harmless")
        _draw(axes[2], table, "blocks", "worst", share=True)
        _draw(axes[3], table, "blocks", "ratio")
        for one in axes[:2]:
            one.set_ylim(-4, 104)
        axes[2].set_ylim(-0.04, 1.04)
        for one, label in zip(axes, LABELS, strict=True):
            one.set_ylabel(label)
        axes[3].set_yscale("log")
        style.letter(axes, ["depth", "width", "place of the worst block", "size of residuals"])
        style.legend(figure, axes, columns=columns)
    return figure


def _draw(ax: Axes, table: pd.DataFrame, by: str, quantity: str, *, share: bool = False) -> None:
    known = networks(table)
    known = known[known["residual"]]
    rows = table[(table["quantity"] == quantity) & table["value"].notna()].set_index("network")
    ax.set_xlabel("blocks" if by == "blocks" else "width (channels)")
    _scale(ax, known.loc[known.index.isin(rows.index), by])
    for trained, look in ((False, CONTROL), (True, TRAINED)):
        names = [n for n in known.index[known["trained"] == trained] if n in rows.index]
        if not names:
            continue
        x, some = known.loc[names, by].to_numpy(float), rows.loc[names]
        ends = some[["value", "low", "high"]].to_numpy(float).T
        if share:
            ends = (ends - 1) / np.maximum(known.loc[names, "blocks"].to_numpy(float) - 1, 1)
        reach = np.nan_to_num(np.abs(ends[1:] - ends[:1]))
        ax.errorbar(
            x * _apart(x, ax.get_xlim()), ends[0], yerr=reach, ls="", marker=look.marker, ms=3,
            lw=0.7, color=look.color, mfc=look.color if trained else "white", mew=0.7,
            label="trained" if trained else "untrained", zorder=3 if trained else 2,
        )  # fmt: skip


def _scale(ax: Axes, sizes: pd.Series) -> None:
    """A logarithmic axis with room at both ends, and plain numbers."""
    low, high = (1.0, 1.0) if sizes.empty else (float(sizes.min()), float(sizes.max()))
    ax.set_xscale("log")
    ax.set_xlim(low / 1.25, high * 1.25)
    step = 1 if high < 30 * low else 2
    ticks = [factor * 10.0**power for power in range(5) for factor in (1, 2, 5)][::step]
    shown = [tick for tick in ticks if low / 1.25 < tick < high * 1.25]
    ax.xaxis.set_major_locator(FixedLocator(shown if low < high else [low]))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def _apart(x: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Factors that set points at the same place a little apart, by a share of the axis."""
    step = (ends[1] / ends[0]) ** APART
    seen: dict[float, int] = {}
    factors = np.ones(len(x))
    for place, value in enumerate(x):
        count = seen[value] = seen.get(value, -1) + 1
        factors[place] = step ** ((count + 1) // 2 * (-1 if count % 2 else 1))
    return factors


def small(rows: pd.DataFrame) -> Figure:
    """Of one network by block: above what a deletion adds to the error, below ‖F‖/‖shortcut‖.

    Each from 0 to its own largest value; a vertical line where a stage ends.
    """
    parts = [rows[rows["quantity"] == name] for name in ("block_change", "block_ratio")]
    parts = [part for part in parts if len(part)]
    with style.theme():
        figure = Figure(figsize=SIZE)
        last = max((int(part["block"].max()) for part in parts), default=1)
        for place, part in enumerate(parts):
            height = 0.96 / len(parts)
            bottom = 1 - (place + 1) * height - 0.02
            _strip(figure.add_axes((0, bottom, 1, 0.86 * height)), part, last)
    return figure


def _strip(ax: Axes, part: pd.DataFrame, last: int) -> None:
    """A column a block; what it lacks is a gap."""
    heights = np.zeros(last)
    heights[part["block"].to_numpy(int) - 1] = np.maximum(part["value"].to_numpy(float), 0)
    colour = style.OURS if part["quantity"].iloc[0] == "block_change" else style.PUBLISHED
    edges = np.arange(last + 1) + 0.5
    ax.stairs(heights, edges, fill=True, color=colour, lw=0)
    for end in part.groupby("stage")["block"].max().iloc[:-1]:
        ax.axvline(end + 0.5, color=style.PUBLISHED, lw=0.4)
    ax.axhline(0, color=style.INK, lw=0.5)
    ax.set_xlim(0.5, last + 0.5)
    ax.set_ylim(0, max(heights.max(), 1e-9))
    ax.axis("off")
