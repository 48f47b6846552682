"""The identity term of the gradient beside all the rest."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from resnet_probe.figures import panels, style
from resnet_probe.figures.path_axes import draw_blocks, exact

DASHES = (0, (4, 1.2))
SPREAD = 20.0  # from here on, the smaller term would be flat on a linear axis
PERCENT = ["value", "ci_low", "ci_high"]


def path_terms(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """The two terms of the gradient at each block (He et al. 2016, equation 5).

    (a) their norms; (b) their cosine; (c) for how many images the rest comes near cancelling the
    identity term, its part along it being within 0.5 of −1 times it.  Raises ProbeError for a
    table without the exact gradient.
    """
    sums = exact(table, "norm_of_sum")
    near = exact(table, "near_cancellation")
    near = near.assign(**{name: 100 * near[name] for name in PERCENT})
    with style.theme():
        height = 2.2 if columns == 2 else 1.9
        figure, axes = panels.panels(3, columns=columns, height=height, title=title, across=3)
        for ax in axes:
            draw_blocks(ax, table, width_pt=130 if columns == 2 else 205)
            ax.set_xlabel("gradient at the input of block")
        _draw_norms(axes[0], sums[sums["length"] == 0], exact(table, "rest_norm"))
        _draw_band(axes[1], exact(table, "cosine"), style.INK, "-", "cosine between the two")
        axes[1].axhline(0, color=style.INK, lw=0.5, zorder=1)
        axes[1].set_ylim(-1.03, 1.03)
        axes[1].set_ylabel("cosine")
        label = "rest along the identity term within 0.5 of −1"
        _draw_band(axes[2], near, style.PUBLISHED, "-", label)
        axes[2].set_ylim(-1, max(10.0, 1.1 * near["ci_high"].max()))
        axes[2].set_ylabel("images (%)")
        panels.letter(axes, ["the two terms", "direction", "near cancellation"], pad=13)
        panels.legend(figure, axes, columns=columns)
    return figure


def _draw_norms(ax: Axes, identity: pd.DataFrame, rest: pd.DataFrame) -> None:
    for rows, colour, dashes, label in (
        (identity, style.OURS, "-", "identity term (no branch)"),
        (rest, style.TRANSITION, DASHES, "the rest (1 branch or more)"),
    ):
        relative = {"value": "relative", "ci_low": "relative_low", "ci_high": "relative_high"}
        given = rows.assign(**{name: rows[other] for name, other in relative.items()})
        _draw_band(ax, given, colour, dashes, label)
    both = pd.concat([identity["relative"], rest["relative"]])
    if both.max() > SPREAD * both[both > 0].min():
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(bottom=0)
    ax.set_ylabel("norm / whole gradient")


def _draw_band(ax: Axes, rows: pd.DataFrame, colour: str, dashes: Any, label: str) -> None:
    ax.fill_between(rows["block"], rows["ci_low"], rows["ci_high"], color=colour, alpha=0.2, lw=0)
    ax.plot(rows["block"], rows["value"], color=colour, lw=1.2, ls=dashes, label=label)
