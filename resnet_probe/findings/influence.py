"""Do blocks build on each other?  How much each changes what the later ones do."""

from __future__ import annotations

import pandas as pd

from resnet_probe.findings.sentence import (
    Finding,
    Sentence,
    block_of,
    interval,
    listed,
    of_its_inputs,
)
from resnet_probe.results import Result

DEEP = 0.5
"""A block builds on an earlier one from this change on: half of what it does."""
NONE = "undefined, as no later branch gives anything"
NEXT, FAR = "on the next block", "on blocks at least half the network behind"


@of_its_inputs
def summarize_influence(result: Result) -> str:
    """The lines that a run of `influence` prints."""
    pairs, depths = _pairs(result.table), _depths(result.table)
    blocks = int(pairs["on"].max())
    lines = [f"{blocks} blocks; ‖Δ‖/‖F‖ of a later block's branch where a block is deleted:"]
    for name, rows in _distances(pairs).items():
        middle, size = rows["value"].median(), rows["value"].notna().sum()
        lines.append(f"  {name}: " + (f"median {middle:.2f} over {size} pairs" if size else NONE))
    top = sources(pairs).dropna().head(3)
    named = [f"{block_of(row)} {row['value']:.2f}" for _, row in top.iterrows()]
    lines.append(f"most on average over all later blocks: {listed(named) if named else NONE}")
    lines.append("longest chain of blocks in which each changes the next one by at least")
    lines += [
        f"  {row.threshold:4g}: {row.value:.0f} of {blocks} (95 % CI {row.ci_low:.0f}–"
        f"{row.ci_high:.0f})"
        for row in depths.itertuples()
    ]
    return "\n".join(lines)


def sources(pairs: pd.DataFrame) -> pd.DataFrame:
    """The mean over all later blocks of what deleting each block changes, the largest first."""
    named = pairs.astype({"block": int}).groupby(["block", "name"])["value"].mean().reset_index()
    return named.sort_values("value", ascending=False, ignore_index=True)


@of_its_inputs
def effective_depth(result: Result) -> Finding:
    """How deep is the network: how many of its blocks stand one upon the other?"""
    pairs, depths = _pairs(result.table), _depths(result.table)
    row = depths[depths["threshold"] == DEEP].iloc[0]
    near, far = _distances(pairs).values()
    values = {
        "depth": row["value"], "depth_low": row["ci_low"], "depth_high": row["ci_high"],
        "blocks": int(pairs["on"].max()), "threshold": 100 * DEEP, "near": near["value"].median(),
        "far": far["value"].median(), "images": int(pairs["images"].iloc[0]),
    }  # fmt: skip
    return Finding(
        Sentence(
            "Of the {blocks} blocks at most {depth:.0f}"
            f"{interval('depth', values, '.0f', '')} form a chain in which deleting each changes "
            "the next one’s branch by {threshold:g} % of its size or more; in the median it "
            "changes by {near:.2f} times its size where the block right before is deleted, and by "
            "{far:.2f} where the block lies half the network before ({images} images).",
            values,
        )
    )


def _distances(pairs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    apart = (pairs["on"] - pairs["block"]).astype(int)
    return {NEXT: pairs[apart == 1], FAR: pairs[apart >= int(pairs["on"].max()) / 2]}


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["quantity"] == "influence"]


def _depths(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["quantity"] == "depth"]
