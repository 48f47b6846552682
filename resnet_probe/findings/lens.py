"""From which depth on the classifier would answer as it does at the end."""

from __future__ import annotations

import pandas as pd

from resnet_probe.findings.sentence import Finding, Sentence, inside, interval, of_its_inputs
from resnet_probe.results import Result

SHARES = (50, 90)
RENEWED = "recalibrated_"


@of_its_inputs
def summarize_lens(result: Result) -> str:
    """The lines that a run of `lens` prints."""
    table = result.table
    last = table.iloc[-1]
    lines = [
        f"whole network: {last['accuracy_pct']:.2f} % right (95 % CI "
        f"{last['accuracy_low_pct']:.2f}–{last['accuracy_high_pct']:.2f} %), entropy "
        f"{last['entropy_nats']:.3f} nats, {last['images']:,} images"
    ]
    of = _of(result)
    lines += [_first(table, level, "", of) for level in SHARES]
    if table[f"{RENEWED}agreement_pct"].notna().any():
        lines.append("with batch-norm statistics re-estimated at each depth:")
        lines += ["  " + _first(table, level, RENEWED, of) for level in SHARES]
    carried = str(table["carried_by"].iloc[0])
    if "projection" in carried:
        lines.append(f"the states are carried on through shortcuts with weights ({carried})")
    elif carried:
        lines.append(f"states of another width are carried on by the shortcuts behind ({carried})")
    return "\n".join(lines)


def _of(result: Result) -> str:
    """What has one answer each: an image, or of tokens and pixels a position."""
    return "positions" if result.provenance.get("labels") == "places" else "images"


def _first(table: pd.DataFrame, level: int, kind: str, of: str) -> str:
    """The depth from which on the agreement stays at or above a level."""
    rows = table[table[f"{kind}agreement_pct"].notna()]
    enough = rows[f"{kind}agreement_pct"] >= level
    stays = enough[::-1].cummin()[::-1]
    if not stays.any():
        return f"{level} % of the {of} never have the final answer"
    row = rows[stays].iloc[0]
    low, high = (row[f"{kind}agreement_{end}_pct"] for end in ("low", "high"))
    where = f"block {row['block']} ({row['name']})" if row["block"] else "the stem"
    return (
        f"{level} % of the {of} have the final answer from {where} on, of "
        f"{table['block'].max()}: {row[f'{kind}agreement_pct']:.1f} % "
        f"(95 % CI {low:.1f}–{high:.1f} %)"
    )


LEVELS = {"half": 50.0, "most": 90.0}


def first_to_stay(table: pd.DataFrame, level: float) -> pd.Series | None:
    """The row of the first depth from which on the agreement stays at `level` % or above."""
    stays = (table["agreement_pct"] >= level)[::-1].cummin()[::-1]
    return table[stays].iloc[0] if stays.any() else None


@of_its_inputs
def answer_depth(result: Result) -> Finding:
    """When is the answer there?  From the table of a lens; a description, no claim."""
    table = result.table
    last = table.iloc[-1]
    found = Sentence("Read through the last classifier, ")
    of = _of(result)
    for name, level in LEVELS.items():
        found += _from(table, name, level, of) + Sentence(" and " if name == "half" else "")
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


def _from(table: pd.DataFrame, name: str, level: float, of: str) -> Sentence:
    row = first_to_stay(table, level)
    if row is None:
        return Sentence(f"{{{name}:g}} % of the {of} never have the final answer", {name: level})
    where = f"block {{{name}_block}}" if row["block"] else "the stem"
    values = {
        name: level, f"{name}_block": int(row["block"]), f"{name}_share": row["agreement_pct"],
        f"{name}_share_low": row["agreement_low_pct"],
        f"{name}_share_high": row["agreement_high_pct"],
    }  # fmt: skip
    shown = inside(f"{name}_share", values, ".1f")
    return Sentence(
        f"{{{name}:g}} % of the {of} have their final answer from {where} on "
        f"({{{name}_share:.1f}} %, {shown})",
        values,
    )
