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
        style.legend(figure, axes, columns=columns)
    return figure


APART, SUB = "networks trained apart", "sub-networks of one network, with so many blocks deleted"
GAINS = {
    "averaged_error_pct": "error of their average (%)",
    "ambiguity_pct": "ambiguity (% of squared error)",
    "error_correlation": "correlation of errors (φ)",
}


def ensembles(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """A true ensemble beside as many sub-networks at a time, against the mean error of each.

    (a) the error of their average, (b) their ambiguity, (c) φ of their errors; bars are 95 %
    intervals.  Raises ProbeError for a table without an ensemble.
    """
    if not (table["kind"] == "ensemble").any():
        raise ProbeError("the table has no ensemble: give agreement other networks (weights=)")
    some = table[table["kind"].isin(["ensemble", "subnetworks"])]
    errors = some[some["quantity"] == "error_pct"].set_index("edits")
    with style.theme():
        figure, axes = style.panels(3, columns=columns, height=2.2, title=title, across=3)
        for ax, (quantity, label) in zip(axes, GAINS.items(), strict=True):
            rows = some[some["quantity"] == quantity]
            for kind, name, look in (("subnetworks", SUB, LOOKS[0]), ("ensemble", APART, LOOKS[1])):
                own = rows[rows["kind"] == kind].set_index("edits")
                _draw_kind(ax, errors[errors["kind"] == kind], own, Look(*look), name)
            ax.set_xlabel("mean error of the networks (%)")
            ax.set_ylabel(label)
            ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        ends = (0.0, float(errors["value"].max()))
        axes[0].plot(ends, ends, color=style.PUBLISHED, lw=0.6, ls=":", label="nothing gained")
        style.letter(axes, ["average", "ambiguity", "errors in common"])
        style.legend(figure, axes, columns=columns)
    return figure


def _draw_kind(ax: Axes, errors: pd.DataFrame, rows: pd.DataFrame, look: Look, name: str) -> None:
    x, value = errors["value"], rows["value"]
    reach = [(value - rows["ci_low"]).clip(lower=0), (rows["ci_high"] - value).clip(lower=0)]
    ax.errorbar(
        x, value, reach, fmt=look.marker, ms=4, color=look.color, mew=0, elinewidth=0.7, label=name,
        zorder=3,
    )  # fmt: skip
    for count in x.index if len(x) > 1 else ():
        ax.annotate(
            str(count), (x[count], value[count]), xytext=(3, 3 if count % 2 else -8),
            textcoords="offset points", fontsize=6.5, color=look.color,
        )  # fmt: skip


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
