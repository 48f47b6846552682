"""How many blocks can go, and what measuring again after each deletion is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.findings.depth import POINTS, least_blocks
from resnet_probe.findings.lesion import whole_network
from resnet_probe.findings.sentence import (
    Finding,
    Sentence,
    interval,
    listed,
    of_its_inputs,
    unit_of_points,
)
from resnet_probe.findings.verdict import at_least, one_of
from resnet_probe.results import Result
from resnet_probe.stats import Estimate

GREEDY, SINGLE, INFLUENCE = "greedy", "single deletion", "block influence"
NAMES = {
    GREEDY: "measured again after each deletion",
    SINGLE: "by the cost of single deletions",
    INFLUENCE: "by Block Influence",
}
KEYS = {GREEDY: "again", SINGLE: "single", INFLUENCE: "score"}


@of_its_inputs
def what_remeasuring_buys(result: Result) -> Finding:
    """Do fewer errors come of measuring again after each deletion than of one ranking?

    Judged by how much more the order by single deletions costs, in the mean over how many blocks
    are gone, on images that no order was chosen on; its interval is over these images.
    """
    table = result.table
    values: dict[str, Any] = {
        "points": POINTS, "none": 0, "images": int(table["images"].iloc[0]),
        "chosen_on": int(result.provenance["chosen_on"]),
        "blocks": int(result.provenance["blocks"]), "most": int(table["edits"].max()),
    }  # fmt: skip
    parts = []
    for way, name in KEYS.items():
        values[name] = can_go(result, way)
        parts.append(f"{{{name}}} {NAMES[way]}")
    for way, found in result.provenance["against_pct"].items():
        name = f"{KEYS[way]}_more"
        values |= dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
    estimate = Estimate(*result.provenance["against_pct"][SINGLE])
    verdict = at_least(estimate, 0.0)
    opening = one_of(
        verdict,
        "Measuring again after each deletion is worth it: ",
        "Measuring again after each deletion is not worth it: ",
        "Whether measuring again after each deletion is worth it is not decided: ",
    )
    more = [
        f"{{{KEYS[way]}_more:+.2f}} points in the order {NAMES[way]}"
        f"{interval(f'{KEYS[way]}_more', values, '+.2f', '')}"
        for way in result.provenance["against_pct"]
    ]
    return Finding(
        Sentence(
            opening + "of {blocks} blocks as many can go within {points:g} "
            f"{unit_of_points(POINTS)} of error: "
            + ", ".join(parts)
            + "; over the first {most} deletions the error is higher in the mean by "
            + " and by ".join(more)
            + " (chosen on {chosen_on} images, measured on {images} others).",
            values,
        ),
        claim="measuring again after each deletion finds blocks that cost less",
        rule=Sentence(
            "The whole interval of how much more the order by single deletions costs has to lie "
            "above {none} points.",
            values,
        ),
        verdict=verdict,
        estimate=estimate,
    )  # fmt: skip


def can_go(result: Result, way: str) -> int:
    """The most blocks that an order lets go while the error stays within `POINTS` of the whole."""
    table, blocks = result.table, int(result.provenance["blocks"])
    rows = table[table["kind"].isin(["baseline", way])]
    return blocks - int(least_blocks(rows, blocks, "delta_pct", POINTS).value)


@of_its_inputs
def summarize_greedy(result: Result) -> str:
    """The lines that a run of `greedy` prints."""
    table = result.table
    orders = {way: table[table["kind"] == way] for way in NAMES}
    lines = [
        whole_network(result, table.iloc[0]),
        "all errors are measured on images that nothing was chosen on; "
        f"{result.provenance['candidates']:,} edits tried on {result.provenance['chosen_on']:,} "
        "others; first to go: "
        + listed([f"{row.block} ({row.name})" for row in _named(orders[GREEDY])]),
        f"gone   error: greedy  {'(95 % CI)':<18} single deletion   block influence"
        + "   perplexity: greedy" * ("perplexity" in table),
    ]
    for count in _shown(int(table["edits"].max())):
        rows = [some[some["edits"] == count].iloc[0] for some in orders.values()]
        again = rows[0]
        ends = f"({again['ci_low_pct']:.2f}–{again['ci_high_pct']:.2f})"
        lines.append(
            f"{count:4d}        {again['error_pct']:6.2f} %  {ends:<18} "
            + "          ".join(f"{row['error_pct']:6.2f} %" for row in rows[1:])
            + (f"          {again['perplexity']:8.4g}" if "perplexity" in table else "")
        )
    found = what_remeasuring_buys(result)
    return "\n".join([*lines, str(found.sentence), f"{found.claim}: {found.verdict}"])


def _named(rows: pd.DataFrame) -> list[Any]:
    return list(rows[["block", "name"]].itertuples(index=False, name="Gone"))


def _shown(most: int) -> list[int]:
    """Some of the numbers of deletions: at most ten, first and last among them."""
    return sorted({round(float(x)) for x in np.linspace(1, most, min(most, 10))})
