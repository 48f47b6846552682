"""Claims and networks: which hold where, and how far each is from its bound."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.results.table import interval

NEEDED = ("claim", "statement", "kind", "value", "ci_low", "ci_high", "bound_low", "bound_high",
          "verdict", "on")  # fmt: skip
SEPARATOR = "; "
"""Between the networks that one verdict is about."""
WIDE, NARROW, ACROSS = 52, 46, 60
"""Characters in a line of a claim: beside its row, above it, and over a column of a paper."""
LONGEST = {1: 26, 2: 44}
"""Of the names of the networks that a row is about, for one and two columns."""
PAPER = {"facecolor": "white", "alpha": 0.9, "linewidth": 0, "pad": 0.5}
LINE = 0.12
"""Inches of a line of a claim."""
FAR = 6.0
"""Half-widths of an interval: what lies further out is drawn at the edge."""
LOOKS = {
    "holds": ("o", style.OURS, style.OURS),
    "undecided": ("D", "white", style.INK),
    "fails": ("X", style.TRANSITION, style.INK),
}


def claim_matrix(table: pd.DataFrame, *, columns: int = 2) -> Figure:
    """A mark for each claim (row) and network on its images (column) with a verdict.

    A claim that compares several networks has its mark at each of them, joined by a line.
    Identities are left out. Raises ProbeError for a table of something else.
    """
    rows = _judged(table)
    rows["on"] = rows["on"].where(rows["on"] != "", rows["networks"])  # results name no images
    claims = list(dict.fromkeys(rows["claim"]))
    titles = [_lines(claim, rows, WIDE if columns > 1 else NARROW) for claim in claims]
    networks = networks_of(rows)
    with style.theme():
        lines = max((title.count("\n") + 1 for title in titles), default=1)
        pitch = LINE * lines + (0.05 if columns > 1 else 0.2)
        figure, (ax,) = style.axes(columns=columns, height=1.9 + pitch * max(len(claims), 4))
        for verdict, (marker, face, edge) in LOOKS.items():
            x: list[float] = []
            y: list[float] = []
            for _, row in rows[rows["verdict"] == verdict].iterrows():
                places = sorted(networks.index(name) for name in row["on"].split(SEPARATOR))
                level = claims.index(row["claim"])
                x, y = [*x, *places], [*y, *[level] * len(places)]
                if len(places) > 1:
                    ax.plot(places, [level] * len(places), color=style.FAINT, lw=2, zorder=1)
            if x:
                ax.plot(x, y, ls="", marker=marker, ms=5, mfc=face, mec=edge, mew=0.8,
                        label=verdict, zorder=3, clip_on=False)  # fmt: skip
        marks.name_rows(ax, titles, columns=columns, above=0.5)
        ax.set_xticks(range(len(networks)), networks, rotation=40, ha="right", fontsize=6.5)
        ax.set_xlim(-0.6, max(len(networks), 1) - 0.4)
        ax.tick_params(length=0)
        style.legend(figure, ax, columns=columns)
    return figure


def _lines(claim: str, rows: pd.DataFrame, width: int) -> str:
    """What the claim says, in lines of that many characters."""
    said = rows.loc[rows["claim"] == claim, "statement"].iloc[0]
    return textwrap.fill(said, width, break_on_hyphens=False)


def networks_of(rows: pd.DataFrame) -> list[str]:
    """Every network on its images, those on the same images side by side."""
    found = dict.fromkeys(name for on in rows["on"] for name in on.split(SEPARATOR) if name)
    return sorted(found, key=lambda name: name.partition(" on ")[2])


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise ProbeError(f"the table has no column {missing[0]!r}: is it a ledger of claims?")
    rows = table[table["verdict"].isin(LOOKS) & (table["kind"] != "exact")]
    return rows[rows["ci_low"].notna()].reset_index(drop=True)


def claim_intervals(table: pd.DataFrame, *, columns: int = 2) -> Figure:
    """What each judged claim says, and below it a row for each network or set of networks.

    A mark is the distance to the bound in half-widths of the 95 % interval: right of the line the
    bound is kept, between −1 and 1 the interval straddles it, beyond ±`FAR` it stands at the edge.
    Exact claims, which have no interval, are left out. Raises ProbeError for a table of something
    else.
    """
    rows = _judged(table).sort_values("claim", key=_first, kind="stable", ignore_index=True)
    titles, places, lines = _levels(rows, columns * ACROSS)
    with style.theme():
        height = 0.9 + (LINE if columns > 1 else 1.6 * LINE) * max(lines, 6)
        figure, (ax,) = style.axes(columns=columns, height=height)
        ax.axvspan(-1, 1, color=style.FAINT, lw=0, zorder=0, label="interval straddles the bound")
        ax.axvline(0, color=style.INK, lw=0.8, zorder=1)
        for verdict in LOOKS:
            _draw(ax, rows, verdict, places)
        across = blended_transform_factory(figure.transFigure, ax.transData)
        for level, title in titles.items():
            ax.text(0.01, level, title, transform=across, fontsize=6.5, va="center",
                    linespacing=1.0, zorder=5, in_layout=False, bbox=PAPER)  # fmt: skip
        on = [textwrap.shorten(text, LONGEST[columns], placeholder=" …") for text in rows["on"]]
        ax.set_yticks(places, on, fontsize=6.5, color=style.PUBLISHED)
        ax.set_ylim(max(lines, 6) - 0.5, -0.5)
        ax.set_xlim(-FAR - 0.5, FAR + 0.5)
        ax.set_xlabel("distance to the bound\n(half-widths of its 95 % interval)")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        if columns > 1:
            _name_values(ax, rows, places)
        style.legend(figure, ax, columns=columns)
    return figure


def _first(claims: pd.Series) -> pd.Series:
    """Where each claim stands first: its rows belong together."""
    return claims.map({name: place for place, name in enumerate(dict.fromkeys(claims))})


def _levels(rows: pd.DataFrame, width: int) -> tuple[dict[float, str], list[float], int]:
    """Titles by the height of their middle, the height of each row, and how many lines in all."""
    titles: dict[float, str] = {}
    places: list[float] = []
    line = 0
    for claim, own in rows.groupby("claim", sort=False):
        title = _lines(str(claim), rows, width)
        high = title.count("\n") + 1
        titles[line + (high - 1) / 2] = title
        places += [line + high + place for place in range(len(own))]
        line += high + len(own)
    return titles, places, line


def _name_values(ax: Axes, rows: pd.DataFrame, places: list[float]) -> None:
    """On the right, each value with its interval and what was asked for."""
    labels = [f"{interval(row)}, {row['bound']} {row['unit']}" for _, row in rows.iterrows()]
    right = ax.secondary_yaxis("right")
    right.set_yticks(places, labels, fontsize=6)
    right.tick_params(axis="y", length=0)
    right.spines["right"].set_visible(False)


def margins(rows: pd.DataFrame) -> np.ndarray:
    """Distance to the nearest end of the bound, positive inside, in half-widths of the interval."""
    inside = np.minimum(rows["value"] - rows["bound_low"], rows["bound_high"] - rows["value"])
    nearer_low = rows["value"] - rows["bound_low"] <= rows["bound_high"] - rows["value"]
    down, up = rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]
    toward = np.where(nearer_low == (inside >= 0), down, up)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(toward > 0, inside / toward, np.sign(inside) * np.inf)
    return np.asarray(np.nan_to_num(found, nan=0.0, posinf=np.inf, neginf=-np.inf))


def _draw(ax: Axes, rows: pd.DataFrame, verdict: str, levels: list[float]) -> None:
    chosen = (rows["verdict"] == verdict).to_numpy()
    if not chosen.any():
        return
    marker, face, edge = LOOKS[verdict]
    place = np.clip(margins(rows), -FAR, FAR)
    ax.plot(
        place[chosen], np.array(levels)[chosen], ls="", marker=marker, ms=5, mfc=face, mec=edge,
        mew=0.8, label=verdict, zorder=3, clip_on=False,
    )  # fmt: skip
