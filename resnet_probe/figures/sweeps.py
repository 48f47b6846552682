"""Lists of edits: ranges as a map, middles and values as lines, others side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.lesion import baseline, edited
from resnet_probe.figures.marks import LOOKS, SPREAD, Look
from resnet_probe.figures.style import Given
from resnet_probe.findings.verdict import HARMFUL, changes

NAMES = {
    "zero": "nothing (deleted)",
    "mean": "its mean",
    "channel mean": "its mean by channel",
    "resample": "another image's output",
    "constant": "the best constant",
    "linear": "a linear map of the state",
    "delete": "branch left out",
    "cut": "shortcut left out",
    "swap": "exchanged with the next",
    "skip": "left out",
    "reverse": "in reverse",
    "shuffle": "in random order, median",
    "repeat": "the centre again and again",
    "parallel": "in parallel",
    "looped": "in parallel, three rounds",
}
MOST_LISTED = 40
ADRIFT = 0.5  # of the room of one block, over which the marks of several kinds are spread


def range_map(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2, ax: Given = None
) -> Figure:
    """The error after deleting each range of blocks: where it begins across, its length upwards.

    Ranges that are not harmful, all of them together, have a dot.  Raises ProbeError for a table
    of other edits.
    """
    rows = edited(table)
    whole, first, length = baseline(table), *_spans(rows)
    size = int(max(first + length) - 1)
    grid = np.full((size, size), np.nan)
    grid[length - 1, first - 1] = rows["error_pct"]
    with style.theme():
        figure, (axes,) = style.axes(columns=columns, height=4.2 if columns == 2 else 3.3, given=ax)
        norm = _norm(table["error_pct"])
        assert norm.vmin is not None
        image = axes.imshow(
            np.maximum(grid, norm.vmin), origin="lower", cmap="cividis", norm=norm, aspect="auto",
            extent=(0.5, size + 0.5, 0.5, size + 0.5), interpolation="nearest",
        )  # fmt: skip
        calm = changes(rows) != HARMFUL
        axes.plot(
            first[calm], length[calm], "o", ms=float(np.clip(90 / size, 1.4, 4)), mfc="white",
            mec=style.INK, mew=0.4, label="not harmful, all ranges together", clip_on=False,
        )  # fmt: skip
        marks.number(axes, 1, size)
        axes.set_yticks([tick for tick in axes.get_xticks() if 1 <= tick <= size])
        axes.set_ylim(0.5, size + 0.5)
        axes.set_xlabel(f"first {unit} deleted")
        axes.set_ylabel(f"{unit}s deleted")
        axes.tick_params(axis="both", length=2)
        bar = figure.colorbar(image, ax=axes, pad=0.015, aspect=28)
        bar.set_label(f"error (%), baseline {whole['error_pct']:.2f} %")
        bar.outline.set_visible(False)
        _plain_ticks(bar)
        style.title(axes, title, columns=columns)
        style.legend(figure, axes, columns=columns)
    return figure


def _spans(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The first block of each range, and how many it has."""
    numbers = [[int(b) for b in str(blocks).split()] for blocks in rows["blocks"]]
    whole = all(n == list(range(n[0], n[0] + len(n))) for n in numbers if n)
    if not (rows["kind"] == "delete").all() or not whole or not all(numbers):
        raise ProbeError("the table holds other edits than deletions of ranges of blocks")
    return np.array([n[0] for n in numbers]), np.array([len(n) for n in numbers])


def _norm(errors: pd.Series) -> Normalize:
    """Logarithmic where a few large errors would flatten the others."""
    low, high = float(errors[errors > 0].min()), float(errors.max())
    if high >= SPREAD * float(errors.median()) > 0 or high > 20 * low:
        return LogNorm(low, high)
    return Normalize(0, high)


def _plain_ticks(bar: Any) -> None:
    """Ticks as numbers, not as powers of ten."""
    low, high = bar.vmin, bar.vmax
    ticks = [t for power in range(-2, 3) for t in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)]
    shown = [tick for tick in ticks if low <= tick <= high]
    if isinstance(bar.norm, LogNorm):
        bar.set_ticks(shown, labels=[f"{tick:g}" for tick in shown])
        bar.ax.minorticks_off()


def by_block(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2, ax: Given = None
) -> Figure:
    """The error by block for each kind of edit, with 95 % intervals: values, cuts, exchanges.

    Raises ProbeError for a table whose edits are not of a block, or a pair, each.
    """
    whole, rows = baseline(table), edited(table)
    rows["block"] = [_place(str(blocks)) for blocks in rows["blocks"]]
    kinds = list(rows["kind"].unique())
    last = int(np.ceil(rows["block"].max()))
    with style.theme():
        height = 3.2 if len(kinds) > 3 else 2.9
        figure, (axes,) = style.axes(columns=columns, height=height, given=ax)
        marks.number(axes, 1, last)
        marks.scale_errors(axes, table["error_pct"], table)
        if rows["stage"].str.isdigit().all():
            marks.draw_stages(axes, rows, width_pt=72 * style.WIDTHS[columns] - 40)
        marks.draw_baseline(axes, whole)
        size = marks.marker_size(len(kinds) * last, 1, largest=4)
        for place, (kind, look) in enumerate(zip(kinds, LOOKS, strict=False)):
            shift = ADRIFT * ((place + 0.5) / len(kinds) - 0.5)
            _points(axes, rows[rows["kind"] == kind], shift, Look(*look), size, kind)
        axes.set_xlabel(unit)
        style.title(axes, title, columns=columns, pad=13)
        style.legend(figure, axes, columns=columns)
    return figure


