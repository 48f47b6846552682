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


def scale_errors(ax: Axes, errors: pd.Series, table: pd.DataFrame, *, axis: str = "y") -> None:
    """An axis on which the small errors can be told apart, whatever the largest one is.

    ``errors`` are all that will be drawn, ``table`` those that have intervals. Logarithmic
    where the largest error is `SPREAD` times the typical one or more, else linear.
    """
    low = min(table["ci_low_pct"].min(), errors.min())
    high = max(table["ci_high_pct"].max(), errors.max())
    if errors.max() >= SPREAD * errors.median() > 0:
        least = errors[errors > 0].min()
        _log_scale(ax, axis, low, high, least=least, zero=bool(errors.min() == 0))
        ax.set(**{f"{axis}label": "error (%, log scale)"})
    else:
        bottom = 0.0 if high > 2.5 * low else low - 0.08 * (high - low)
        ax.set(**{f"{axis}lim": (bottom, high + 0.09 * (high - bottom)),
                  f"{axis}label": "error (%)"})  # fmt: skip


def _log_scale(ax: Axes, axis: str, low: float, high: float, *, least: float, zero: bool) -> None:
    bottom = least if zero else max(low, least / 3)
    decades = np.log10(high / bottom)
    top = high * 10 ** (0.09 * decades)
    every = (1,) if decades > 3 else (1, 3) if decades > 2 else (1, 2, 5)
    ticks = steps(bottom, min(100.0, top), every=(1, 2, 3, 5, 7) if decades < 0.9 else every)
    set_scale = getattr(ax, f"set_{axis}scale")
    if zero:  # a logarithm has no place for it: linear below the least error that is not 0
        set_scale("symlog", linthresh=least, linscale=0.35)
        ax.set(**{f"{axis}lim": (-0.25 * least, top)})
        ticks.insert(0, 0.0)
    else:
        set_scale("log")
        ax.set(**{f"{axis}lim": (bottom / 10 ** (0.05 * decades), top)})
    plain_ticks(getattr(ax, f"{axis}axis"), ticks)


def name_rows(ax: Axes, names: Sequence[str], *, columns: int, above: float = 0.5) -> None:
    """Rows 0, 1, … from the top, each with its name: beside it, in a narrow figure above it.

    There a name begins ``above`` the middle of its row, at the left end of the axes.
    """
    beside = columns > 1
    ax.set_yticks(range(len(names)), names if beside else [""] * len(names), fontsize=6.5)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5 if beside else -0.35 - above)
    ax.tick_params(axis="y", length=0)
    for place, name in enumerate(() if beside else names):
        ax.annotate(
            name, (0.0, place - above), xycoords=("axes fraction", "data"), xytext=(3, 0),
            textcoords="offset points", fontsize=6.5, va="center", linespacing=1.0,
            annotation_clip=False,
        )  # fmt: skip


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


def name_curve(
    ax: Axes,
    text: str,
    curve: np.ndarray,
    others: np.ndarray,
    colour: str,
    *,
    points: tuple[float, float],
) -> None:
    """A curve's name beside it, where the others leave most room.

    ``curve`` and ``others`` are ``[points, 2]`` in the units of the axes, ``others`` whatever else
    a name should not cover; the axes have their limits, and are about so many ``points`` wide
    and high.
    """
    size, lines = 6.5, text.split("\n")
    scale = np.array(points)
    half = size * np.array([0.27 * max(map(len, lines)), 0.65 * len(lines)]) / scale
    to_axes = ax.transScale + ax.transLimits
    place = _along(to_axes.transform(curve))
    rest = np.concatenate([place, to_axes.transform(others)])
    ways = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)]) * (half + 5 / scale)
    found = (place[:, None] + ways).reshape(-1, 2)
    inside = np.minimum(found - half, 1 - found - half).min(1)
    apart = (np.abs(rest - found[:, None]) - half).clip(min=0) * scale  # [places, points, 2]
    room = np.hypot(apart[..., 0], apart[..., 1]).min(1)
    x, y = found[int(np.argmax(np.where(inside < 0, -1.0, room.clip(max=12)) - np.abs(inside)))]
    ax.text(x, y, text, transform=ax.transAxes, fontsize=size, color=colour, ha="center",
            va="center", linespacing=1.1, zorder=5)  # fmt: skip


def _along(points: np.ndarray, count: int = 120) -> np.ndarray:
    """Points on the line through these, equally far from each other."""
    way = np.insert(np.hypot(*np.diff(points, axis=0).T).cumsum(), 0, 0.0)
    steps = np.linspace(0, way[-1], count)
    return np.column_stack([np.interp(steps, way, points[:, axis]) for axis in (0, 1)])
