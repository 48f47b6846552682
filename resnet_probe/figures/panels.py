"""Figures of several panels with a title over all of them."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.figures import style


def panels(
    count: int, *, columns: int, height: float, title: str, across: int = 2
) -> tuple[Figure, list[Axes]]:
    """`count` axes, `across` in a row on two columns and one on one; a row is `height` inches."""
    across = min(count, across) if columns > 1 else 1
    down = -(-count // across)
    figure, (whole,) = style.axes(columns=columns, height=down * height + 0.65)
    whole.remove()
    made = figure.subplots(down, across, squeeze=False).ravel()
    for ax in made[count:]:
        ax.remove()
    figure.suptitle(textwrap.fill(title, 44 * columns), x=0.01, ha="left", fontsize=8.5)
    return figure, list(made[:count])


def letter(axes: list[Axes], names: list[str], *, pad: float = 4.0) -> None:
    """Titles (a), (b), … for the panels."""
    for sign, ax, name in zip("abcdefgh", axes, names, strict=False):
        ax.set_title(f"({sign}) {name}", fontsize=8, pad=pad)


def legend(figure: Figure, axes: list[Axes], *, columns: int) -> None:
    """One legend below the figure for what any of the panels names."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(
        list(found.values()), list(found), loc="outside lower center", ncols=columns, fontsize=6.5,
        borderpad=0.1,
    )  # fmt: skip
