"""What the classifier would answer behind every block."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.marks import LOOKS, Look
from resnet_probe.figures.style import Given

SHARES = {"accuracy": "right", "agreement": "as the whole network"}
RENEWED = "recalibrated_"


def depth_of_answer(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """(a) accuracy and agreement with the final answer, (b) entropy, against the depth.

    Bands are 95 % intervals; hollow markers: with batch-norm statistics re-estimated at that
    depth.  Raises ProbeError for a table that is not a lens's.
    """
    if not {"accuracy_pct", "agreement_pct", "entropy_nats"} <= set(table.columns):
        raise ProbeError("the table has no accuracy by depth: is it the table of a lens?")
    last = int(table["block"].max())
    with style.theme():
        figure, axes = style.panels(2, columns=columns, height=2.3, title=title, given=ax)
        size = marks.marker_size(last + 1, columns)
        for (quantity, name), look in zip(SHARES.items(), LOOKS, strict=False):
            _draw(axes[0], table, f"{quantity}_{{}}pct", f"answers {name}", Look(*look), size)
        _draw(axes[1], table, "entropy_{}nats", "entropy", Look(*LOOKS[2]), size)
        for ax in axes:
            ax.set_xlabel("blocks that have run")
            stages = table[table["block"] > 0]
            marks.draw_stages(ax, stages, width_pt=72 * style.WIDTHS[columns] / columns - 40)
            marks.number(ax, 0, last)
        axes[0].set_ylabel("answers (%, 95 % CI)")
        axes[0].set_ylim(-2, 102)
        axes[1].set_ylabel("entropy (nats)")
        axes[1].set_ylim(bottom=0)
        style.letter(axes, ["what the head answers", "how sure it is"], pad=11)
        style.legend(figure, axes, columns=columns)
    return figure


def _draw(ax: Axes, table: pd.DataFrame, column: str, label: str, look: Look, size: float) -> None:
    ends = column.format("low_"), column.format("high_")
    marks.line(
        ax, table["block"], table, look, value=column.format(""), ends=ends, label=label, size=size
    )
    renewed = RENEWED + column.format("")
    if renewed in table and table[renewed].notna().any():
        ax.plot(
            table["block"], table[renewed], color=look.color, ls=look.dash, lw=0.7,
            marker=look.marker, ms=size + 1, mfc="white", mew=0.8, zorder=2.5,
            label=f"{label}, statistics re-estimated",
        )  # fmt: skip
        low, high = (table[RENEWED + end] for end in ends)
        ax.fill_between(table["block"], low, high, color=look.color, alpha=0.1, lw=0, zorder=1.5)
