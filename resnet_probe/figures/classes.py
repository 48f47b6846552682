"""What deleting each block costs each class."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.style import Given

MANY = 40
"""Classes up to which each has its number beside the map."""


def classes_by_block(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2, ax: Given = None
) -> Figure:
    """Classes × edits: the change in error in points; a dot where all intervals together leave 0
    out.

    Raises ProbeError for a table that is not by class.
    """
    if "class" not in table or "place" not in table:
        raise ProbeError("the table is not by class: is it that of lesion with by='class'?")
    edited = table[table["place"] > 0]
    grid = edited.pivot(index="class", columns="place", values="delta_pct")
    single = (edited["edits"] == 1).all() and (edited["kind"] == "delete").all()
    with style.theme():
        height = 1.2 + 0.16 * min(len(grid), MANY)
        figure, (axes,) = style.axes(columns=columns, height=height, given=ax)
        most = max(1.0, float(np.abs(grid.to_numpy()).max()))
        mesh = axes.pcolormesh(
            grid.columns.to_numpy(int), np.arange(len(grid)), grid.to_numpy(), cmap="RdBu_r",
            norm=SymLogNorm(1.0, vmin=-most, vmax=most, base=10), shading="nearest",
            rasterized=True,
        )  # fmt: skip
        sure = edited[(edited["joint_low_pct"] > 0) | (edited["joint_high_pct"] < 0)]
        row = pd.Series(np.arange(len(grid)), grid.index)
        axes.plot(
            sure["place"], row[sure["class"]], "o", ms=marks.marker_size(2 * grid.shape[1], 1),
            color=style.INK, mec="white", mew=0.5,
            label="interval leaves out 0, all together",
        )  # fmt: skip
        marks.number(axes, 1, int(grid.columns.max()))
        axes.set_xlim(0.5, int(grid.columns.max()) + 0.5)
        if len(grid) <= MANY:
            axes.set_yticks(range(len(grid)), [str(name) for name in grid.index])
        axes.set_xlabel(f"{unit} deleted" if single else "edit, in the order of the table")
        axes.set_ylabel("class")
        bar = figure.colorbar(mesh, ax=axes, pad=0.015)
        sizes = marks.steps(1.0, most, every=(1,))
        marks.plain_ticks(bar.ax.yaxis, [0.0, *sizes, *(-size for size in sizes)])
        bar.set_label("change in error (points)")
        style.title(axes, title, columns=columns)
        style.legend(figure, axes, columns=columns)
    return figure
