"""From which depth on the network has its answer, in a sentence for a reader."""

from __future__ import annotations

import pandas as pd

from resnet_probe.findings.finding import Finding
from resnet_probe.findings.sentence import Sentence, inside, interval
from resnet_probe.results import Result

LEVELS = {"half": 50.0, "most": 90.0}


def first_to_stay(table: pd.DataFrame, level: float) -> pd.Series | None:
    """The row of the first depth from which on the agreement stays at `level` % or above."""
    stays = (table["agreement_pct"] >= level)[::-1].cummin()[::-1]
    return table[stays].iloc[0] if stays.any() else None


def answer_depth(result: Result) -> Finding:
    """When is the answer there?  From the table of a lens; a description, no claim."""
    table = result.table
    last = table.iloc[-1]
    found = Sentence("Read through the last classifier, ")
    for name, level in LEVELS.items():
        found += _from(table, name, level) + Sentence(" and " if name == "half" else "")
    values = {
        "accuracy": last["accuracy_pct"], "accuracy_low": last["accuracy_low_pct"],
        "accuracy_high": last["accuracy_high_pct"], "entropy": last["entropy_nats"],
        "stem_accuracy": table["accuracy_pct"].iloc[0], "blocks": int(table["block"].max()),
    }  # fmt: skip
    return Finding(
        found
        + Sentence(
            "; accuracy goes from {stem_accuracy:.1f} % before the first of the {blocks} blocks to "
            f"{{accuracy:.2f}} %{interval('accuracy', values)} after the last.",
            values,
        )
    )


def _from(table: pd.DataFrame, name: str, level: float) -> Sentence:
    row = first_to_stay(table, level)
    if row is None:
        return Sentence(f"{{{name}:g}} % of the images never have the final answer", {name: level})
    values = {
        name: level, f"{name}_block": int(row["block"]), f"{name}_share": row["agreement_pct"],
        f"{name}_share_low": row["agreement_low_pct"],
        f"{name}_share_high": row["agreement_high_pct"],
    }  # fmt: skip
    shown = inside(f"{name}_share", values, ".1f")
    return Sentence(
        f"{{{name}:g}} % of the images have their final answer from block {{{name}_block}} on "
        f"({{{name}_share:.1f}} %, {shown})",
        values,
    )
