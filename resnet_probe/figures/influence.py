"""What deleting each block changes in every later one, and how long the chains are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.marks import LOOKS, Look
from resnet_probe.figures.style import Given

MOST = 1.0
"""A branch that changes by its own size is as far away as the darkest shade tells."""


def influence_matrix(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2, ax: Given = None
) -> Figure:
    """(a) the change of each later branch by deleted block, (b) the longest chain by threshold.

    Raises ProbeError for a table that is not of influences.
    """
    pairs = table[table["quantity"] == "influence"]
    if pairs.empty:
        raise ProbeError("the table has no influences: is it the table of an influence?")
    with style.theme():
        figure, axes = style.panels(2, columns=columns, height=2.9, title=title, given=ax)
        _draw_matrix(figure, axes[0], pairs, unit)
        _draw_depth(axes[1], table[table["quantity"] == "depth"], int(pairs["on"].max()), unit)
        style.letter(axes, [f"change of a later {unit}", f"{unit}s that build on each other"])
    return figure


def _draw_matrix(figure: Figure, ax: Axes, pairs: pd.DataFrame, unit: str) -> None:
    last = int(pairs["on"].max())
    grid = np.full((last, last), np.nan)
    grid[pairs["on"].to_numpy(int) - 1, pairs["block"].to_numpy(int) - 1] = pairs["value"]
    mesh = ax.imshow(
        grid, cmap="cividis", vmin=0, vmax=MOST, interpolation="nearest", origin="lower",
        extent=(0.5, last + 0.5, 0.5, last + 0.5),
    )  # fmt: skip
    marks.number(ax, 1, last)
    ax.set_xlim(0.5, last + 0.5)
    ax.set_yticks([tick for tick in ax.get_xticks() if 1 <= tick <= last])
    ends = pairs.groupby("on_stage")["on"].max().sort_values().to_numpy(int)[:-1]
    for end in ends:
        for line in (ax.axhline, ax.axvline):
            line(end + 0.5, color=style.PUBLISHED, lw=0.5, zorder=3)
    ax.set_xlabel(f"{unit} deleted")
    ax.set_ylabel(f"later {unit}")
    above = "max" if pairs["value"].max() > MOST else "neither"
    bar = figure.colorbar(mesh, ax=ax, shrink=0.85, extend=above)
    bar.set_label("‖Δ‖ / ‖F‖")


def _draw_depth(ax: Axes, rows: pd.DataFrame, blocks: int, unit: str) -> None:
    marks.line(ax, rows["threshold"], rows, Look(*LOOKS[0]))
    ax.axhline(blocks, color=style.INK, lw=0.6, ls=":", zorder=1)
    ax.annotate(
        f"all {blocks}", (1.0, blocks), xytext=(0, -2), textcoords="offset points", ha="right",
        va="top", fontsize=6.5,
    )  # fmt: skip
    ax.set_ylim(0, 1.05 * blocks)
    ax.set_xlim(left=0)
    ax.set_xlabel("least change, ‖Δ‖ / ‖F‖")
    ax.set_ylabel(f"longest chain ({unit}s)")
