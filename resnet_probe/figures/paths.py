"""Path lengths: how many paths, how much gradient in one, in all of them, and in their sum.

And of the exact gradient at every block: which lengths arrive there, and the identity term beside
all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import NullFormatter

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.style import Given
from resnet_probe.stats import path_lengths as lengths

HEIGHTS = {1: 1.75, 2: 2.2}  # inches a panel, for one and two columns
WINDOW = "#E4E4E4"
RELATIVE = ["relative", "relative_low", "relative_high"]

SINGLE = {
    ("all", "rms_norm"): "single paths, all: root mean square (95 % CI)",
    ("sample", "mean_norm"): "single paths, sampled: mean (95 % CI)",
}
SUM = "sum over all paths of a length (95 % CI)"
FAINTEST = 1e-4  # of a block's gradient: below that, all cells look alike
DASHES = (0, (4, 1.2))
SPREAD = 20.0  # from here on, the smaller term would be flat on a linear axis
PERCENT = ["value", "ci_low", "ci_high"]


def path_lengths(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
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
        figure, axes = style.panels(
            len(draws), columns=columns, height=height, title=title, given=ax
        )
        for ax, draw in zip(axes, draws.values(), strict=True):
            _draw_window(ax, blocks)
            draw(ax)
            ax.set_xlim(-0.5, blocks + 0.5)
            ax.set_xlabel("path length (branches taken)")
        style.letter(axes, list(draws))
        style.legend(figure, axes, columns=columns)
    return figure


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


def path_coherence(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """‖Σ g_P‖² / Σ ‖g_P‖² over the paths of each length, between independent and equal ones.

    Raises ProbeError for a table without it.
    """
    rows = lengths.by_length(table, "all", "coherence")
    if rows.empty:
        raise ProbeError("the table has no coherence: run paths with method='every'")
    x = rows["length"]
    with style.theme():
        figure, (axes,) = style.axes(columns=columns, height=2.6, given=ax)
        bound = 10.0 ** rows["paths_log10"]
        axes.plot(x, bound, color=style.PUBLISHED, lw=0.9, ls=DASHES, label="all paths the same")
        marks.line(axes, x, rows, marks.Look(*marks.LOOKS[0]), label="here (95 % CI)")
        axes.axhline(1, color=style.INK, lw=0.7, ls=":", label="independent paths")
        axes.set_yscale("log")
        top = float(np.nanmax([1.0, *rows["ci_high"].fillna(rows["value"])]))
        low = float(np.nanmin([1.0, *rows["ci_low"].fillna(rows["value"])]))
        axes.set_ylim(low / 2, 30 * top)
        axes.set_xlabel("path length (blocks)")
        axes.set_ylabel("coherence, ‖Σ g‖² / Σ ‖g‖²")
        style.title(axes, title, columns=columns)
        style.legend(figure, axes, columns=columns)
    return figure


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
        figure, axes = style.panels(3, columns=columns, height=height, title=title, across=3)
        for ax in axes:
            draw_blocks(ax, table, width_pt=130 if columns == 2 else 205)
            ax.set_xlabel("gradient at the input of block")
        _draw_terms(axes[0], sums[sums["length"] == 0], exact(table, "rest_norm"))
        _draw_band(axes[1], exact(table, "cosine"), style.INK, "-", "cosine between the two")
        axes[1].axhline(0, color=style.INK, lw=0.5, zorder=1)
        axes[1].set_ylim(-1.03, 1.03)
        axes[1].set_ylabel("cosine")
        label = "rest along the identity term within 0.5 of −1"
        _draw_band(axes[2], near, style.PUBLISHED, "-", label)
        axes[2].set_ylim(-1, max(10.0, 1.1 * near["ci_high"].max()))
        axes[2].set_ylabel("images (%)")
        style.letter(axes, ["the two terms", "direction", "near cancellation"], pad=13)
        style.legend(figure, axes, columns=columns)
    return figure


def _draw_terms(ax: Axes, identity: pd.DataFrame, rest: pd.DataFrame) -> None:
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


def exact(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The rows of an exact quantity in the order of the blocks; ProbeError if there are none."""
    rows = table[(table["method"] == "exact") & (table["quantity"] == quantity)]
    if rows.empty:
        raise ProbeError(f"the table has no exact {quantity!r}: run paths with method='exact'")
    return rows.sort_values("block", ignore_index=True)


def draw_blocks(ax: Axes, table: pd.DataFrame, *, width_pt: float, beside: float = 0.7) -> None:
    """An x axis of blocks, 0 being the image, with the stages marked."""
    blocks = table[table["block"] > 0].drop_duplicates("block")[["block", "stage"]]
    marks.draw_stages(ax, blocks.sort_values("block"), width_pt=width_pt)
    first, last = int(table["block"].min()), int(table["block"].max())
    marks.number(ax, max(1, first), last)
    ax.set_xlim(first - beside, last + beside)
    ax.set_xlabel("gradient at the input of block" + (" (0: image)" if first == 0 else ""))
