"""Whether lesioned networks err apart from each other, and what averaging them gains."""

from __future__ import annotations

from typing import Any

import pandas as pd

from resnet_probe.findings.sentence import Finding, Sentence, estimate, inside, of_its_inputs
from resnet_probe.findings.verdict import UNDECIDED, at_least, one_of
from resnet_probe.results import Result
from resnet_probe.stats import Estimate
from resnet_probe.stats.bootstrap import difference

NEAR = 0.25
"""Sub-networks are compared with networks trained apart where their mean errors differ by at most
this part of the latter's."""


@of_its_inputs
def summarize_agreement(result: Result) -> str:
    """The lines that a run of `agreement` prints."""
    table = result.table
    whole = table[table["kind"] == "whole"].iloc[0]
    lines = [
        f"whole network: {estimate(whole, 2, ' %')} error, {whole['images']:,} images",
        "blocks deleted  networks  mean error   averaged (p against whole)   φ of errors   differ",
    ]
    lesioned = table[table["kind"] == "lesioned"]
    for edits, rows in lesioned.groupby("edits"):
        by = rows.set_index("quantity")
        together = by.loc["averaged_error_pct"]
        lines.append(
            f"{edits:>14}  {rows['networks'].iloc[0]:>8}  {by['value']['error_pct']:8.2f} %   "
            f"{together['value']:8.2f} % (p = {together['p_value']:.2g})".ljust(60)
            + f" {_number(by['value']['error_correlation'])}      "
            + _number(by["value"]["disagreement_pct"], " %")
        )
    lines += _verdict(lesioned)
    if (table["kind"] == "ensemble").any():
        lines += [*_members(table), str(true_ensemble(result).sentence)]
    return "\n".join(lines)


def _members(table: pd.DataFrame) -> list[str]:
    """The true ensemble in a line, then as many sub-networks at a time, by count."""
    lines = ["", "             members  mean error   averaged   removed   ambiguity   φ of errors"]
    rows = table[table["kind"].isin(["ensemble", "subnetworks"])]
    for (kind, edits), some in rows.groupby(["kind", "edits"]):
        value = some.set_index("quantity")["value"]
        name = "trained apart" if kind == "ensemble" else f"without {edits:>2}"
        lines.append(
            f"{name:>14} {some['networks'].iloc[0]:>5} {value['error_pct']:9.2f} % "
            f"{value['averaged_error_pct']:8.2f} % {value['removed_pct']:6.1f} % "
            f"{value['ambiguity_pct']:9.1f} %    {_number(value['error_correlation'])}"
        )
    return lines


def nearest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the sub-networks whose mean error is nearest to that of the true ensemble."""
    errors = table[table["quantity"] == "error_pct"]
    apart = errors[errors["kind"] == "ensemble"]["value"].iloc[0]
    subs = errors[errors["kind"] == "subnetworks"]
    count = subs.loc[(subs["value"] - apart).abs().idxmin(), "edits"]
    return table[(table["kind"] == "subnetworks") & (table["edits"] == count)]


@of_its_inputs
def true_ensemble(result: Result) -> Finding:
    """Are sub-networks of one network as diverse as networks that were trained apart?

    Judged by the ambiguity as a share of the mean squared error, at the nearest mean error.
    """
    table = result.table
    rows = table[table["kind"] == "ensemble"].set_index("quantity")
    subs = nearest(table).set_index("quantity")
    ends = [Estimate(*some.loc["ambiguity_pct", ["value", "ci_low", "ci_high"]].astype(float))
            for some in (subs, rows)]  # fmt: skip
    found = difference(*ends)
    errors = [float(some["value"]["error_pct"]) for some in (subs, rows)]
    near = abs(errors[0] - errors[1]) <= NEAR * errors[1]
    verdict = at_least(found, 0.0) if near else UNDECIDED
    values: dict[str, Any] = {
        "networks": int(rows["networks"].iloc[0]), "without": int(subs["edits"].iloc[0]),
        "apart": found.value, "apart_low": found.low, "apart_high": found.high,
        "near": 100 * NEAR,
    }  # fmt: skip
    for name, some in (("", rows), ("sub_", subs)):
        for what in ("error_pct", "averaged_error_pct", "ambiguity_pct", "error_correlation"):
            values[f"{name}{what}"] = some.loc[what, "value"]
    opening = one_of(
        verdict,
        "Sub-networks are as diverse as networks trained apart: ",
        "Sub-networks are less diverse than networks trained apart: ",
        "Whether sub-networks are as diverse as networks trained apart is not decided: ",
    )
    return Finding(
        Sentence(
            f"{opening}averaging {{networks}} of the former (deleted blocks in each: {{without}}) "
            "takes the error from {sub_error_pct:.2f} to {sub_averaged_error_pct:.2f} %, averaging "
            "{networks} of the latter from {error_pct:.2f} to {averaged_error_pct:.2f} %; their "
            "ambiguity is {sub_ambiguity_pct:.1f} and {ambiguity_pct:.1f} % of the squared error "
            f"({{apart:+.1f}} points, {inside('apart', values, '+.1f', '')}), φ of their errors "
            "{sub_error_correlation:.2f} and {error_correlation:.2f}.",
            values,
        ),
        claim="sub-networks are as diverse as an ensemble of networks",
        rule=Sentence(
            "As diverse means that the ambiguity of as many sub-networks, in per cent of their "
            "mean squared error, is no less than that of networks trained apart, the whole "
            "interval of the difference included; the claim fails where the whole interval lies "
            "below. The sub-networks are those whose mean error is nearest; nothing is decided "
            "where it differs by more than {near:g} % of it.",
            values,
        ),
        verdict=verdict,
        estimate=found,
    )


def _verdict(lesioned: pd.DataFrame) -> list[str]:
    first = lesioned[lesioned["edits"] == lesioned["edits"].min()].set_index("quantity")
    error, together = (first["value"][name] for name in ("error_pct", "averaged_error_pct"))
    row = first.loc["error_correlation"]
    if pd.isna(row["value"]):
        return []
    count = int(first["edits"].iloc[0])
    return [
        f"networks without {count} block{'s' * (count > 1)}: φ of their errors {estimate(row)} (0: "
        "they err independently, 1: on the same images); averaging them takes the error from "
        f"{error:.2f} to {together:.2f} %"
    ]


def _number(value: float, unit: str = "") -> str:
    if pd.isna(value):
        return "   –  "
    return f"{value:6.2f}{unit}" if unit else f"{value:6.3f}"
