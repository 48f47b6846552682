"""What lesions do to the error: single deletions, in one network and in several.

Also beside each other with the trained batch-norm statistics and with statistics of the lesion's
own.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.marks import LOOKS, Look
from resnet_probe.figures.style import Given
from resnet_probe.findings.verdict import HARMFUL, HARMLESS, NEGLIGIBLE, UNDECIDED, changes
from resnet_probe.stats import median_interval

NEEDED = ("kind", "edits", "blocks", "stage", "tau", "error_pct", "ci_low_pct", "ci_high_pct")
NAMED = 5  # blocks at most that carry their number
THEIRS = "#B04A00"  # a curve from elsewhere: vermilion, dark enough for words
REACH = ("error_pct", "ci_low_pct", "ci_high_pct")
CLEAR = 1.5  # times the typical block's damage
HEAP = 0.26  # of a row's height, on either side of its middle
BASELINES = {"error_pct": "baseline", "recalibrated_error_pct": "baseline, re-estimated"}
STALE, OWN = "statistics of the whole network", "statistics re-estimated after the lesion"


def baseline(table: pd.DataFrame) -> pd.Series:
    """The row of the network as it is; ProbeError where columns or the row are missing."""
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise ProbeError(f"the table has no column {missing[0]!r}: is it the table of a lesion?")
    rows = table[table["kind"] == "baseline"]
    if len(rows) != 1:
        raise ProbeError(f"the table has {len(rows)} baseline rows: a figure needs one")
    return rows.iloc[0]


def edited(table: pd.DataFrame) -> pd.DataFrame:
    """The other rows, ``edits`` and ``tau`` as numbers and ``stage`` as text.

    Raises ProbeError where there are none.
    """
    rows = table[table["kind"] != "baseline"].reset_index(drop=True)
    if rows.empty:
        raise ProbeError("the table holds the baseline alone: there is nothing to draw")
    return rows.assign(
        edits=pd.to_numeric(rows["edits"]),
        tau=pd.to_numeric(rows["tau"]),
        stage=rows["stage"].map(lambda stage: f"{stage:g}" if _is_number(stage) else str(stage)),
    )


def _is_number(value: object) -> bool:
    return pd.api.types.is_number(value)


def single_deletion(
    table: pd.DataFrame,
    *,
    title: str = "",
    compare: pd.DataFrame | None = None,
    transitions: Collection[int] | None = None,
    unit: str = "block",
    columns: int = 2,
    ax: Given = None,
) -> Figure:
    """The error after deleting each block, with 95 % intervals, beside the whole network's.

    ``table`` is a lesion's table with one deletion a row. Hollow markers: the change in error is
    shown to be inside the margin, for all blocks together; pale ones: neither that nor a change is
    shown (`findings.verdict.changes`). Diamonds: ``transitions``, the first blocks of
    the stages from the second on unless given. ``compare`` (`published.comparison`) is
    overlaid, stretched to the same length where it has more or fewer blocks. ``unit`` is
    ``layer`` for plain networks. Raises ProbeError for a table of something else.
    """
    whole, rows = baseline(table), _single(edited(table))
    last = rows["block"].max()
    first = _first_of_stages(rows) if transitions is None else set(transitions)
    turn = rows["block"].isin(first)
    with style.theme():
        height = 2.9 if columns == 2 else 2.7
        figure, (ax,) = style.axes(columns=columns, height=height, given=ax)
        marks.number(ax, 1, last)
        marks.scale_errors(ax, _all_errors(table, compare), table)
        marks.draw_stages(ax, rows, width_pt=72 * style.WIDTHS[columns] - 40)
        marks.draw_baseline(ax, whole)
        size = _marker_size(last, columns)
        _draw_points(ax, rows[~turn], "o", size, style.OURS, f"one {unit} deleted (95 % CI)")
        if turn.any():
            _draw_points(ax, rows[turn], "D", max(size, 3), style.TRANSITION, "stage transition")
        _name_worst(ax, rows, whole["error_pct"], size, columns)
        _draw_published(ax, compare, rows, columns)
        ax.set_xlabel(f"{unit} deleted")
        style.title(ax, title, columns=columns, pad=13)
        style.legend(figure, ax, columns=columns)
    return figure


def _single(rows: pd.DataFrame) -> pd.DataFrame:
    if not ((rows["kind"] == "delete") & (rows["edits"] == 1)).all():
        raise ProbeError("the table holds other edits than single deletions: draw it as multi_edit")
    several = rows["blocks"].astype(str).str.contains(" ").any()  # layers, in order
    numbers = pd.Series(range(1, len(rows) + 1), rows.index) if several else rows["blocks"]
    blocks = pd.to_numeric(numbers).astype(int)
    word = changes(rows) if "joint_inside_margin" in rows else HARMFUL
    return rows.assign(block=blocks, word=word).sort_values("block")


def _first_of_stages(rows: pd.DataFrame) -> set[int]:
    return set(rows.groupby("stage", sort=False)["block"].min().iloc[1:])


def _all_errors(table: pd.DataFrame, compare: pd.DataFrame | None) -> pd.Series:
    if compare is None:
        return table["error_pct"]
    return pd.concat([table["error_pct"], compare["error_pct"]], ignore_index=True)


def _marker_size(blocks: int, columns: int) -> float:
    """In points: as large as the room between two blocks allows, within reason."""
    return float(np.clip(0.9 * (72 * style.WIDTHS[columns] - 45) / blocks, 1.6, 4.5))


def _draw_published(
    ax: Axes, compare: pd.DataFrame | None, rows: pd.DataFrame, columns: int
) -> None:
    if compare is None:
        return
    place = (compare["block"] - 0.5) * rows["block"].max() / len(compare) + 0.5
    label, base = compare["label"].iloc[0], compare["baseline_pct"].iloc[0]
    ax.plot(
        place, compare["error_pct"], color=THEIRS, lw=1.0, ls=(0, (5, 1.2)), zorder=2.2,
        label=f"_{label}",
    )  # fmt: skip
    ax.axhline(base, color=THEIRS, lw=0.8, ls=(0, (1, 1.5)), zorder=2, label="_its baseline")
    marks.name_curve(
        ax, f"{label}\n(dotted: whole, {base:.2f} %)",
        np.column_stack([place, compare["error_pct"]]),
        np.concatenate([rows[["block", end]].to_numpy(float) for end in REACH]), THEIRS,
        points=(72 * style.WIDTHS[columns] - 45, 95),
    )  # fmt: skip


def _draw_points(
    ax: Axes, rows: pd.DataFrame, marker: str, size: float, colour: str, label: str
) -> None:
    edge = style.INK if marker == "D" else colour
    harmless, undecided = rows["word"].isin((HARMLESS, NEGLIGIBLE)), rows["word"] == UNDECIDED
    kinds = (
        (~harmless & ~undecided, colour, label),
        (undecided, style.pale(colour), "undecided"),
        (harmless, "white", "shown harmless"),
    )
    for shown, face, name in kinds:
        part = rows[shown]
        # One entry in the legend is enough for each, and "_" makes none.
        text = "_" if part.empty or (marker == "D" and name != label) else name
        reach = part[["ci_low_pct", "ci_high_pct"]].sub(part["error_pct"], axis=0).abs()
        ax.errorbar(
            part["block"], part["error_pct"], reach.to_numpy().T, fmt=marker, ms=size, mfc=face,
            mec=edge, mew=0.7, ecolor=edge, elinewidth=0.7, label=text,
            zorder=3.5 if marker == "D" else 3,
        )  # fmt: skip


def _name_worst(ax: Axes, rows: pd.DataFrame, base: float, size: float, columns: int) -> None:
    """Numbers over the worst blocks that stand clear of the typical one; of neighbours the worst.

    So a number never covers another.
    """
    typical = rows["error_pct"].median()
    clear = rows["error_pct"] - base > CLEAR * (typical - base)
    clear &= ~rows["word"].isin((HARMLESS, NEGLIGIBLE)) & (rows["ci_low_pct"] > typical)
    worst = rows[clear].nlargest(NAMED, "error_pct")
    tops = worst[["block", "ci_high_pct"]].to_numpy(float)
    places = (ax.transScale + ax.transLimits).transform(tops)  # as shares of the axes
    named: list[np.ndarray] = []
    for top, place in zip(tops, places, strict=True):
        if any((np.abs(place - other) < (0.06 / columns, 0.07)).all() for other in named):
            continue
        named.append(place)
        ax.annotate(
            f"{top[0]:.0f}", tuple(top), xytext=(0, 1 + size / 2), textcoords="offset points",
            fontsize=7, ha="center", va="bottom",
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.2},
        )  # fmt: skip


def deletions_by_network(
    table: pd.DataFrame,
    *,
    title: str = "",
    chance_pct: float | None = None,
    columns: int = 2,
    ax: Given = None,
) -> Figure:
    """One row a network: the error after each single deletion, and how it is without any.

    ``table`` holds the lesion tables of several networks, told apart by a column ``label``. A dot
    is one deletion, the bar the median with its 95 % interval, the open square the whole
    network; ``chance_pct`` is drawn as a dashed line. The axis reaches as far as the errors, and is
    logarithmic where a few are much larger than the others. Raises ProbeError for other tables.
    """
    if not {"label", "kind", "error_pct"} <= set(table.columns):
        raise ProbeError("the table needs label, kind and error_pct: lesion tables of networks")
    names = list(dict.fromkeys(table["label"]))
    with style.theme():
        height = 0.95 + (0.36 if columns > 1 else 0.5) * len(names)
        figure, (ax,) = style.axes(columns=columns, height=height, given=ax)
        for place, name in enumerate(names):
            _draw_network(ax, table[table["label"] == name], place, first=place == 0)
        errors = table["error_pct"]
        ends = pd.DataFrame({"ci_low_pct": errors, "ci_high_pct": errors})
        marks.scale_errors(ax, errors, ends, axis="x")
        if chance_pct is not None:
            ax.axvline(chance_pct, color=style.PUBLISHED, lw=0.9, ls=(0, (4, 2)), label="chance")
            ax.set_xlim(right=max(ax.get_xlim()[1], chance_pct))
        _name_networks(ax, names, [_count(table, name) for name in names], columns)
        style.title(ax, title, columns=columns)
        style.legend(figure, ax, columns=columns)
    return figure


def _count(table: pd.DataFrame, name: str) -> str:
    return f"n = {int(((table['label'] == name) & (table['kind'] == 'delete')).sum())}"


def _name_networks(ax: Axes, names: list[str], counts: list[str], columns: int) -> None:
    """Names beside or above their rows, and how many deletions each has."""
    if columns == 1:
        names = [f"{name}, {count}" for name, count in zip(names, counts, strict=True)]
    marks.name_rows(ax, names, columns=columns)
    for place, count in enumerate(counts if columns > 1 else ()):
        ax.annotate(
            count, (1.0, place), xycoords=("axes fraction", "data"), xytext=(4, 0), va="center",
            textcoords="offset points", fontsize=6.5, color=style.PUBLISHED,
        )  # fmt: skip


def _draw_network(ax: Axes, rows: pd.DataFrame, place: int, *, first: bool) -> None:
    errors = rows.loc[rows["kind"] == "delete", "error_pct"].to_numpy()
    whole = float(rows.loc[rows["kind"] == "baseline", "error_pct"].iloc[0])
    middle = median_interval(errors)
    heights = place + HEAP * np.array([(-1, -0.5, 0, 0.5, 1)[i % 5] for i in range(len(errors))])
    ax.plot(
        errors, heights, "o", ms=2.6, mew=0, color=style.OURS, alpha=0.65,
        label="one block or layer deleted" if first else None, zorder=3,
    )  # fmt: skip
    reach = [[max(0, middle.value - middle.low)], [max(0, middle.high - middle.value)]]
    ax.errorbar(
        [middle.value], [place], xerr=None if np.isnan(middle.low) else reach, fmt="|", ms=11,
        mew=1.6, color=style.INK, elinewidth=1.1, label="median (95 % CI)" if first else None,
        zorder=4,
    )  # fmt: skip
    ax.plot(
        [whole], [place], "s", ms=4.2, mfc="white", mec=style.INK, mew=0.9,
        label="whole network" if first else None, zorder=5, clip_on=False,
    )  # fmt: skip


def recalibrated_errors(
    table: pd.DataFrame, *, title: str = "", unit: str = "block", columns: int = 2
) -> Figure:
    """Both errors of each lesion: by block for single deletions, else medians and quartiles.

    Bars are 95 % intervals, bands go from the first to the third quartile of the draws; the lines
    are the two baselines.  Raises ProbeError for a table without re-estimated statistics.
    """
    if "recalibrated_error_pct" not in table:
        raise ProbeError("the table has no re-estimated statistics: ask for them (recalibrate=)")
    whole, rows = baseline(table), edited(table)
    single = bool(((rows["kind"] == "delete") & (rows["edits"] == 1)).all())
    with style.theme():
        figure, (ax,) = style.axes(columns=columns, height=2.9)
        errors = pd.concat([table["error_pct"], table["recalibrated_error_pct"]])
        (_draw_blocks if single else _draw_draws)(ax, rows, columns)
        marks.scale_errors(ax, errors, table)
        for (column, name), look in zip(BASELINES.items(), LOOKS, strict=False):
            ax.axhline(whole[column], color=look[0], ls=look[1], lw=0.8, zorder=2,
                       label=f"{name}, {whole[column]:.2f} %")  # fmt: skip
        ax.set_xlabel(_label(rows, single, unit))
        style.title(ax, title, columns=columns, pad=13 if single else 6)
        style.legend(figure, ax, columns=columns)
    return figure


def _draw_blocks(ax: Axes, rows: pd.DataFrame, columns: int) -> None:
    rows = rows.assign(block=pd.to_numeric(rows["blocks"]).astype(int))
    marks.number(ax, 1, int(rows["block"].max()))
    marks.draw_stages(ax, rows, width_pt=72 * style.WIDTHS[columns] - 40)
    size = marks.marker_size(2 * len(rows), 1, largest=4)
    both = (("", STALE, "full", -0.16), ("recalibrated_", OWN, "none", 0.16))
    for (prefix, name, fill, aside), (color, _, marker) in zip(both, LOOKS, strict=False):
        error = rows[f"{prefix}error_pct"]
        reach = [(error - rows[f"{prefix}ci_low_pct"]).abs(), rows[f"{prefix}ci_high_pct"] - error]
        ax.errorbar(
            rows["block"] + aside, error, reach, fmt=marker, ms=size, elinewidth=0.6, mew=0.8,
            color=color, mfc=color if fill == "full" else "white", label=f"{name} (95 % CI)",
            clip_on=False,
        )  # fmt: skip


def _draw_draws(ax: Axes, rows: pd.DataFrame, columns: int) -> None:
    ordered = bool(rows["tau"].notna().any())
    by = rows["tau"].round(2) if ordered else rows["edits"].astype(int)
    both = (("error_pct", STALE), ("recalibrated_error_pct", OWN))
    for (column, name), look in zip(both, LOOKS, strict=False):
        found = rows.groupby(by)[column].quantile(np.array([0.25, 0.5, 0.75])).unstack()
        found.columns = pd.Index(["low", "value", "high"])
        x = found.index.to_numpy()
        marks.line(ax, x, found, Look(*look), ends=("low", "high"), label=f"{name}, median")
    if ordered:
        ax.invert_xaxis()
    else:
        marks.number(ax, int(by.min()), int(by.max()))


def _label(rows: pd.DataFrame, single: bool, unit: str) -> str:
    if rows["tau"].notna().any():
        return "Kendall τ to the trained order"
    kind = {"delete": f"{unit}s deleted", "permute": "swaps", "duplicate": f"{unit}s duplicated"}
    return f"{unit} deleted" if single else kind[str(rows["kind"].iloc[0])]
