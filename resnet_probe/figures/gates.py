"""The loss by the gate of each block, and what the gradient foretold of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.style import Given

SHADES = "cividis"


def loss_by_gate(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2, ax: Given = None
) -> Figure:
    """(a) the change in loss by gate, a line a block, (b) what the gradient foretold of it.

    Bars in (b) are 95 % intervals of the change.  Raises ProbeError for a table without gates.
    """
    if "foretold_loss" not in table:
        raise ProbeError("the table has no gates: is it the table of a gates?")
    rows = table.iloc[1:].astype({"block": int})
    with style.theme():
        figure, panels = style.panels(2, columns=columns, height=2.8, title=title, given=ax)
        _draw_curves(figure, panels[0], rows, unit)
        _draw_foretold(panels[1], rows, columns)
        style.letter(panels, [f"one {unit} scaled", "measured against foretold"])
        style.legend(figure, panels[1], columns=columns)
    return figure


def _draw_curves(figure: Figure, ax: Axes, rows: pd.DataFrame, unit: str) -> None:
    shade = Normalize(1, rows["block"].max())
    for block, some in rows.groupby("block"):
        with_one = pd.concat([some, pd.DataFrame({"gate": [1.0], "delta_loss": [0.0]})])
        line, color = with_one.sort_values("gate"), colormaps[SHADES](shade(int(str(block))))
        ax.plot(
            line["gate"], line["delta_loss"], lw=0.8, color=color, marker=".", ms=2.2, mew=0
        )  # fmt: skip
    ax.axhline(0, color=style.INK, lw=0.6, zorder=1)
    ax.axvline(1, color=style.INK, lw=0.6, ls=":", zorder=1)
    _scale(ax, "y", rows["delta_loss"])
    ax.set_xlabel("gate (0: deleted, 1: as trained)")
    ax.set_ylabel("change in loss (nats)")
    bar = figure.colorbar(ScalarMappable(shade, SHADES), ax=ax, pad=0.02, aspect=28)
    bar.set_label(unit)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_foretold(ax: Axes, rows: pd.DataFrame, columns: int) -> None:
    gates = sorted(rows["gate"].unique())
    shown = dict.fromkeys([min(gates, key=abs), min(gates, key=lambda gate: abs(gate - 1))])
    some = rows[rows["gate"].isin(list(shown))]
    for gate, look in zip(shown, (marks.Look(*each) for each in marks.LOOKS), strict=False):
        mine = some[some["gate"] == gate]
        reach = [mine["delta_loss"] - mine["delta_loss_low"],
                 mine["delta_loss_high"] - mine["delta_loss"]]  # fmt: skip
        ax.errorbar(
            mine["foretold_loss"], mine["delta_loss"], reach, fmt=look.marker, ms=3,
            color=look.color, mfc="white" if gate else look.color, mew=0.7, elinewidth=0.6,
            label=f"gate {gate:g} (95 % CI)",
        )  # fmt: skip
    both = pd.concat([some["foretold_loss"], some["delta_loss"]])
    line = np.array([both.min(), both.max()])
    ax.plot(line, line, color=style.PUBLISHED, lw=0.8, zorder=1, label="as foretold")
    for axis in "xy":
        _scale(ax, axis, both)
    ax.set_xlabel("change foretold by the gradient (nats)")
    ax.set_ylabel("change in loss (nats)")


def _scale(ax: Axes, axis: str, values: pd.Series) -> None:
    """Logarithmic on both sides of 0 where the largest change would flatten the others."""
    sizes = values.abs()
    typical = 10 ** np.floor(np.log10(max(float(sizes.median()), 1e-6)))
    low, high = float(values.min()), float(values.max())
    if sizes.max() > marks.SPREAD * sizes.median():
        getattr(ax, f"set_{axis}scale")("symlog", linthresh=typical, linscale=0.6)
        powers = marks.steps(typical, max(2 * high, -2 * low), every=(1,))
        both = [0.0, *powers, *(-tick for tick in powers)]
        shown = [tick for tick in both if min(2 * low, 0) <= tick <= max(2 * high, 0)]
        marks.plain_ticks(getattr(ax, f"{axis}axis"), shown)
        room = 0.1 * typical
        getattr(ax, f"set_{axis}lim")(min(1.6 * low, 0) - room, max(1.6 * high, 0) + room)
