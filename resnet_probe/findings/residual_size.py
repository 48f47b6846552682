"""Whether the residuals are small, in sentences for a reader."""

from __future__ import annotations

from typing import Any

import pandas as pd

from resnet_probe.findings.finding import Finding, at_most, one_of
from resnet_probe.findings.sentence import Sentence, interval
from resnet_probe.results import Result
from resnet_probe.stats import median_interval

SMALL = 0.5
"""‖F‖ at half of ‖shortcut‖ lengthens what it is added to by 12 % where the two are orthogonal."""


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """‖F‖/‖shortcut‖ a block, those that are defined, in order."""
    rows = table[(table["place"] == "block") & (table["quantity"] == "ratio")]
    return rows[rows["value"].notna()].sort_values("number", ignore_index=True)


def small_residuals(result: Result) -> Finding:
    """Are residuals small beside what they are added to?  From the table of responses.

    The interval is that of the median over blocks: between order statistics.
    """
    rows = ratios(result.table)
    if rows.empty:
        return _layers_only(result)
    middle = median_interval(rows["value"])
    verdict = at_most(middle, SMALL)
    top, last = rows.iloc[int(rows["value"].to_numpy().argmax())], rows.iloc[-1]
    values = {
        "blocks": len(rows), "median": middle.value, "median_low": middle.low,
        "median_high": middle.high, "top": top["value"], "top_low": top["ci_low"],
        "top_high": top["ci_high"], "top_block": int(top["block"]), "top_name": str(top["name"]),
        "last": last["value"], "last_low": last["ci_low"], "last_high": last["ci_high"],
        "last_name": str(last["name"]), "small": SMALL, "images": rows["images"].iloc[0],
    }  # fmt: skip
    opening = one_of(
        verdict,
        "Its residuals are small: ",
        "Its residuals are not small: ",
        "Whether its residuals are small is not decided: ",
    )
    return Finding(
        sentence=_in_full(values) + _against(result.table),
        answer=Sentence(
            f"{opening}in the median over blocks a residual has {{median:.2f}} times the size of "
            f"what it is added to{interval('median', values, unit='')}, and at most {{top:.2f}} "
            "times (block {top_block}).",
            values,
        ),
        claim="residuals are small",
        rule=Sentence(
            "“Small” means that the median over blocks of ‖F‖ / ‖shortcut‖ is at most {small:g}, "
            "its whole interval included; the claim fails where the whole interval lies above.",
            values,
        ),
        verdict=verdict,
        estimate=middle,
    )


def _in_full(values: dict[str, Any]) -> Sentence:
    return Sentence(
        "‖F‖ / ‖shortcut‖ has the median {median:.2f} over the {blocks} blocks"
        f"{interval('median', values, unit='')}; it is largest in block {{top_block}} "
        f"({{top_name}}) with {{top:.2f}}{interval('top', values, unit='')}, and {{last:.2f}}"
        f"{interval('last', values, unit='')} in the last block.",
        values,
    )


def _against(table: pd.DataFrame) -> Sentence:
    rows = table[(table["quantity"] == "cosine_gradient_sum") & table["value"].notna()]
    if rows.empty:
        return Sentence("")
    values = {"against": int((rows["ci_high"] < 0).sum()), "measured": len(rows)}
    return Sentence(
        " In {against} of {measured} blocks the residual points against the gradient of the loss "
        "(its cosine and the whole interval below zero), which is to say that it lowers the loss "
        "as a step of gradient descent would.",
        values,
    )


def _layers_only(result: Result) -> Finding:
    """A network without shortcuts: there is nothing that a response could be small beside."""
    row = result.table[result.table["place"] == "network"].iloc[0]
    values = {"std": row["value"], "std_low": row["ci_low"], "std_high": row["ci_high"]}
    return Finding(
        Sentence(
            "Without shortcuts no response has anything to be small beside; the mean over the "
            "weight layers of the standard deviation of their responses is {std:.3f}"
            f"{interval('std', values, '.3f', '')}.",
            values,
        )
    )
