"""What several figures mark on their axes: lines with bands, the baseline, stages, scales.

Lines can be told apart in colour and in grey, and their intervals are bands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import blended_transform_factory

from resnet_probe.figures import style

SPREAD = 4.0  # from here on, a few large errors would flatten the others on a linear axis

# Okabe and Ito's colours, each with a line and a marker of its own.
LOOKS: tuple[tuple[str, Any, str], ...] = (
    ("#0072B2", "-", "o"),
    ("#D55E00", (0, (5, 1.5)), "s"),
    ("#009E73", (0, (1, 1)), "^"),
    ("#CC79A7", (0, (5, 1.5, 1, 1.5)), "D"),
    ("#56B4E9", "-", "v"),
    ("#E69F00", (0, (5, 1.5)), "P"),
    ("#222222", (0, (1, 1)), "X"),
)


class Look(NamedTuple):
    """Colour, dash and marker of a line."""

    color: str
    dash: Any
    marker: str


def looks(names: Sequence[str]) -> Iterator[tuple[str, Look]]:
    """Each name with a look of its own; after seven they begin again."""
    for place, name in enumerate(names):
        yield name, Look(*LOOKS[place % len(LOOKS)])


def line(
    ax: Axes,
    x: pd.Series | np.ndarray,
    rows: pd.DataFrame,
    look: Look,
    *,
    value: str = "value",
    ends: tuple[str, str] = ("ci_low", "ci_high"),
    label: str | None = None,
    marked: bool = True,
    size: float = 2.6,
    shade: float = 0.2,
) -> None:
    """A line through `value` with the interval between `ends` as a band; NaN leaves a gap."""
    mark = look.marker if marked else ""
    ax.plot(
        x, rows[value], color=look.color, ls=look.dash, lw=1.1, marker=mark, ms=size, mew=0,
        label=label, zorder=3,
    )  # fmt: skip
    low, high = (pd.to_numeric(rows[end]) for end in ends)
    if low.notna().any():
        ax.fill_between(x, low, high, color=look.color, alpha=shade, lw=0, zorder=2)


def marker_size(points: int, columns: int, *, largest: float = 3.2) -> float:
    """In points: as large as the room between two of so many along an axis allows."""
    return float(np.clip(60 * style.WIDTHS[columns] / columns / max(points, 1), 1.2, largest))


def draw_baseline(ax: Axes, row: pd.Series) -> None:
    """A line at the error of the whole network, and a band for its interval."""
    ax.axhspan(row["ci_low_pct"], row["ci_high_pct"], color=style.LIGHT, alpha=0.45, lw=0, zorder=1)
    text = f"baseline, {row['error_pct']:.2f} %"
    ax.axhline(row["error_pct"], color=style.OURS, lw=0.9, zorder=2, label=text)


def draw_stages(ax: Axes, rows: pd.DataFrame, *, width_pt: float) -> None:
    """Every other stage on a light ground, each with its name above the axes.

    ``rows`` has a ``block`` and its ``stage`` a row; ``width_pt`` is about how wide the axes
    will be: where a name would not fit, ``s2`` stands for ``stage 2``.
    """
    stages = rows.groupby("stage", sort=False)["block"].agg(["min", "max"])
    place = blended_transform_factory(ax.transData, ax.transAxes)
    narrowest = width_pt * (stages["max"] - stages["min"] + 1).min() / rows["block"].max()
    word = "stage " if narrowest > 32 else "s"
    for index, (name, first, last) in enumerate(stages.itertuples()):
        if index % 2:
            ax.axvspan(first - 0.5, last + 0.5, color=style.FAINT, lw=0, zorder=0)
        ax.text(
            (first + last) / 2, 1.01, f"{word}{name}" if str(name).isdigit() else str(name),
            transform=place, ha="center", va="bottom", fontsize=6.5, color=style.PUBLISHED,
        )  # fmt: skip


def scale_errors(ax: Axes, errors: pd.Series, table: pd.DataFrame) -> None:
    """A y axis on which the small errors can be told apart, whatever the largest one is.

    ``errors`` are all that will be drawn, ``table`` those that have intervals. Logarithmic
    where the largest error is `SPREAD` times the typical one or more, else linear.
    """
    low = min(table["ci_low_pct"].min(), errors.min())
    high = max(table["ci_high_pct"].max(), errors.max())
    if errors.max() >= SPREAD * errors.median() > 0:
        _log_scale(ax, low, high, least=errors[errors > 0].min(), zero=bool(errors.min() == 0))
        ax.set_ylabel("error (%, log scale)")
    else:
        bottom = 0.0 if high > 2.5 * low else low - 0.08 * (high - low)
        ax.set_ylim(bottom, high + 0.09 * (high - bottom))
        ax.set_ylabel("error (%)")


def _log_scale(ax: Axes, low: float, high: float, *, least: float, zero: bool) -> None:
    bottom = least if zero else max(low, least / 3)
    decades = np.log10(high / bottom)
    top = high * 10 ** (0.09 * decades)
    steps = (1, 2, 5) if decades > 0.9 else (1, 2, 3, 5, 7)
    ticks = [step * 10.0**power for power in range(-3, 3) for step in steps]
    ticks = [tick for tick in ticks if bottom <= tick <= 100]
    if zero:  # a logarithm has no place for it: linear below the least error that is not 0
        ax.set_yscale("symlog", linthresh=least, linscale=0.35)
        ax.set_ylim(-0.25 * least, top)
        ticks.insert(0, 0.0)
    else:
        ax.set_yscale("log")
        ax.set_ylim(bottom / 10 ** (0.05 * decades), top)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def plain_ticks(axis: Axis, ticks: Iterable[float]) -> None:
    """Those ticks and no others, written as numbers and not as powers of ten."""
    axis.set_major_locator(FixedLocator(sorted(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axis.set_minor_locator(NullLocator())


def steps(low: float, high: float, *, every: Sequence[int] = (1, 2, 5)) -> list[float]:
    """1, 2, 5, 10, … between two positive numbers, for a logarithmic axis."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    found = [step * 10.0**power for power in powers for step in every]
    return [tick for tick in found if low <= tick <= high]


def number(ax: Axes, first: int, last: int) -> None:
    """An x axis of whole numbers, with the first and every so many ticked."""
    room = 0.5 + 0.012 * (last - first + 1)
    step = next(step for step in (1, 5, 10, 20, 50, 100, 1000) if last <= 12 * step)
    ax.set_xlim(first - room, last + room)
    ax.xaxis.set_major_locator(FixedLocator(sorted({first, *range(step, last + 1, step)})))
