"""How large the responses of a network are: its weight layers, and its residual branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.marks import Look
from resnet_probe.figures.style import Given

DIAMOND: dict[str, Any] = {"ls": "", "marker": "D", "ms": 3.6, "mfc": "white", "mew": 0.9}
PANELS = {
    "ratio": ("ratio", "size of the response", "‖F(h)‖ / ‖shortcut(h)‖"),
    "variance": ("variance_ratio", "variance of the response", "Var(F) / Var(shortcut)"),
    "cosine": ("cosine_gradient_sum", "response against the loss", "cosine with the gradient"),
    "stage": ("stage_deviation", "way to the end of the stage", "‖h′ − h(end)‖ / ‖h(end)‖"),
    "units": ("always_on_pct", "units behind the ReLUs", "always on, dead (%)"),
    "rank": ("stable_rank", "stable rank of the response", "stable rank"),
}


def layer_responses(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """Standard deviations of the weight layers, in order and sorted (He et al. 2015, figure 7).

    A line a network (column ``arch``, where the ``table`` has one), with 95 % intervals as bands;
    diamonds: the first layer of a stage.  Raises ProbeError for a table without layers.
    """
    rows = _networks(table[table["place"] == "layer"])
    if rows.empty:
        raise ProbeError("the table has no rows of weight layers: is it the table of responses?")
    with style.theme():
        figure, axes = style.panels(2, columns=columns, height=2.3, title=title, given=ax)
        for (arch, look), layers in _each(rows):
            layers = layers.sort_values("number")
            few = len(layers) <= 60
            size = marks.marker_size(len(layers), columns, largest=2.4)
            marks.line(axes[0], layers["number"], layers, look, label=arch, marked=few, size=size)
            _mark_stages(axes[0], layers, layers["number"], look)
            ranked = layers.sort_values("value", ascending=False, ignore_index=True)
            marks.line(axes[1], np.arange(1, len(ranked) + 1), ranked, look, marked=few, size=size)
        _name_stages(axes[0], "first layer of a stage")
        for ax, what in zip(axes, ("weight layer, in order", "rank of the layer"), strict=True):
            ax.set_xlabel(what)
            ax.set_ylabel("std of the response (95 % CI)")
            ax.set_ylim(bottom=0)
        style.letter(axes, ["in order", "sorted by size"])
        style.legend(figure, axes, columns=columns)
    return figure


def block_responses(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """What the branch of each block gives: six panels over the blocks, 95 % intervals as bands.

    One network is drawn over its block numbers, with its stages; several over their relative
    depth.  Dotted in (a): from the 5th to the 95th percentile of the images.  Raises ProbeError
    for a table without blocks.
    """
    rows = _networks(table[table["place"] == "block"])
    if rows.empty:
        raise ProbeError("the table has no rows of blocks: is it the table of responses?")
    known = rows[rows["value"].notna()]
    kept = [what for what in PANELS.values() if (known["quantity"] == what[0]).any()]
    single = rows["arch"].nunique() == 1
    with style.theme():
        figure, axes = style.panels(len(kept), columns=columns, height=1.75, title=title)
        for (arch, look), blocks in _each(rows):
            place = _place(blocks, single)
            for ax, (quantity, _, _) in zip(axes, kept, strict=True):
                _draw(ax, blocks, quantity, place, look, arch, single=single, columns=columns)
        for ax, (quantity, _, label) in zip(axes, kept, strict=True):
            _scale(ax, quantity, rows, single=single, columns=columns)
            ax.set_ylabel(label, fontsize=7)
        if not single:
            _name_stages(axes[0], "first block of a stage")
        style.letter(axes, [name for _, name, _ in kept], pad=11 if single else 4)
        style.legend(figure, axes, columns=columns)
    return figure


SCORES = {"block_influence": "Block Influence, 1 − cos(h, h′)", "ratio": "‖F(h)‖ / ‖shortcut(h)‖"}
NAMED = 5
"""Blocks whose number stands beside their point: those of the largest costs."""


def scores_and_costs(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """What deleting each block costs against two scores that need no deletion.

    Bars are 95 % intervals of the cost; the numbers are those of the blocks that cost most.  Raises
    ProbeError for a table without costs.
    """
    if not (table["quantity"] == "deletion_cost").any():
        raise ProbeError("the table has no costs of deletions: run responses with costs=True")
    rows = _networks(table[table["place"] == "block"])
    with style.theme():
        figure, axes = style.panels(2, columns=columns, height=2.5, title=title)
        for ax, (quantity, label) in zip(axes, SCORES.items(), strict=True):
            for arch, look in marks.looks(list(dict.fromkeys(rows["arch"]))):
                _draw_costs(ax, rows[rows["arch"] == arch], quantity, look, arch)
            ax.set_xscale("log")
            ax.set_yscale("symlog", linthresh=0.01)
            ax.set_xlabel(label)
            _tick_costs(ax)
            ax.set_ylabel("cost of deletion (nats)")
        style.letter(axes, ["Block Influence", "size of the response"])
        if rows["arch"].nunique() > 1:
            style.legend(figure, axes, columns=columns)
    return figure


def _draw_costs(ax: Axes, rows: pd.DataFrame, quantity: str, look: marks.Look, arch: str) -> None:
    x = rows[rows["quantity"] == quantity].set_index("block")["value"]
    cost = rows[rows["quantity"] == "deletion_cost"].set_index("block")
    x, cost = x[x > 0], cost.loc[x[x > 0].index]
    value = cost["value"]
    reach = [value - cost["ci_low"], cost["ci_high"] - value]
    ax.errorbar(
        x, value, reach, fmt=look.marker, ms=2.8, mew=0, color=look.color, elinewidth=0.6,
        label=arch,
    )  # fmt: skip
    for block in value.nlargest(NAMED).index:
        ax.annotate(
            str(block), (x[block], value[block]), xytext=(3, 2), textcoords="offset points",
            fontsize=6,
        )  # fmt: skip


def _tick_costs(ax: Axes) -> None:
    """1, 2, 5, … where an axis spans few powers of ten, else these."""
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        few, most = high < 100 * max(low, 1e-2), max(high, -low)
        found = marks.steps(max(low, 1e-9), most, every=(1, 2, 5) if few else (1,))
        both = [0.0, *found, *(-tick for tick in found)] if low < 0 else found
        marks.plain_ticks(axis, [tick for tick in both if low <= tick <= high])


def _networks(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.assign(stage=rows["stage"].astype(str))
    return rows if "arch" in rows else rows.assign(arch="")


def _each(rows: pd.DataFrame) -> list[tuple[tuple[str, Look], pd.DataFrame]]:
    names = list(dict.fromkeys(rows["arch"]))
    return [((name, look), rows[rows["arch"] == name]) for name, look in marks.looks(names)]


def _place(blocks: pd.DataFrame, single: bool) -> Callable[[pd.DataFrame], pd.Series]:
    last = blocks["number"].max()
    return lambda some: some["number"] if single else (some["number"] - 0.5) / last


def _draw(
    ax: Axes,
    blocks: pd.DataFrame,
    quantity: str,
    place: Callable[[pd.DataFrame], pd.Series],
    look: Look,
    arch: str,
    *,
    single: bool,
    columns: int,
) -> None:
    rows = blocks[blocks["quantity"] == quantity].sort_values("number")
    size = marks.marker_size(len(rows), columns)
    label = "mean over images (95 % CI)" if single else arch
    if rows["ci_low"].isna().all() and single:
        label = "always on" if quantity == "always_on_pct" else "value"
    marks.line(ax, place(rows), rows, look, label=label, size=size)
    if not single:
        _mark_stages(ax, rows, place(rows), look)
    if quantity == "ratio" and single:
        for end, name in (("q05", "5th and 95th percentile of the images"), ("q95", None)):
            ax.plot(place(rows), rows[end], color=look.color, ls=":", lw=0.8, label=name)
    if quantity == "always_on_pct":
        dead = blocks[blocks["quantity"] == "dead_pct"].sort_values("number")
        ax.plot(
            place(dead), dead["value"], color=look.color, ls=":", lw=0.9, marker="x", ms=size,
            label="dead" if single else None,
        )  # fmt: skip


def _mark_stages(ax: Axes, rows: pd.DataFrame, place: pd.Series, look: Look) -> None:
    """A hollow diamond on the first row of each stage."""
    first = rows["stage"].ne(rows["stage"].shift()) & rows["stage"].ne("")
    ax.plot(place[first], rows["value"][first], mec=look.color, zorder=4, **DIAMOND)


def _name_stages(ax: Axes, label: str) -> None:
    ax.plot([], [], mec=style.INK, label=label, **DIAMOND)


def _scale(ax: Axes, quantity: str, rows: pd.DataFrame, *, single: bool, columns: int) -> None:
    values = rows[rows["quantity"] == quantity]["value"]
    if quantity.startswith("cosine"):
        ax.axhline(0, color=style.PUBLISHED, lw=0.7, zorder=1)
    elif quantity in ("ratio", "variance_ratio") and values.max() > 8 * values.median() > 0:
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    if not single:
        ax.set_xlabel("depth (share of the blocks)")
        ax.set_xlim(-0.02, 1.02)
        return
    blocks = rows[rows["quantity"] == quantity].assign(block=lambda some: some["number"])
    marks.number(ax, 1, int(np.nanmax(blocks["block"])))
    marks.draw_stages(ax, blocks, width_pt=72 * style.WIDTHS[columns] / columns - 40)
    ax.set_xlabel("block")
