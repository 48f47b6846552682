"""Which blocks carry the decision, and whether their shares simply add up."""

from __future__ import annotations

from typing import Any

import pandas as pd

from resnet_probe.findings.sentence import (
    Finding,
    Sentence,
    block_of,
    estimate,
    inside,
    interval,
    listed,
    of_its_inputs,
)
from resnet_probe.findings.verdict import FAILS, UNDECIDED
from resnet_probe.results import Result
from resnet_probe.stats import Estimate, wilson

TOP = 5


@of_its_inputs
def summarize_attribution(result: Result) -> str:
    """The lines that a run of `attribute` prints."""
    table = result.table
    lines = []
    for metric in ("accuracy", "loss", "margin"):
        whole, none = (_only(table, method, metric) for method in ("network", "none"))
        unit = " %" if metric == "accuracy" else f" {whole['unit']}"
        lines.append(
            f"{metric}: {estimate(whole, 3, unit)} with all blocks, {estimate(none, 3, unit)} with "
            "no branch at all"
        )
    for method, name in (("ablation", "deleted alone"), ("shapley", "Shapley value")):
        rows = _shares(table, method, "accuracy")
        if len(rows):
            top = rows.nlargest(TOP, "value")
            found = [f"{block_of(row)} {row['value']:.2f}" for _, row in top.iterrows()]
            lines.append(f"{name}, points of accuracy, largest: {listed(found)}")
    lines += _shapley(table)
    gaps = {n: v for n, v in result.provenance.items() if n.startswith("gap_")}
    if gaps:
        shown = ", ".join(
            f"{n.split('_')[1]} " + ("undefined" if pd.isna(v) else f"{v:.2f} %")
            for n, v in gaps.items()
        )  # fmt: skip
        steps = result.provenance.get("steps", float("nan"))
        lines.append(f"integrated gradients: completeness gap {shown} ({steps:.0f} steps)")
    return "\n".join([*lines, *_interactions(table)])


def _shapley(table: pd.DataFrame) -> list[str]:
    rows = _shares(table, "shapley", "accuracy")
    if rows.empty:
        return []
    total = rows["value"].sum()
    apart = _only(table, "network", "accuracy")["value"] - _only(table, "none", "accuracy")["value"]
    count = int(rows["permutations"].iloc[0])
    how = f"{count} random orders, standard error of a block at most {{:.2f}}" if count else "exact"
    how = how.format(rows["permutation_se"].max())
    return [f"Shapley values add up to {total:.2f} of {apart:.2f} points ({how})"]


def _interactions(table: pd.DataFrame) -> list[str]:
    rows = table[table["method"] == "interactions"]
    lines = []
    for metric, some in rows.groupby("metric", sort=False):
        more, less = (some["ci_low"] > 0).sum(), (some["ci_high"] < 0).sum()
        single = _shares(table, "ablation", str(metric))
        sign = 1
        if metric == "loss":  # what is lost of it is gained
            sign, more, less = -1, less, more
        typical = f" ({sign * single['value'].mean():+.3f} each)" if len(single) else ""
        lines.append(
            f"two blocks deleted together cost {sign * some['value'].mean():+.3f} "
            f"{some['unit'].iloc[0]} of {metric} on average beyond the sum of each alone{typical}; "
            f"beyond their interval {more} of {len(some)} pairs cost more and {less} less (by "
            f"chance about {CHANCE / 100 * len(some):.0f})"
        )
    return lines


def _shares(table: pd.DataFrame, method: str, metric: str) -> pd.DataFrame:
    chosen = (table["method"] == method) & (table["metric"] == metric) & table["class"].isna()
    return table[chosen]


def _only(table: pd.DataFrame, method: str, metric: str) -> pd.Series:
    return _shares(table, method, metric).iloc[0]


CHANCE = 5.0
"""Per cent of the pairs whose 95 % interval leaves out 0 by chance alone."""


def shares(table: pd.DataFrame, method: str, metric: str = "accuracy") -> pd.DataFrame:
    """The rows of a method over all images, a block or pair each."""
    chosen = (table["method"] == method) & (table["metric"] == metric) & table["class"].isna()
    return table[chosen]


@of_its_inputs
def block_shares(result: Result) -> Finding:
    """Which blocks carry accuracy, and do the shares add up?  From the table of an attribution.

    Additivity is tested in the margin of the true class, by how many pairs of blocks cost more or
    less together than the sum of each alone.  The interval is Wilson's; it takes pairs to be
    independent, which makes it too narrow.
    """
    table = result.table
    shapley, pairs = shares(table, "shapley"), shares(table, "interactions", "margin")
    start = _largest(shapley) if len(shapley) else Sentence("")
    if pairs.empty:
        return Finding(start + Sentence(" Pairs of blocks were not measured."))
    clear = int(((pairs["ci_low"] > 0) | (pairs["ci_high"] < 0)).sum())
    low, high = wilson(clear, len(pairs))
    found = Estimate(100 * clear / len(pairs), 100 * float(low), 100 * float(high))
    # That few pairs stand out may be for want of images: a test can refute additivity, not show it.
    verdict = FAILS if found.low > CHANCE else UNDECIDED
    values = {
        "pairs": len(pairs), "clear": clear, "clear_share": found.value,
        "clear_low": found.low, "clear_high": found.high, "beyond": pairs["value"].mean(),
        "alone": shares(table, "ablation", "margin")["value"].mean(), "chance": CHANCE,
        "images": pairs["images"].iloc[0],
    }  # fmt: skip
    return Finding(
        sentence=start + _pairs(values, verdict),
        claim="the costs of deletions add up",
        rule=Sentence(
            "The costs do not add up where more than {chance:g} % of the pairs, as many as by "
            "chance, differ from the sum of their two by more than their interval, the interval of "
            "that share included. Fewer pairs than that decide nothing: more images might show "
            "more.",
            values,
        ),
        verdict=verdict,
        estimate=found,
    )


def _pairs(values: dict[str, Any], verdict: str) -> Sentence:
    opening = (
        " The costs of deletions do not simply add up: "
        if verdict == FAILS
        else " That the costs of deletions add up is not refuted: "
    )
    return Sentence(
        f"{opening}two blocks deleted together cost {{beyond:+.2f}} logits of the true "
        "class’s margin on average beyond the sum of each alone ({alone:+.2f} each); {clear} of "
        f"{{pairs}} pairs ({{clear_share:.1f}} %, {inside('clear', values, '.1f')}) lie beyond "
        "their interval on these {images} images, where chance alone would put about {chance:g} %.",
        values,
    )


def _largest(rows: pd.DataFrame) -> Sentence:
    ranked = rows.sort_values("value", ascending=False, kind="stable")
    top, total = ranked.iloc[0], float(rows["value"].sum())
    enough = int((ranked["value"].cumsum() < total / 2).sum()) + 1
    values = {
        "top": top["value"], "top_low": top["ci_low"], "top_high": top["ci_high"],
        "top_block": int(top["block"]), "top_name": str(top["name"]), "total": total,
        "enough": enough, "of": len(rows),
    }  # fmt: skip
    hold = "holds" if enough == 1 else "hold"
    return Sentence(
        "By Shapley value block {top_block} ({top_name}) carries most, {top:.2f} points of accuracy"
        f"{interval('top', values, unit='')}, and the {{enough}} largest of {{of}} {hold} half of "
        "the {total:.2f} points between all branches and none.",
        values,
    )
