"""Whether lesioned networks vote: what their average gains, and how alike their errors are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.marks import LOOKS, Look
from resnet_probe.figures.style import Given

ERRORS = {"error_pct": "single networks, mean", "averaged_error_pct": "average of their outputs"}
ALIKE = {
    "error_correlation": ("errors in common", "correlation of errors (φ)"),
    "disagreement_pct": ("different answers", "disagreement (% of images)"),
}


def votes(table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None) -> Figure:
    """(a) errors of lesioned networks and of their average, (b) φ of errors, (c) disagreement.

    All against the number of blocks that each network lacks; bands are 95 % intervals.  Raises
    ProbeError for a table that is not an agreement's.
    """
    rows = table[table["kind"] == "lesioned"].sort_values("edits")
    whole = table[table["kind"] == "whole"]
    if rows.empty or len(whole) != 1:
        raise ProbeError("the table has no lesioned networks: is it the table of an agreement?")
    with style.theme():
        figure, axes = style.panels(3, columns=columns, height=2.1, title=title, across=3, given=ax)
        base = whole.iloc[0]
        axes[0].axhspan(base["ci_low"], base["ci_high"], color=style.LIGHT, alpha=0.45, lw=0)
        axes[0].axhline(
            base["value"], color=style.INK, lw=0.9, label=f"whole network, {base['value']:.2f} %"
        )
        for (quantity, name), look in zip(ERRORS.items(), LOOKS, strict=False):
            some = rows[rows["quantity"] == quantity]
            marks.line(axes[0], some["edits"], some, Look(*look), label=name)
        axes[0].set_ylabel("error (%, 95 % CI)")
        for ax, (quantity, (_, label)) in zip(axes[1:], ALIKE.items(), strict=True):
            some = rows[rows["quantity"] == quantity]
            marks.line(ax, some["edits"], some, Look(*LOOKS[2]), label="two networks, mean")
            ax.set_ylabel(label)
        for ax in axes:
            ax.set_xlabel("blocks deleted in each")
            marks.number(ax, int(rows["edits"].min()), int(rows["edits"].max()))
            ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        style.letter(axes, ["error", *(name for name, _ in ALIKE.values())])
        style.shared_legend(figure, axes, columns=columns)
    return figure


def pairs(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """Block × block: how alike the errors of two single deletions are (φ)."""
    rows = table[(table["kind"] == "pair") & (table["quantity"] == "error_correlation")]
    last = int(rows["other"].max())
    grid = np.full((last, last), np.nan)
    first, second = (rows[name].to_numpy(int) - 1 for name in ("block", "other"))
    grid[first, second] = grid[second, first] = rows["value"].to_numpy(float)
    side = style.WIDTHS[columns] * (0.55 if columns > 1 else 0.7)
    with style.theme():
        figure, (ax,) = style.panels(1, columns=columns, height=side, title=title)
        mesh = _draw(ax, grid)
        ax.set_xlabel("block deleted in one network")
        ax.set_ylabel("block deleted in the other")
        marks.number(ax, 1, last)
        ax.set_yticks([tick for tick in ax.get_xticks() if 1 <= tick <= last])
        ax.set_xlim(0.5, last + 0.5)
        figure.colorbar(mesh, ax=ax, label="correlation of errors (φ)", shrink=0.8)
    return figure


def _draw(ax: Axes, grid: np.ndarray) -> AxesImage:
    ax.set_facecolor("white")
    last = len(grid)
    return ax.imshow(
        grid, cmap="cividis", interpolation="nearest", extent=(0.5, last + 0.5, last + 0.5, 0.5)
    )
