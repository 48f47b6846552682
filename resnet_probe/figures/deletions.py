"""Single deletions in several networks, side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import style
from resnet_probe.stats import median_interval

SPREAD = 0.26  # of a row's height, on either side of its middle


def deletions_by_network(
    table: pd.DataFrame, *, title: str = "", chance_pct: float | None = None, columns: int = 2
) -> Figure:
    """One row a network: the error after each single deletion, and how it is without any.

    ``table`` holds the lesion tables of several networks, told apart by a column ``label``. A dot
    is one deletion, the bar the median with its 95 % interval, the open square the whole
    network; ``chance_pct`` is drawn as a dashed line. Raises ProbeError for other tables.
    """
    if not {"label", "kind", "error_pct"} <= set(table.columns):
        raise ProbeError("the table needs label, kind and error_pct: lesion tables of networks")
    names = list(dict.fromkeys(table["label"]))
    with style.theme():
        figure, (ax,) = style.axes(columns=columns, height=0.9 + 0.36 * len(names))
        for place, name in enumerate(names):
            _draw(ax, table[table["label"] == name], place, first=place == 0)
        if chance_pct is not None:
            ax.axvline(chance_pct, color=style.PUBLISHED, lw=0.9, ls=(0, (4, 2)), label="chance")
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlim(0, 102)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("error (%)")
        style.title(ax, title, columns=columns)
        style.legend(figure, ax, columns=columns)
    return figure


def _draw(ax: Axes, rows: pd.DataFrame, place: int, *, first: bool) -> None:
    errors = rows.loc[rows["kind"] == "delete", "error_pct"].to_numpy()
    whole = float(rows.loc[rows["kind"] == "baseline", "error_pct"].iloc[0])
    middle = median_interval(errors)
    heights = place + SPREAD * np.array([(-1, -0.5, 0, 0.5, 1)[i % 5] for i in range(len(errors))])
    ax.plot(
        errors, heights, "o", ms=2.6, mew=0, color=style.OURS, alpha=0.65,
        label="one block or layer deleted" if first else None, zorder=3,
    )  # fmt: skip
    reach = [[max(0, middle.value - middle.low)], [max(0, middle.high - middle.value)]]
    ax.errorbar(
        [middle.value], [place], xerr=None if np.isnan(middle.low) else reach, fmt="|", ms=13,
        mew=2, color=style.INK, elinewidth=1.1, label="median (95 % CI)" if first else None,
        zorder=4,
    )  # fmt: skip
    ax.plot(
        [whole], [place], "s", ms=4.2, mfc="white", mec=style.INK, mew=0.9,
        label="whole network" if first else None, zorder=5,
    )  # fmt: skip
