"""Whether responses are small, smaller in deeper networks, and which blocks stand out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd

from resnet_probe.findings.sentence import (
    Finding,
    Sentence,
    block_of,
    estimate,
    interval,
    listed,
    of_its_inputs,
)
from resnet_probe.findings.verdict import (
    FAILS,
    HOLDS,
    SMALL,
    UNDECIDED,
    at_least,
    at_most,
    one_of,
)
from resnet_probe.results import Result
from resnet_probe.stats import Estimate, median_interval
from resnet_probe.stats.bootstrap import difference
from resnet_probe.studies.responses.quantities import RANKED

SPIKE = 2.0
"""A block's ratio stands out from this many times its network's median on."""


@of_its_inputs
def summarize_responses(result: Result) -> str:
    """The lines that a run of `responses` prints, for one network or several."""
    table = result.table
    networks = table[table["place"] == "network"].set_index("arch")
    lines = ["mean over the weight layers of the std of their responses:"]
    lines += [
        f"  {arch:<24} {estimate(row, 3)}, {_taken(table, str(arch))}"
        for arch, row in networks.iterrows()
    ]
    lines += [*_deeper(table, networks), *_plain(table, networks)]
    for arch in dict.fromkeys(table["arch"]):
        rows = table[(table["arch"] == arch) & (table["place"] == "block")]
        lines += _blocks(rows, f"{arch}: ")
        one = Result(result.study, table[table["arch"] == arch], result.provenance)
        scores = (score_of_cost(one, quantity) for quantity in SCORES)
        lines += [f"{arch}: {found.sentence}" for found in scores if found is not None]
    return "\n".join(lines)


def _taken(table: pd.DataFrame, arch: str) -> str:
    layers = _layers(table, arch)
    where = "behind batch norm" if _normed(table, arch) else "of the convolutions themselves"
    if not _normed(table, arch) and (layers["taken"] == "norm").any():
        where = "behind batch norm where a layer has it"
    return f"{len(layers)} layers, {where}"


def _deeper(table: pd.DataFrame, networks: pd.DataFrame) -> list[str]:
    """Is it smaller in deeper residual networks?  Only what is taken behind norms is compared."""
    names = [str(a) for a in networks.index if _residual(table, str(a)) and _normed(table, str(a))]
    names.sort(key=lambda arch: len(_layers(table, arch)))
    if len(names) < 2:
        return []
    steps = {_below(networks, deep, shallow) for shallow, deep in pairwise(names)}
    verdict = next(each for each in (FAILS, UNDECIDED, HOLDS) if each in steps)
    numbers = " > ".join(names), ", ".join(f"{networks['value'][name]:.3f}" for name in names)
    return [f"deeper is smaller, {numbers[0]}: {one_of(verdict, *HERE)} ({numbers[1]})"]


HERE = ("holds here", "does not hold here", "is not decided here")


def _below(networks: pd.DataFrame, one: str, other: str) -> str:
    """The verdict that the one network's mean is below the other's."""
    ends = (Estimate(*networks.loc[name, ["value", "ci_low", "ci_high"]].astype(float))
            for name in (one, other))  # fmt: skip
    return at_most(difference(*ends), 0.0)


def _plain(table: pd.DataFrame, networks: pd.DataFrame) -> list[str]:
    """Is a residual network below the plain one whose number of layers is nearest to its own?"""
    plain = [str(a) for a in networks.index if not _residual(table, str(a))]
    lines = []
    for arch in (str(a) for a in networks.index if _residual(table, str(a))):
        like = [other for other in plain if _normed(table, other) == _normed(table, arch)]
        if not like:
            continue
        depth = len(_layers(table, arch))
        other = min(like, key=lambda name: abs(len(_layers(table, name)) - depth))
        one, two = (networks["value"][name] for name in (arch, other))
        verdict = one_of(_below(networks, arch, other), *HERE)
        lines.append(
            f"residual below plain, {arch} < {other}: {verdict} ({one:.3f} against {two:.3f})"
        )
    return lines


def _blocks(rows: pd.DataFrame, name: str) -> list[str]:
    lines = []
    ratio = rows[(rows["quantity"] == "ratio") & rows["value"].notna()]
    if len(ratio):
        middle = ratio["value"].median()
        spikes = ratio[ratio["value"] >= SPIKE * middle].sort_values("value", ascending=False)
        found = [f"{block_of(row)} {row['value']:.2f}" for _, row in spikes.iterrows()]
        lines.append(
            f"{name}‖F‖/‖shortcut‖ has the median {middle:.2f} over blocks; at least twice that: "
            + (f"blocks {listed(found)}" if found else "none")
        )
    cosine = rows[(rows["quantity"] == "cosine_gradient_sum") & rows["value"].notna()]
    if len(cosine):
        against = (cosine["ci_high"] < 0).sum()
        lines.append(
            f"{name}the response points against the loss gradient (cosine below 0, interval too) "
            f"in {against} of {len(cosine)} blocks; in the last one {estimate(cosine.iloc[-1])}"
        )
    lines += _undefined(rows, name)
    return lines


ORDERS = 0.7
"""Spearman's ρ from which on a score is said to order the blocks: half of the ranks' variance."""
SCORES = {"influence_rank": "Block Influence", "ratio_rank": "‖F‖/‖shortcut‖"}


@of_its_inputs
def score_of_cost(result: Result, quantity: str = "influence_rank") -> Finding | None:
    """Does a score that needs no deletion order the blocks by what deletions cost?

    Of one network; None where that was not measured.
    """
    table = result.table
    rows = table[(table["place"] == "blocks") & (table["quantity"] == quantity)]
    if rows.empty or rows["value"].isna().all():
        return None
    row = rows.iloc[0]
    found = Estimate(*row[["value", "ci_low", "ci_high"]].astype(float))
    verdict = at_least(found, ORDERS)
    cost = table[table["quantity"] == "deletion_cost"]
    score = table[table["quantity"] == RANKED[quantity]]
    cost = cost[cost["block"].isin(score.loc[score["value"].notna(), "block"])]
    values = {
        "score": SCORES[quantity], "blocks": len(cost), "rho": found.value, "rho_low": found.low,
        "rho_high": found.high, "least": ORDERS, "images": int(row["images"]),
        "telling": int(((cost["ci_low"] > 0) | (cost["ci_high"] < 0)).sum()),
    }  # fmt: skip
    opening = one_of(
        verdict,
        "{score} orders the blocks by what their deletion costs: ",
        "{score} does not order the blocks by what their deletion costs: ",
        "Whether {score} orders the blocks by what their deletion costs is not decided: ",
    )
    return Finding(
        Sentence(
            f"{opening}Spearman’s ρ over the {{blocks}} blocks is {{rho:.2f}}"
            f"{interval('rho', values, unit='')}, on {{images}} images, where the change in loss "
            "of {telling} blocks is told from none.",
            values,
        ),
        claim=f"{SCORES[quantity]} orders the blocks by what their deletion costs",
        rule=Sentence(
            "It does where Spearman’s ρ over blocks is at least {least:g}, the whole interval "
            "included; the claim fails where the whole interval lies below.",
            values,
        ),
        verdict=verdict,
        estimate=found,
    )


def _undefined(rows: pd.DataFrame, name: str) -> list[str]:
    """Quantities without a value: a constant response or shortcut, or no shortcut at all."""
    if rows["value"].notna().all():
        return []
    if rows[rows["quantity"] == "ratio"]["value"].isna().all():
        return [f"{name}no block has two terms to compare: no shortcuts, or nothing passes them"]
    lost = rows[rows["value"].isna() & rows["quantity"].isin(("ratio", "variance_ratio"))]
    found = [f"{row['quantity']} of block {block_of(row)}" for _, row in lost.iterrows()]
    return [f"{name}not defined on these images (nothing varies): {listed(found)}"] if found else []


def _layers(table: pd.DataFrame, arch: str) -> pd.DataFrame:
    return table[(table["arch"] == arch) & (table["place"] == "layer")]


def _normed(table: pd.DataFrame, arch: str) -> bool:
    return bool((_layers(table, arch)["taken"] == "norm").all())


def _residual(table: pd.DataFrame, arch: str) -> bool:
    ratio = table[(table["arch"] == arch) & (table["quantity"] == "ratio")]
    return bool(ratio["value"].notna().any())


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """‖F‖/‖shortcut‖ a block, those that are defined, in order."""
    rows = table[(table["place"] == "block") & (table["quantity"] == "ratio")]
    return rows[rows["value"].notna()].sort_values("number", ignore_index=True)


@of_its_inputs
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
    if result.provenance.get("residual", False):
        return Finding(Sentence("Nothing passes the shortcuts for a residual to be small beside."))
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
