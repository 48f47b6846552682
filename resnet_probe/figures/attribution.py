"""Each block's share of the decision, by block, by class, and by pair of blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.marks import LOOKS, Look
from resnet_probe.figures.style import Given

METRICS = {"accuracy": "percentage points", "loss": "nats", "margin": "logits"}
METHODS = {
    "ablation": "deleted alone",
    "shapley": "Shapley value",
    "gradients": "integrated gradients",
}
PAIRED = ("accuracy", "margin")
MANY = 40  # pairs that stand out
SIGNS = {1: (style.OURS, style.OURS), -1: ("white", "#D55E00")}


def block_shares(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """What each block adds to accuracy, loss and margin, by method, with 95 % intervals as bands.

    Raises ProbeError for a table without shares of blocks.
    """
    rows = table[table["method"].isin(METHODS) & table["class"].isna()]
    if rows.empty:
        raise ProbeError("the table has no shares of blocks: is it the table of an attribution?")
    last = int(rows["block"].max())
    with style.theme():
        figure, axes = style.panels(3, columns=columns, height=2.0, title=title, across=3, given=ax)
        for ax, (metric, unit) in zip(axes, METRICS.items(), strict=True):
            for (method, name), look in zip(METHODS.items(), LOOKS, strict=False):
                some = rows[(rows["method"] == method) & (rows["metric"] == metric)]
                if len(some):
                    size = marks.marker_size(3 * last, columns, largest=2.8)
                    marks.line(
                        ax, some["block"], some, Look(*look), label=name, size=size, shade=0.13
                    )
            ax.axhline(0, color=style.PUBLISHED, lw=0.7, zorder=1)
            ax.set_xlabel("block")
            ax.set_ylabel(unit)
            across = 3 if columns > 1 else 1
            marks.draw_stages(ax, _stages(rows), width_pt=72 * style.WIDTHS[columns] / across - 45)
            marks.number(ax, 1, last)
        style.letter(axes, [f"share in the {metric}" for metric in METRICS], pad=11)
        style.legend(figure, axes, columns=columns)
    return figure


def class_shares(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """Block × class: the accuracy that deleting a block costs on the images of a class."""
    rows = table[
        (table["method"] == "ablation") & (table["metric"] == "accuracy") & table["class"].notna()
    ]
    if rows.empty:
        raise ProbeError("the table has no shares by class: ask for the method ablation")
    grid = rows.pivot(index="class", columns="block", values="value")
    height = float(np.clip(0.16 * len(grid) + 0.9, 1.8, 6.0))
    with style.theme():
        figure, (ax,) = style.panels(1, columns=columns, height=height, title=title)
        last = int(rows["block"].max())
        mesh = ax.imshow(
            grid.to_numpy(float), aspect="auto", cmap="YlGnBu", origin="lower",
            interpolation="nearest", extent=(0.5, last + 0.5, -0.5, len(grid) - 0.5),
        )  # fmt: skip
        step = -(-len(grid) // 20)
        ax.set_yticks(range(0, len(grid), step), [_class(c) for c in grid.index[::step]])
        ax.set_xlabel("block deleted")
        ax.set_ylabel("true class")
        _between_stages(ax, rows)
        marks.number(ax, 1, last)
        ax.set_xlim(0.5, last + 0.5)
        figure.colorbar(mesh, ax=ax, label="accuracy lost\n(percentage points)", pad=0.02)
    return figure


def _class(name: object) -> str:
    """`3` of `3.0`: beside rows of no class, a column of numbers has no whole ones."""
    return f"{name:g}" if isinstance(name, float) else str(name)


def interactions(table: pd.DataFrame, *, title: str = "", columns: int = 2) -> Figure:
    """What deleting two blocks costs beyond deleting each: a square for each pair.

    Above the diagonal in accuracy, below it in margin.  The area of a square is the size of the
    interaction; of many it is full from the size in the title on, so that a few large ones do not
    leave the others too small to see.  Filled: together they cost more than the sum (they stand in
    for each other), hollow: less.  Pairs whose 95 % interval holds 0 are dots.
    """
    rows = table[table["method"] == "interactions"]
    if rows.empty:
        raise ProbeError("the table has no pairs of blocks: ask for the method interactions")
    last = int(rows["other"].max())
    side = style.WIDTHS[columns] * (0.62 if columns > 1 else 0.92)
    with style.theme():
        figure, (ax,) = style.panels(1, columns=columns, height=side, title=title)
        for metric, x, y in zip(PAIRED, ("other", "block"), ("block", "other"), strict=True):
            _draw_pairs(ax, rows[rows["metric"] == metric], x, y, cell=72 * 0.78 * side / last)
        ax.set_aspect("equal")
        marks.number(ax, 1, last)
        ax.set_yticks([tick for tick in ax.get_xticks() if 1 <= tick <= last])
        ax.set_xlim(0.5, last + 0.5)
        ax.set_ylim(last + 0.5, 0.5)
        ax.set_xlabel("block deleted")
        ax.set_ylabel("other block deleted")
        _between_stages(ax, table[table["block"] > 0], both=True)
        sizes = [_sizes(rows[rows["metric"] == metric]) for metric in PAIRED]
        ax.set_title("\n".join(
            f"{side}: {metric}, {size}"
            for side, metric, size in zip(("above", "below"), PAIRED, sizes, strict=True)
        ), fontsize=7.5)  # fmt: skip
        for sign, (face, edge) in SIGNS.items():
            word = "more" if sign > 0 else "less"
            ax.plot([], [], ls="", marker="s", ms=5, mfc=face, mec=edge, mew=0.8,
                    label=f"two cost {word} than the sum of each alone")  # fmt: skip
        ax.plot([], [], ls="", marker=".", ms=2, color=style.INK, label="95 % interval holds 0")
        style.legend(figure, ax, columns=columns)
    return figure


def _draw_pairs(ax: Axes, rows: pd.DataFrame, x: str, y: str, *, cell: float) -> None:
    """Squares of at most `cell` points."""
    value, place, clear = rows["value"], rows[[x, y]].astype(float), _clear(rows)
    area = (0.95 * cell) ** 2 * (value.abs() / (_full(rows) or 1.0)).clip(upper=1.0)
    for sign, (face, edge) in SIGNS.items():
        some = clear & (np.sign(value) == sign)
        ax.scatter(
            place[x][some], place[y][some], s=area[some], marker="s", c=face, edgecolors=edge,
            lw=0.6, zorder=3,
        )  # fmt: skip
    ax.scatter(place[x][~clear], place[y][~clear], s=0.6, c=style.INK, lw=0, zorder=2)


def _clear(rows: pd.DataFrame) -> pd.Series:
    return (rows["ci_low"] > 0) | (rows["ci_high"] < 0)


def _full(rows: pd.DataFrame) -> float:
    """The size from which on a square is full: the largest, of many the ninth tenth's largest."""
    sizes = rows["value"].abs()[_clear(rows)]
    if sizes.empty:
        return 0.0
    return float(sizes.max() if len(sizes) <= MANY else sizes.quantile(0.9))


def _sizes(rows: pd.DataFrame) -> str:
    unit = rows["unit"].iloc[0]
    if _clear(rows).sum() > MANY:
        return f"full from {_full(rows):.3g} {unit} on"
    return f"largest {rows['value'].abs().max():.3g} {unit}"


def _stages(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(stage=rows["stage"].astype(str)).sort_values("block")


def _between_stages(ax: Axes, rows: pd.DataFrame, *, both: bool = False) -> None:
    """A line wherever a stage begins, from the second on."""
    for first in _stages(rows).groupby("stage", sort=False)["block"].min().iloc[1:]:
        ax.axvline(first - 0.5, color=style.INK, lw=0.8)
        if both:
            ax.axhline(first - 0.5, color=style.INK, lw=0.8)
