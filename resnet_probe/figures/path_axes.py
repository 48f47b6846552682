"""What the figures of the exact gradient on its way back have in common: rows, and their axis."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks


def exact(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The rows of an exact quantity in the order of the blocks; ProbeError if there are none."""
    rows = table[(table["method"] == "exact") & (table["quantity"] == quantity)]
    if rows.empty:
        raise ProbeError(f"the table has no exact {quantity!r}: run paths with --method exact")
    return rows.sort_values("block", ignore_index=True)


def draw_blocks(ax: Axes, table: pd.DataFrame, *, width_pt: float, beside: float = 0.7) -> None:
    """An x axis of blocks, 0 being the image, with the stages marked."""
    blocks = table[table["block"] > 0].drop_duplicates("block")[["block", "stage"]]
    marks.draw_stages(ax, blocks.sort_values("block"), width_pt=width_pt)
    first, last = int(table["block"].min()), int(table["block"].max())
    marks.number(ax, max(1, first), last)
    ax.set_xlim(first - beside, last + beside)
    ax.set_xlabel("gradient at the input of block" + (" (0: image)" if first == 0 else ""))
