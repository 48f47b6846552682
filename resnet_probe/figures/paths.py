"""Path lengths: how many paths, how much gradient in one, in all of them, and in their sum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from resnet_probe.errors import ProbeError
from resnet_probe.figures import panels, style
from resnet_probe.figures.path_depth import path_depth
from resnet_probe.figures.path_terms import path_terms
from resnet_probe.stats import path_lengths as lengths

HEIGHTS = {1: 1.75, 2: 2.2}  # inches a panel, for one and two columns
WINDOW = "#E4E4E4"
RELATIVE = ["relative", "relative_low", "relative_high"]

SINGLE = {
    ("all", "rms_norm"): "single paths, all: root mean square (95 % CI)",
    ("sample", "mean_norm"): "single paths, sampled: mean (95 % CI)",
}
SUM = "sum over all paths of a length (95 % CI)"


def path_lengths(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """The figure of Veit et al. 2016 (their figure 6) with the exact decomposition beside it.

    (a) how many paths have each length; (b) the gradient norm of single paths of a length, and of
    their sum, on a log axis; (c) count times norm of single paths, as shares; (d) the exact share
    of each length in the gradient.  Grey: the lengths that the paper calls effective.  Norms
    are in units of each image's whole gradient.  Panels for which the ``table`` of paths has no
    rows are left out.  Raises ProbeError for another table.
    """
    found = {key: lengths.by_length(table, *key) for key in [*SINGLE, ("exact", "norm_of_sum")]}
    drawn = {key: rows for key, rows in found.items() if not rows.empty}
    share = lengths.by_length(table, "exact", "share")
    if not drawn:
        raise ProbeError("the table holds no norm by path length: there is nothing to draw")
    blocks = blocks_of(table)
    singles = {key: rows for key, rows in drawn.items() if key in SINGLE}
    draws: dict[str, Callable[[Axes], None]] = {
        f"number of paths, $2^{{{blocks}}}$ in all": lambda ax: _draw_counts(ax, blocks),
        "gradient norm": lambda ax: _draw_norms(ax, drawn),
    }
    if singles:
        draws["number × norm of single paths"] = lambda ax: _draw_products(ax, singles, blocks)
    if not share.empty:
        draws["exact share of the whole gradient"] = lambda ax: _draw_shares(ax, share)
    with style.theme():
        height = HEIGHTS.get(columns, 1.0)
        figure, axes = panels.panels(len(draws), columns=columns, height=height, title=title)
        for ax, draw in zip(axes, draws.values(), strict=True):
            _draw_window(ax, blocks)
            draw(ax)
            ax.set_xlim(-0.5, blocks + 0.5)
            ax.set_xlabel("path length (branches taken)")
        panels.letter(axes, list(draws))
        panels.legend(figure, axes, columns=columns)
    return figure


def path_figures(table: pd.DataFrame, *, title: str, columns: int = 2) -> dict[str, Figure]:
    """All figures of a study of paths, by file stem: ``figure``, and with the exact gradient
    ``depth`` (path length against block) and ``terms`` (the identity term beside the rest)."""
    drawn = {"figure": path_lengths(table, title=title, columns=columns)}
    if lengths.by_length(table, "exact", "norm_of_sum")["relative"].notna().any():
        drawn["depth"] = path_depth(table, title=title, columns=columns)
        drawn["terms"] = path_terms(table, title=title, columns=columns)
    return drawn


def blocks_of(table: pd.DataFrame) -> int:
    """How many blocks lie behind the place where the gradients were asked.

    There is one path of no branch, and as many of one branch as blocks.
    """
    rows = table[table["length"].notna() & (table["block"] == table["block"].min())]
    most = rows.loc[rows["length"] == 1, "paths_log10"]
    return round(10 ** float(most.iloc[0])) if len(most) else int(rows["length"].max())


def _draw_window(ax: Axes, blocks: int) -> None:
    first, last = lengths.PUBLISHED_WINDOW
    if blocks == lengths.PUBLISHED_BLOCKS:  # it means nothing for another number of blocks
        ax.axvspan(
            first - 0.5, last + 0.5, color=WINDOW, lw=0, zorder=0,
            label=f"effective lengths as published, {first}–{last} of {blocks} blocks",
        )  # fmt: skip


def _draw_counts(ax: Axes, blocks: int) -> None:
    share = 100 * lengths.share_of_paths(blocks)
    ax.bar(np.arange(blocks + 1), share, width=0.85, color=style.PUBLISHED, lw=0, zorder=2)
    ax.set_ylabel("share of all paths (%)")


def _draw_norms(ax: Axes, drawn: dict[tuple[str, str], pd.DataFrame]) -> None:
    for key, found in drawn.items():
        rows = found[found["relative"] > 0]  # a logarithm has no place for zero
        _draw_curve(ax, key, rows, rows[RELATIVE].to_numpy().T)
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel("norm / whole gradient")


def _draw_products(ax: Axes, singles: dict[tuple[str, str], pd.DataFrame], blocks: int) -> None:
    for key, rows in singles.items():
        value, low, high = rows[RELATIVE].to_numpy().T
        share = 100 * lengths.carried(value, blocks)
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = [np.where(value > 0, share * end / value, np.nan) for end in (low, high)]
        _draw_curve(ax, key, rows, np.stack([share, *ends]))
    ax.set_ylim(bottom=0)
    ax.set_ylabel("share (%)")


def _draw_shares(ax: Axes, rows: pd.DataFrame) -> None:
    values = 100 * rows[["value", "ci_low", "ci_high"]].to_numpy().T
    ax.axhline(0, color=style.INK, lw=0.5, zorder=1)
    _draw_curve(ax, ("exact", "share"), rows, values)
    ax.set_ylabel("share (%)")


def _draw_curve(ax: Axes, key: tuple[str, str], rows: pd.DataFrame, values: np.ndarray) -> None:
    """One look for each method: the sum ink, all single paths a band, sampled ones hollow dots."""
    value, low, high = values
    x = rows["length"].to_numpy()
    label = SINGLE.get(key, SUM)
    known = np.isfinite(low) & np.isfinite(high)
    reach = np.where(known, [value - low, high - value], 0).clip(min=0)
    if key[0] == "all":
        ax.fill_between(x, low, high, color=style.LIGHT, lw=0, zorder=2)
        ax.plot(x, value, color=style.OURS, lw=1.3, zorder=2.5, label=label)
    elif key[0] == "sample":
        ax.errorbar(
            x, value, reach, fmt="o", ms=2.4, mfc="white", mec=style.TRANSITION, mew=0.7,
            ecolor=style.TRANSITION, elinewidth=0.7, zorder=3, label=label,
        )  # fmt: skip
    else:
        ax.errorbar(
            x, value, reach, fmt="s-", ms=1.9, mew=0, lw=0.8, color=style.INK, elinewidth=0.6,
            zorder=2.8, label=label,
        )  # fmt: skip
