"""How the gradient changes with depth, and what each block puts into the answer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.marks import LOOKS, Look
from resnet_probe.figures.style import Given

PARTS = {"state_share": "of the last state", "logit_share": "of the answer's lead"}


def gradient_flow(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """The gradient's norm at each depth beside that of the last block, on a log scale.

    A column `label` tells networks apart, whose depths are then shares of the whole. Bands are 95 %
    intervals. Raises ProbeError for a table of something else.
    """
    rows = _rows(table, ["gradient_log10"])
    several = "label" in rows
    names = list(dict.fromkeys(rows["label"])) if several else [""]
    with style.theme():
        figure, (axes,) = style.axes(columns=columns, height=2.7, given=ax)
        axes.axhline(1, color=style.PUBLISHED, lw=0.8, zorder=1)
        for name, look in marks.looks(names):
            some = rows[rows["label"] == name] if several else rows
            ends = {end: 10.0 ** some[end].to_numpy() for end in ("value", "ci_low", "ci_high")}
            some = some.assign(**ends)
            place = (some["block"] - 0.5) / some["block"].max() if several else some["block"]
            size = marks.marker_size(len(some), columns)
            marks.line(axes, place, some, look, ends=("ci_low", "ci_high"), label=name or None,
                       size=size)  # fmt: skip
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        every = (1,) if high > 50 * low else (1, 2, 3, 5)
        marks.plain_ticks(axes.yaxis, marks.steps(low, high, every=every))
        axes.set_ylabel("gradient, last block = 1")
        axes.set_xlabel("depth, share of the network" if several else "block")
        if not several:
            marks.number(axes, 1, int(rows["block"].max()))
        style.title(axes, title, columns=columns)
        if several:
            style.legend(figure, axes, columns=columns)
    return figure


def shares(table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None) -> Figure:
    """What the stem (0) and each block put into the last state and into the answer, in percent.

    Bands are 95 % intervals. Raises ProbeError for a table without shares.
    """
    rows = _rows(table, list(PARTS))
    last = int(rows["block"].max()) - 1
    rows = rows[rows["block"] <= last]
    with style.theme():
        figure, (axes,) = style.axes(columns=columns, height=2.7, given=ax)
        axes.axhline(0, color=style.PUBLISHED, lw=0.8, zorder=1)
        for (quantity, name), look in zip(PARTS.items(), LOOKS, strict=False):
            some = rows[rows["quantity"] == quantity]
            some = some.assign(**{end: 100 * some[end] for end in ("value", "ci_low", "ci_high")})
            marks.line(axes, some["block"], some, Look(*look), ends=("ci_low", "ci_high"),
                       label=f"% {name}", size=marks.marker_size(len(some), columns))  # fmt: skip
        marks.number(axes, 0, last)
        axes.set_xlabel("block (0: the stem)")
        axes.set_ylabel("put in (%, 95 % CI)")
        style.title(axes, title, columns=columns)
        style.legend(figure, axes, columns=columns)
    return figure


def _rows(table: pd.DataFrame, quantities: list[str]) -> pd.DataFrame:
    known = "quantity" in table and table["quantity"].isin(quantities).any()
    if not known:
        raise ProbeError(f"the table has no {quantities[0]}: is it the table of a flow?")
    return table[table["quantity"].isin(quantities)].reset_index(drop=True)
