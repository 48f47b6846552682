"""Claims and networks: which hold where, and how far each is from its bound."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import style
from resnet_probe.results.table import interval

NEEDED = ("claim", "kind", "value", "ci_low", "ci_high", "bound_low", "bound_high", "verdict",
          "on")  # fmt: skip
SEPARATOR = "; "
"""Between the networks that one verdict is about."""
WIDEST = 64
"""Characters of a row's name that leave room for the row."""
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
    claims = list(dict.fromkeys(rows["claim"]))
    networks = networks_of(rows)
    with style.theme():
        height = 1.9 + 0.17 * max(len(claims), 4)
        figure, (ax,) = style.axes(columns=columns, height=height)
        for verdict, (marker, face, edge) in LOOKS.items():
            x: list[float] = []
            y: list[float] = []
            for _, row in rows[rows["verdict"] == verdict].iterrows():
                places = sorted(networks.index(name) for name in row["on"].split(SEPARATOR))
                height = claims.index(row["claim"])
                x, y = [*x, *places], [*y, *[height] * len(places)]
                if len(places) > 1:
                    ax.plot(places, [height] * len(places), color=style.FAINT, lw=2, zorder=1)
            if x:
                ax.plot(x, y, ls="", marker=marker, ms=5, mfc=face, mec=edge, mew=0.8,
                        label=verdict, zorder=3, clip_on=False)  # fmt: skip
        ax.set_yticks(range(len(claims)), claims, fontsize=6.5)
        ax.set_ylim(len(claims) - 0.4, -0.6)
        ax.set_xticks(range(len(networks)), networks, rotation=40, ha="right", fontsize=6.5)
        ax.set_xlim(-0.6, max(len(networks), 1) - 0.4)
        ax.tick_params(length=0)
        style.legend(figure, ax, columns=columns)
    return figure


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
    """One row a judged claim: the distance to its bound in half-widths of its 95 % interval.

    Right of the line the bound is kept. Between −1 and 1 the interval straddles it. Exact claims,
    which have no interval, are left out. Raises ProbeError for a table of something else.
    """
    rows = _judged(table)
    with style.theme():
        figure, (ax,) = style.axes(columns=columns, height=0.9 + 0.19 * max(len(rows), 4))
        ax.axvspan(-1, 1, color=style.FAINT, lw=0, zorder=0, label="interval straddles the bound")
        ax.axvline(0, color=style.INK, lw=0.8, zorder=1)
        for verdict in LOOKS:
            _draw(ax, rows, verdict)
        ax.set_yticks(range(len(rows)), _labels(rows), fontsize=6.5)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(-FAR - 0.5, FAR + 0.5)
        ax.set_xlabel("distance to the bound, in half-widths of the 95 % interval "
                      f"(beyond {FAR:g}: at the edge)")  # fmt: skip
        ax.tick_params(axis="y", length=0)
        _name_values(ax, rows)
        style.legend(figure, ax, columns=columns)
    return figure


def _labels(rows: pd.DataFrame) -> list[str]:
    """The claim, and on what it is judged where there are several."""
    repeated = rows["claim"].duplicated(keep=False)
    return [
        _cut(f"{claim}: {on}") if more else claim
        for claim, on, more in zip(rows["claim"], rows["on"], repeated, strict=True)
    ]


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _name_values(ax: Axes, rows: pd.DataFrame) -> None:
    """On the right, each value with its interval and what was asked for."""
    labels = [f"{interval(row)}, {row['bound']} {row['unit']}" for _, row in rows.iterrows()]
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(rows)), labels, fontsize=6)
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


def _draw(ax: Axes, rows: pd.DataFrame, verdict: str) -> None:
    chosen = (rows["verdict"] == verdict).to_numpy()
    if not chosen.any():
        return
    marker, face, edge = LOOKS[verdict]
    place = np.clip(margins(rows), -FAR, FAR)
    ax.plot(
        place[chosen], np.flatnonzero(chosen), ls="", marker=marker, ms=5, mfc=face, mec=edge,
        mew=0.8, label=verdict, zorder=3, clip_on=False,
    )  # fmt: skip
