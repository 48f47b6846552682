"""Which path lengths of the gradient arrive at which block."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from resnet_probe.figures import style
from resnet_probe.figures.path_axes import draw_blocks, exact

FAINTEST = 1e-4  # of a block's gradient: below that, all cells look alike


def path_depth(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """Which path lengths feed which block: ‖G[k]‖ in units of the whole gradient at its input.

    The gradient comes from the right, where paths are still short.  The line is the length that
    half of the norms lie below.  Lengths far beyond the last visible one are cut off.  Raises
    ProbeError for a table without the exact gradient.
    """
    rows = exact(table, "norm_of_sum").astype({"length": int})
    norms = rows.pivot(index="length", columns="block", values="relative")
    top = max(1.0, norms.max().max())
    decades = 10.0 ** np.arange(np.log10(FAINTEST), np.floor(np.log10(top)) + 1)
    with style.theme():
        figure, (ax,) = style.axes(columns=columns, height=2.9 if columns == 2 else 2.7)
        mesh = ax.pcolormesh(
            norms.columns.to_numpy(int), norms.index.to_numpy(int), norms.to_numpy(),
            norm=LogNorm(FAINTEST, top), cmap="cividis", rasterized=True,
            shading="nearest",
        )  # fmt: skip
        ax.set_ylim(-0.5, _longest(norms) + 0.5)
        _draw_middle(ax, norms)
        draw_blocks(ax, table, width_pt=72 * style.WIDTHS[columns] - 90, beside=0.5)
        ax.set_ylabel("path length behind it")
        style.title(ax, title, columns=columns, pad=13)
        bar = figure.colorbar(mesh, ax=ax, extend="min", pad=0.015, ticks=decades)
        bar.set_label("norm of the sum / whole gradient")
        style.legend(figure, ax, columns=columns)
    return figure


def _longest(norms: pd.DataFrame) -> float:
    """Up to where the axis goes: a little beyond the last length that is visible anywhere."""
    seen = norms.index[(norms >= FAINTEST).any(axis=1)]
    last = float(norms.index.max())
    return min(last, 1.3 * float(seen.max()) + 1) if len(seen) else last


def _draw_middle(ax: Axes, norms: pd.DataFrame) -> None:
    """The length up to which half of the norms lie, at each block."""
    middle = (norms.fillna(0).cumsum() >= norms.sum() / 2).idxmax()
    edge = [Stroke(linewidth=2.2, foreground="white"), Normal()]
    ax.plot(
        middle.index, middle.to_numpy(int), color=style.INK, lw=0.9, path_effects=edge, zorder=3,
        label="length below which half of the norms lie",
    )  # fmt: skip
