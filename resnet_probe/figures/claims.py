"""How far each judged claim is from its bound, in units of its own interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import style
from resnet_probe.results.table import interval

NEEDED = ("claim", "kind", "value", "ci_low", "ci_high", "bound_low", "bound_high", "verdict")
FAR = 6.0
"""Half-widths of an interval: what lies further out is drawn at the edge."""
LOOKS = {
    "holds": ("o", style.OURS, style.OURS),
    "undecided": ("D", "white", style.INK),
    "fails": ("X", style.TRANSITION, style.INK),
}


def claim_intervals(table: pd.DataFrame, *, columns: int = 2) -> Figure:
    """One row a judged claim: the distance to its bound in half-widths of its 95 % interval.

    Right of the line the bound is kept. Between −1 and 1 the interval straddles it. Exact claims,
    which have no interval, are left out. Raises ProbeError for a table of something else.
    """
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise ProbeError(f"the table has no column {missing[0]!r}: is it a ledger of claims?")
    rows = table[table["verdict"].isin(LOOKS) & (table["kind"] != "exact")]
    rows = rows[rows["ci_low"].notna()].reset_index(drop=True)
    with style.theme():
        figure, (ax,) = style.axes(columns=columns, height=0.9 + 0.19 * max(len(rows), 4))
        ax.axvspan(-1, 1, color=style.FAINT, lw=0, zorder=0, label="interval straddles the bound")
        ax.axvline(0, color=style.INK, lw=0.8, zorder=1)
        for verdict in LOOKS:
            _draw(ax, rows, verdict)
        ax.set_yticks(range(len(rows)), rows["claim"], fontsize=6.5)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(-FAR - 0.5, FAR + 0.5)
        ax.set_xlabel("distance to the bound, in half-widths of the 95 % interval "
                      f"(beyond {FAR:g}: at the edge)")  # fmt: skip
        ax.tick_params(axis="y", length=0)
        _name_values(ax, rows)
        style.legend(figure, ax, columns=columns)
    return figure


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
