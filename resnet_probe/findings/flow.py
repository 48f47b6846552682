"""What flows through a network, in lines for a terminal."""

from __future__ import annotations

import pandas as pd

from resnet_probe.findings.sentence import block_of, estimate, listed, of_its_inputs
from resnet_probe.results import Result

MOST = 3
"""Blocks that are named one by one."""


@of_its_inputs
def summarize_flow(result: Result) -> str:
    """The lines that a run of `flow` prints."""
    table = result.table
    unit = "block" if result.provenance.get("residual", True) else "layer"
    lines = [_gradient(_of(table, "gradient_log10"), unit)]
    for quantity, what in (("state_share", "the last state"), ("logit_share", "the answer's lead")):
        rows = _of(table, quantity)
        if len(rows):
            lines.append(_shares(rows, what))
    falling = _of(table, "falling_pct").dropna(subset=["value"])
    if len(falling):
        most = falling.iloc[int(falling["value"].to_numpy().argmax())]
        lines.append(
            f"of the state {falling['value'].mean():.1f} % of the elements fall in a block, "
            f"mean over {len(falling)} blocks with an identity shortcut; most in block "
            f"{block_of(most)}: {estimate(most, 1, ' %')}"
        )
    return "\n".join(lines)


def _of(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    return table[table["quantity"] == quantity]


def _gradient(rows: pd.DataFrame, unit: str) -> str:
    if rows["value"].isna().all():
        return f"no gradient reaches the {unit}s: there is none to compare"
    first, widest = rows.iloc[0], rows.iloc[int(rows["value"].abs().to_numpy().argmax())]
    return (
        f"gradient at the input of {unit} 1, log10 beside that of the last {unit}: "
        f"{estimate(first)}, a factor of {10 ** first['value']:.3g}; farthest from 0 at {unit} "
        f"{block_of(widest)}: {widest['value']:+z.2f}"
    )


def _shares(rows: pd.DataFrame, what: str) -> str:
    named = rows.set_index("name")["value"]
    if pd.isna(named["stem"]):
        return f"{what} is nothing on every image: it has no parts"
    blocks = rows[rows["block"].between(1, rows["block"].max() - 1)]
    worst = blocks.reindex(blocks["value"].abs().sort_values(ascending=False).index)[:MOST]
    shown = [f"{block_of(row)} {100 * row['value']:.1f} %" for _, row in worst.iterrows()]
    return (
        f"{what} is the sum of what went in: stem {100 * named['stem']:z.1f} %, blocks "
        f"{100 * blocks['value'].sum():.1f} %, constants {100 * named['constants']:z.1f} %; most "
        f"from blocks {listed(shown)}"
    )
