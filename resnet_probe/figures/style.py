"""One look for every figure: sizes, colours, panels, legends, and the theme in a context manager.

The colours are Okabe and Ito's, which colour-blind readers tell apart; whatever differs in
colour differs in marker, line style or lightness too, so that a grey print can be read.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError

WIDTHS = {1: 3.3, 2: 7.0}  # inches, for one and two columns of a paper
SMALLEST = 6.0
"""Points: no text of a figure is smaller at its width on paper."""

OURS = "#0072B2"  # dark in grey
LIGHT = "#9CCBE8"  # the same hue, for areas
TRANSITION = "#E69F00"  # light in grey, and always a diamond with a dark edge
PUBLISHED = "#6A6A6A"
INK = "#222222"
FAINT = "#F1F1F1"

Given = Axes | Sequence[Axes] | None
"""Axes of the user's own to draw into, one a panel, or none: then a new figure has them."""
NAME = "resnet_probe"

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
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.2,
    "legend.borderpad": 0.1,
}


@contextmanager
def theme() -> Iterator[None]:
    """The style inside the ``with``; matplotlib's settings are as before after it."""
    with matplotlib.rc_context(), seaborn.axes_style("ticks"):
        matplotlib.rcParams.update(THEME)
        yield


def sheet(columns: int, height: float) -> Figure:
    """An empty figure for ``columns`` columns (1: 3.3 in, 2: 7 in), ``height`` inches high.

    It belongs to no window and to no global state: what is not saved is simply forgotten.
    """
    if columns not in WIDTHS:
        raise ProbeError(f"a figure spans 1 or 2 columns, not {columns}")
    figure = Figure(figsize=(WIDTHS[columns], height), layout="constrained")
    figure.set_label(NAME)
    return figure


def axes(
    *, columns: int, height: float, panels: int = 1, given: Given = None
) -> tuple[Figure, list[Axes]]:
    """A `sheet` with panels side by side that share their y axis, or those that are ``given``.

    Raises ProbeError where another number of axes is given.
    """
    if given is not None:
        return _given(given, panels)
    figure = sheet(columns, height)
    made = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    return figure, list(made)


def _given(given: Axes | Sequence[Axes], count: int) -> tuple[Figure, list[Axes]]:
    found = [given] if isinstance(given, Axes) else list(np.ravel(np.asarray(given, dtype=object)))
    if len(found) != count:
        needs = f"{count} axes, one a panel" if count > 1 else "one Axes"
        raise ProbeError(f"ax= has {len(found)} axes: the figure of this table needs {needs}")
    figure = found[0].get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    return figure, found


def title(ax: Axes, text: str, *, columns: int, pad: float = 6.0) -> None:
    """What the figure is of, above all of it, on as many lines as its width asks for.

    Over axes of the user's own it is their title.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    if figure.get_label() == NAME:
        _head(figure, text, columns)
    else:
        ax.set_title(_lines(text, columns), pad=pad)


def _head(figure: Figure, text: str, columns: int) -> None:
    if text:
        figure.suptitle(_lines(text, columns), x=0.01, ha="left", fontsize=8.5)


def _lines(text: str, columns: int) -> str:
    return textwrap.fill(text, 46 * columns, break_on_hyphens=False)


def legend(figure: Figure, axes: Axes | Sequence[Axes], *, columns: int) -> None:
    """One legend below the figure for what any of the axes names: there it can cover nothing."""
    found: dict[str, Any] = {}
    for ax in [axes] if isinstance(axes, Axes) else axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return
    if figure.get_label() != NAME:  # the user's own: what lies beside their axes is theirs
        own = axes if isinstance(axes, Axes) else axes[0]
        own.legend(list(found.values()), list(found))
        return
    labels = [textwrap.fill(label, 52) for label in found]
    figure.legend(
        list(found.values()), labels, loc="outside lower center", ncols=_across(labels, columns)
    )


def _across(labels: Sequence[str], columns: int) -> int:
    """How many columns of labels fit beside each other; matplotlib fills one after the other."""
    room = 72 * WIDTHS[columns] - 12
    for count in range(min(len(labels), 4), 1, -1):
        each = np.array_split([0.58 * len(label) for label in labels], count)
        if sum(THEME["legend.fontsize"] * (max(part) + 3.8) for part in each) <= room:
            return count
    return 1


def panels(
    count: int,
    *,
    columns: int,
    height: float,
    title: str,
    across: int = 2,
    given: Given = None,
) -> tuple[Figure, list[Axes]]:
    """`count` axes, `across` in a row on two columns and one on one; a row is `height` inches.

    Those that are ``given`` are taken as they are, without the title over all of them.
    """
    if given is not None:
        return _given(given, count)
    across = min(count, across) if columns > 1 else 1
    down = -(-count // across)
    figure = sheet(columns, down * height + 0.65)
    made = figure.subplots(down, across, squeeze=False).ravel()
    for ax in made[count:]:
        ax.remove()
    _head(figure, title, columns)
    return figure, list(made[:count])


def letter(axes: list[Axes], names: list[str], *, pad: float = 4.0) -> None:
    """Titles (a), (b), … for the panels."""
    for sign, ax, name in zip("abcdefgh", axes, names, strict=False):
        ax.set_title(f"({sign}) {name}", fontsize=8, pad=pad)


def pale(colour: str) -> tuple[float, ...]:
    """The colour, mixed with twice as much white."""
    from matplotlib.colors import to_rgb

    return tuple((part + 2) / 3 for part in to_rgb(colour))
