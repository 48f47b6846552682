"""One look for every figure: sizes, colours, markers, and the theme in a context manager.

The colours are Okabe and Ito's, which colour-blind readers tell apart; whatever differs in
colour differs in marker, line style or lightness too, so that a grey print can be read.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError

WIDTHS = {1: 3.4, 2: 7.0}  # inches, for one and two columns of a paper

OURS = "#0072B2"  # dark in grey
LIGHT = "#9CCBE8"  # the same hue, for areas
TRANSITION = "#E69F00"  # light in grey, and always a diamond with a dark edge
PUBLISHED = "#6A6A6A"
INK = "#222222"
FAINT = "#F1F1F1"

THEME: dict[Any, Any] = {  # matplotlib types its keys by hundreds of literals
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "ytick.minor.size": 1.5,
    "ytick.minor.width": 0.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.4,
}


@contextmanager
def theme() -> Iterator[None]:
    """The style inside the ``with``; matplotlib's settings are as before after it."""
    with matplotlib.rc_context(), seaborn.axes_style("ticks"):
        matplotlib.rcParams.update(THEME)
        yield


def axes(*, columns: int, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure for ``columns`` columns (1: 3.4 in, 2: 7 in), ``height`` inches high.

    It belongs to no window and to no global state: what is not saved is simply forgotten.
    """
    if columns not in WIDTHS:
        raise ProbeError(f"a figure spans 1 or 2 columns, not {columns}")
    figure = Figure(figsize=(WIDTHS[columns], height), layout="constrained")
    made = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    return figure, list(made)


def title(ax: Axes, text: str, *, columns: int, pad: float = 6.0) -> None:
    """The title of ``ax``, on as many lines as its width asks for."""
    ax.set_title(textwrap.fill(text, 44 * columns), pad=pad)


def legend(figure: Figure, ax: Axes, *, columns: int) -> None:
    """The legend of ``ax`` below the figure, where it can cover nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    if columns == 1:
        narrow: dict[str, Any] = {
            "fontsize": 6.5,
            "columnspacing": 1.0,
            "handlelength": 1.5,
            "borderpad": 0.1,
        }
        figure.legend(handles, labels, loc="outside lower center", ncols=2, **narrow)
    else:
        wide = len(handles) if len(handles) <= 4 else 3
        figure.legend(handles, labels, loc="outside lower center", ncols=wide)
