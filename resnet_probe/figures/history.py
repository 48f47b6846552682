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
OTHERS = "#BDBDBD"


def error_by_epoch(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """Test error (a line with markers) and training error (dashed) by epoch, the rate below.

    A table with a column ``arch`` gives a panel for each network, with the test errors of the
    others in grey, and no rates. Raises ProbeError for a table that is not a training's history.
    """
    if not set(table.columns) >= NEEDED:
        raise ProbeError("the table has no errors by epoch: is it the history of a training?")
    if "arch" in table and table["arch"].nunique() > 1:
        return _by_network(table, title, columns, ax)
    with style.theme():
        figure, (errors, rates) = _two_axes(title, columns, ax)
        _draw(errors, table, marks.Look(*marks.LOOKS[0]), columns)
        rates.step(table["epoch"], table["lr"], where="mid", color=style.INK, lw=1.0, clip_on=False)
        _scale(errors, table)
        rates.set_ylim(0, 1.15 * table["lr"].max())
        rates.set_ylabel("rate")
        rates.set_xlabel("epoch")
        marks.number(rates, int(table["epoch"].min()), int(table["epoch"].max()))
        style.legend(figure, errors, columns=columns)
    return figure


def _by_network(table: pd.DataFrame, title: str, columns: int, given: Given) -> Figure:
    names = list(dict.fromkeys(table["arch"]))
    with style.theme():
        figure, axes = style.panels(
            len(names), columns=columns, height=1.75 if columns > 1 else 1.55, title=title,
            given=given,
        )  # fmt: skip
        for ax, (name, look) in zip(axes, marks.looks(names), strict=True):
            for _, rows in table[table["arch"] != name].groupby("arch", sort=False):
                ax.plot(rows["epoch"], rows["test_error_pct"], color=OTHERS, lw=0.8, zorder=1.5,
                        label="test, the other networks")  # fmt: skip
            _draw(ax, table[table["arch"] == name], look._replace(color=style.OURS), columns)
            _scale(ax, table)
            marks.number(ax, int(table["epoch"].min()), int(table["epoch"].max()))
            ax.set_xlabel("epoch")
        style.letter(axes, names)
        style.legend(figure, axes, columns=columns)
    return figure


def _scale(ax: Axes, table: pd.DataFrame) -> None:
    shown = pd.concat([table["train_error_pct"], table["test_error_pct"]])
    marks.scale_errors(ax, shown, pd.DataFrame({"ci_low_pct": shown, "ci_high_pct": shown}))


def _two_axes(title: str, columns: int, given: Given) -> tuple[Figure, list[Axes]]:
    if given is not None:
        return style.axes(columns=columns, height=3.2, panels=2, given=given)
    figure = style.sheet(columns, 3.2)
    made = figure.subplots(2, 1, sharex=True, height_ratios=HEIGHTS)
    style.title(made[0], title, columns=columns)
    return figure, list(made)


def _draw(ax: Axes, rows: pd.DataFrame, look: marks.Look, columns: int) -> None:
    size = marks.marker_size(len(rows), columns, largest=2.6)
    ax.plot(
        rows["epoch"], rows["test_error_pct"], color=look.color, lw=1.2, marker=look.marker,
        ms=size, mew=0, label="test (end of epoch)", zorder=3,
    )  # fmt: skip
    ax.plot(
        rows["epoch"], rows["train_error_pct"], color=marks.LOOKS[1][0], lw=1.0, ls=(0, (3, 1.5)),
        label="training (during the epoch, augmented)", zorder=2.5,
    )  # fmt: skip
