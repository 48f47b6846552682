"""What deleting blocks says about a network, in sentences for a reader."""

from __future__ import annotations

from typing import Any

import pandas as pd

from resnet_probe import published
from resnet_probe.findings.finding import Finding, at_most, one_of
from resnet_probe.findings.sentence import Sentence, interval
from resnet_probe.results import Result
from resnet_probe.stats import holm, median_interval

LEVEL = 0.05
HARMLESS = 0.5
"""Points of error: what the median deletion costs at most in the published 110-layer network."""
HALF = 50.0


def single_deletions(result: Result) -> Finding:
    """Is losing one block harmless?  From the table of a lesion with one deletion a row.

    The interval is that of the median over blocks, on the same images: between order statistics.
    """
    base, edited = result.table.iloc[0], result.table.iloc[1:]
    middle = median_interval(edited["delta_pct"])
    error = median_interval(edited["error_pct"])
    worse = int(((holm(edited["p_value"]) < LEVEL) & (edited["delta_pct"] > 0)).sum())
    worst = edited.iloc[int(edited["error_pct"].to_numpy().argmax())]
    verdict = at_most(middle, HARMLESS)
    unit = "block" if result.provenance.get("residual", True) else "layer"
    values = {
        "blocks": len(edited), "median": error.value, "median_low": error.low,
        "median_high": error.high, "baseline": base["error_pct"], "worse": worse,
        "images": base["images"], "delta": middle.value, "delta_low": middle.low,
        "delta_high": middle.high, "worst": worst["error_pct"], "worst_low": worst["ci_low_pct"],
        "worst_high": worst["ci_high_pct"], "worst_block": int(worst["blocks"]),
        "worst_name": str(worst["names"]), "unit": unit, "level": LEVEL, "most": HARMLESS,
        "unharmed": len(edited) - worse,
    }  # fmt: skip
    return Finding(
        sentence=_in_full(values) + _beside(len(edited), unit == "block"),
        answer=Sentence(_opening(verdict) + _short(values), values),
        claim=f"losing one {unit} is harmless",
        rule=Sentence(
            "“Harmless” means that the median deletion adds at most {most:g} points of error, its "
            "whole interval included; the claim fails where the whole interval lies above.",
            values,
        ),
        verdict=verdict,
        estimate=middle,
    )


def _opening(verdict: str) -> str:
    return one_of(
        verdict,
        "Losing one {unit} is harmless here: ",
        "Losing one {unit} is not harmless here: ",
        "Whether losing one {unit} is harmless is not decided here: ",
    )


def _short(values: dict[str, Any]) -> str:
    return (
        "with any one of the {blocks} deleted, the median error is {median:.2f} %"
        f"{interval('median', values)} against "
        "{baseline:.2f} % for the whole network, and {unharmed} of the {blocks} deletions "
        "are not significantly worse."
    )


def _in_full(values: dict[str, Any]) -> Sentence:
    return Sentence(
        "Deleting one {unit} changes the error by {delta:+.2f} points in the median"
        f"{interval('delta', values, '+.2f', '')}, from the "
        "{baseline:.2f} % of the whole network; {worse} of {blocks} deletions are significantly "
        "worse (McNemar’s exact test on the same {images:,} images, Holm-corrected, p < "
        "{level:g}), and the worst is {unit} {worst_block} ({worst_name}) with "
        f"{{worst:.2f}} %{interval('worst', values)}.",
        values,
    )


def _beside(blocks: int, residual: bool) -> Sentence:
    """The published network with as many blocks, where there is one."""
    table = published.load("veit2016_depths")
    like = table[(table["n"] == blocks) & table["arch"].str.startswith("preresnet")]
    if like.empty or not residual:
        return Sentence("")
    row = like.iloc[0]
    return Sentence(
        " The published median for a network of as many blocks, on CIFAR images, is "
        "{published:.2f} % against {published_base:.2f} %, its worst block {published_block} with "
        "{published_worst:.2f} %.",
        {
            "published": row["median_pct"], "published_base": row["baseline_pct"],
            "published_block": int(row["worst_block"]), "published_worst": row["worst_pct"],
        },
    )  # fmt: skip


def several_deletions(result: Result) -> Finding:
    """How the error grows with the number of random deletions: a description, no claim."""
    base, medians = result.table.iloc[0], _medians(result.table, "edits")
    first, last = medians.iloc[0], medians.iloc[-1]
    broken = medians[medians["median"] >= HALF]
    values = {
        "few": first.name, "few_error": first["median"], "few_low": first["low"],
        "few_high": first["high"], "many": last.name, "many_error": last["median"],
        "many_low": last["low"], "many_high": last["high"], "draws": first["draws"],
        "baseline": base["error_pct"], "half": HALF,
    }  # fmt: skip
    start = Sentence(
        "The error grows with the number of blocks that are gone: the median of {draws:.0f} random "
        f"draws goes from {{few_error:.2f}} %{interval('few', values)} with {{few}} deleted to "
        f"{{many_error:.2f}} %{interval('many', values)} with {{many}}, from {{baseline:.2f}} % "
        "with none",
        values,
    )
    if broken.empty:
        return Finding(start + Sentence("; it stays below {half:g} %.", values))
    crossed = {**values, "crossed": broken.index[0]}
    return Finding(start + Sentence("; it reaches {half:g} % at {crossed} blocks.", crossed))


def other_orders(result: Result) -> Finding:
    """How the error changes as the order of the blocks moves away from the trained one."""
    table = result.table.assign(tau=result.table["tau"].round(2))
    base, medians = result.table.iloc[0], _medians(table, "tau").sort_index(ascending=False)
    near, far = medians.iloc[0], medians.iloc[-1]
    values = {
        "near": float(str(near.name)), "near_error": near["median"], "far": float(str(far.name)),
        "far_error": far["median"], "far_low": far["low"], "far_high": far["high"],
        "baseline": base["error_pct"], "draws": far["draws"],
    }  # fmt: skip
    opening = (
        "The further the order is from the trained one, the larger the error: "
        if far["median"] > near["median"]
        else "The error does not grow as the order moves away from the trained one: "
    )
    return Finding(
        Sentence(
            opening + "its median is {near_error:.2f} % at Kendall’s τ of {near:.2f} and "
            f"{{far_error:.2f}} %{interval('far', values)} at {{far:.2f}} ({{draws:.0f}} random "
            "orders), and "
            "{baseline:.2f} % in the trained order.",
            values,
        )
    )


def _medians(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The median error, its interval and the number of draws, by a column of the edited rows."""
    rows = table[table["kind"] != "baseline"]
    found = {
        key: (*median_interval(some["error_pct"]), len(some)) for key, some in rows.groupby(by)
    }
    return pd.DataFrame.from_dict(found, orient="index", columns=["median", "low", "high", "draws"])