def _place(blocks: str) -> float:
    """Of a block its number, of a pair `3-4` the middle between the two."""
    try:
        numbers = [int(part) for part in blocks.split("-")]
    except ValueError:
        raise ProbeError(f"the edit of {blocks!r} is of no single block or pair") from None
    return sum(numbers) / len(numbers)


def _points(
    axes: Axes, rows: pd.DataFrame, shift: float, look: Look, size: float, kind: str
) -> None:
    error = rows["error_pct"]
    reach = [(error - rows["ci_low_pct"]).abs(), (rows["ci_high_pct"] - error).abs()]
    axes.errorbar(
        rows["block"] + shift, error, reach, fmt=look.marker, ms=size, color=look.color,
        mfc="white" if shift >= 0 else look.color, mew=0.7, elinewidth=0.5,
        label=NAMES.get(kind, kind), clip_on=False,
    )  # fmt: skip


def growing_middles(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2, ax: Given = None
) -> Figure:
    """The error against how many blocks in the middles of the stages are changed, a line a kind.

    Bands are 95 % intervals; of random orders, quartiles over the draws.
    """
    whole, rows = baseline(table), edited(table)
    kinds = list(rows["kind"].unique())
    with style.theme():
        figure, (axes,) = style.axes(columns=columns, height=3.2, given=ax)
        lines = {kind: _line(rows[rows["kind"] == kind]) for kind in kinds}
        marks.number(axes, int(rows["edits"].min()), int(rows["edits"].max()))
        marks.scale_errors(axes, table["error_pct"], table)
        marks.draw_baseline(axes, whole)
        for kind, look in marks.looks(kinds):
            found = lines[kind]
            marks.line(
                axes, found.index.to_numpy(), found, look, ends=("low", "high"),
                label=NAMES.get(kind, kind), shade=0.12,
            )  # fmt: skip
        axes.set_xlabel(f"{unit}s changed, in the middle of every stage")
        style.title(axes, title, columns=columns)
        style.legend(figure, axes, columns=columns)
    return figure


def _line(rows: pd.DataFrame) -> pd.DataFrame:
    if rows["draw"].max() > 0:
        found = rows.groupby("edits")["error_pct"].quantile(np.array([0.25, 0.5, 0.75])).unstack()
        found.columns = pd.Index(["low", "value", "high"])
        return found
    names = {"error_pct": "value", "ci_low_pct": "low", "ci_high_pct": "high"}
    return rows.set_index("edits")[list(names)].rename(columns=names).sort_index()


def listed_edits(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """One row an edit, as it is written, with its error and 95 % interval; of many the worst.

    Filled: harmful, all edits together.
    """
    whole, rows = baseline(table), edited(table)
    rows = rows.assign(word=changes(rows))
    if len(rows) > MOST_LISTED:
        rows = rows.nlargest(MOST_LISTED, "error_pct").sort_index()
    with style.theme():
        figure, (axes,) = style.axes(columns=columns, height=1.0 + 0.19 * len(rows), given=ax)
        places = np.arange(len(rows))
        axes.axvspan(whole["ci_low_pct"], whole["ci_high_pct"], color=style.LIGHT, alpha=0.45, lw=0)
        axes.axvline(
            whole["error_pct"], color=style.OURS, lw=0.9,
            label=f"baseline, {whole['error_pct']:.2f} %",
        )  # fmt: skip
        harmful = (rows["word"] == HARMFUL).to_numpy()
        _across(axes, rows[harmful], places[harmful], style.OURS, "harmful (95 % CI)")
        _across(axes, rows[~harmful], places[~harmful], "white", "not shown to be harmful")
        axes.set_yticks(places, [_short(text) for text in rows["edit"]])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0)
        axes.set_xlabel("error (%)")
        style.title(axes, title, columns=columns)
        style.legend(figure, axes, columns=columns)
    return figure


def _across(
    axes: Axes, rows: pd.DataFrame, places: Sequence[int] | np.ndarray, face: str, name: str
) -> None:
    if rows.empty:
        return
    error = rows["error_pct"]
    reach = [(error - rows["ci_low_pct"]).abs(), (rows["ci_high_pct"] - error).abs()]
    axes.errorbar(
        error, places, xerr=reach, fmt="o", ms=3.4, color=style.OURS, mfc=face, mew=0.8,
        elinewidth=0.7, label=name,
    )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= 44 else f"{text[:43]}…"
