"""Effective depth by function: how few blocks do nearly what all of them do."""

from __future__ import annotations

from typing import Any

import pandas as pd

from resnet_probe.findings.sentence import Finding, Sentence, inside, unit_of_points
from resnet_probe.results import Result
from resnet_probe.stats import Estimate

POINTS, NATS = 1.0, 0.1
"""How near is near: of the error, and of the loss and the Kullback–Leibler divergence."""
NONE = (float("nan"), float("nan"))


def least_blocks(table: pd.DataFrame, blocks: int, column: str, most: float) -> Estimate:
    """The least number of blocks, of those kept in order, whose `column` is at most `most`.

    From a lesion's table of deletions, the baseline among them.  Its ends are what the intervals of
    the column allow: those of all edits together for the error, each by itself for the loss, none
    for the Kullback–Leibler divergence.
    """
    ends = {"delta_pct": ("joint_low_pct", "joint_high_pct")}.get(column, NONE)
    if column == "delta_loss":
        ends = ("delta_loss_low", "delta_loss_high")
    value, low, high = (
        _least(table, blocks, table[name], most) if isinstance(name, str) else float("nan")
        for name in (column, *ends)
    )
    return Estimate(value, low, high)


def _least(table: pd.DataFrame, blocks: int, found: pd.Series, most: float) -> float:
    near = (found <= most) | (table["edits"] == 0)
    return float(blocks - table.loc[near, "edits"].max())


def depth_by_function(result: Result) -> Finding:
    """How few blocks stay near the whole network, among the deletions of a lesion's table."""
    table, blocks = result.table, int(result.provenance["blocks"])
    table = table[table["kind"].isin(["baseline", "delete"])]
    values: dict[str, Any] = {"blocks": blocks, "points": POINTS, "nats": NATS}
    for name, column, most in (
        ("error", "delta_pct", POINTS), ("loss", "delta_loss", NATS), ("kl", "kl_from_whole", NATS)
    ):  # fmt: skip
        found = least_blocks(table, blocks, column, most) if column in table else None
        if found is not None:
            ends = {f"{name}_low": found.low, f"{name}_high": found.high}
            values |= {name: found.value, **ends}
    error, loss = (inside(name, values, ".0f", "") for name in ("error", "loss"))
    parts = [
        f"{{error:.0f}} within {{points:g}} {unit_of_points(POINTS)} of its error "
        f"({error}, all of them together)",
        f"{{loss:.0f}} within {{nats:g}} nats of its loss ({loss}, each by itself)",
    ]
    parts += ["{kl:.0f} within {nats:g} nats of what it says (KL)"] if "kl" in values else []
    return Finding(
        Sentence(
            "Effective depth, the fewest of its {blocks} blocks that are enough, among these "
            f"deletions: {', '.join(parts)}.",
            values,
        )
    )
