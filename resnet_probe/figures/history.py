"""How a training went: errors by epoch, and the learning rate below them."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.style import Given

NEEDED = {"epoch", "lr", "train_error_pct", "test_error_pct"}
HEIGHTS = (4, 1)


def error_by_epoch(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """Test error (a line with markers) and training error (dashed) by epoch, the rate below.

    A table with a column ``arch`` gives a pair of lines for each network, in one colour. Raises
    ProbeError for a table that is not a training's history.
    """
    if not set(table.columns) >= NEEDED:
        raise ProbeError("the table has no errors by epoch: is it the history of a training?")
    named = table if "arch" in table else table.assign(arch="")
    names = list(dict.fromkeys(named["arch"]))
    with style.theme():
        figure, (errors, rates) = _two_axes(title, columns, ax)
        for name, look in marks.looks(names):
            rows = named[named["arch"] == name]
            _draw(errors, rows, look, f"{name}, " if name else "", columns)
            rates.step(
                rows["epoch"], rows["lr"], where="mid", color=look.color, lw=1.0, clip_on=False
            )
        shown = pd.concat([named["train_error_pct"], named["test_error_pct"]])
        marks.scale_errors(errors, shown, pd.DataFrame({"ci_low_pct": shown, "ci_high_pct": shown}))
        rates.set_ylim(0, 1.15 * named["lr"].max())
        rates.set_ylabel("rate")
        rates.set_xlabel("epoch")
        first, last = int(named["epoch"].min()), int(named["epoch"].max())
        marks.number(rates, first, last)
        style.shared_legend(figure, [errors], columns=columns)
    return figure


def _two_axes(title: str, columns: int, given: Given) -> tuple[Figure, list[Axes]]:
    if given is not None:
        return style.axes(columns=columns, height=3.2, panels=2, given=given)
    figure = style.sheet(columns, 3.2)
    made = figure.subplots(2, 1, sharex=True, height_ratios=HEIGHTS)
    style.title(made[0], title, columns=columns)
    return figure, list(made)


def _draw(ax: Axes, rows: pd.DataFrame, look: marks.Look, name: str, columns: int) -> None:
    size = marks.marker_size(len(rows), columns)
    ax.plot(
        rows["epoch"], rows["test_error_pct"], color=look.color, lw=1.2, marker=look.marker,
        ms=size, mew=0, label=f"{name}test (end of epoch)", zorder=3,
    )  # fmt: skip
    ax.plot(
        rows["epoch"], rows["train_error_pct"], color=look.color, lw=1.0, ls=(0, (3, 1.5)),
        label=f"{name}training (during the epoch, augmented)", zorder=2.5,
    )  # fmt: skip
