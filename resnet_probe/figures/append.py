"""Appended layers in training: how near to the identity, and the loss of the deeper network."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks, style
from resnet_probe.figures.style import Given

NAMES = {"residual": "residual block, branch begins at 0", "plain": "the same without a shortcut"}
PANELS = {"identity_error": "distance (share of variance)", "loss": "loss of the images (nats)"}
LEAST = 1e-6
"""What is drawn where a distance is 0."""


def appended_layers(
    table: pd.DataFrame, *, title: str = "", columns: int = 2, ax: Given = None
) -> Figure:
    """Two panels by step of training, a line a draw: the identity (log scale), and the loss.

    Raises ProbeError for a table of something else.
    """
    if "quantity" not in table or not table["quantity"].isin(PANELS).any():
        raise ProbeError("the table has no identity_error: is it the table of append?")
    with style.theme():
        figure, axes = style.panels(2, columns=columns, height=2.0, title=title, given=ax)
        for panel, (quantity, text) in zip(axes, PANELS.items(), strict=True):
            for kind, look in marks.looks(list(NAMES)):
                rows = table[(table["kind"] == kind) & (table["quantity"] == quantity)]
                for draw, some in rows.groupby("draw"):
                    label = NAMES[kind] if draw == rows["draw"].min() else None
                    values = some["value"].clip(lower=LEAST)
                    panel.plot(some["step"], values, color=look.color, ls=look.dash, lw=1.2,
                               marker=look.marker, markevery=[0, len(some) - 1], ms=3,
                               label=label)  # fmt: skip
            panel.set_yscale("log")
            panel.set_ylabel(text)
            panel.set_xlabel("step of training")
        whole = table[(table["kind"] == "whole") & (table["quantity"] == "loss")]["value"]
        axes[1].axhline(max(float(whole.iloc[0]), LEAST), color=style.PUBLISHED, lw=0.9, zorder=1)
        axes[0].axhline(1e-3, color=style.PUBLISHED, lw=0.9, zorder=1)
        style.letter(axes, ["how near to the identity", "what it costs"])
        style.legend(figure, axes, columns=columns)
    return figure
