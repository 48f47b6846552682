"""Whether lesioned networks err apart from each other, and what averaging them gains."""

from __future__ import annotations

import pandas as pd

from resnet_probe.findings.sentence import estimate
from resnet_probe.results import Result


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
            f"{by['value']['disagreement_pct']:6.2f} %"
        )
    return "\n".join([*lines, *_verdict(lesioned)])


def _verdict(lesioned: pd.DataFrame) -> list[str]:
    first = lesioned[lesioned["edits"] == lesioned["edits"].min()].set_index("quantity")
    error, together = (first["value"][name] for name in ("error_pct", "averaged_error_pct"))
    row = first.loc["error_correlation"]
    if pd.isna(row["value"]):
        return []
    return [
        f"networks without {first['edits'].iloc[0]} block: φ of their errors {estimate(row)} (0: "
        "they err independently, 1: on the same images); averaging them takes the error from "
        f"{error:.2f} to {together:.2f} %"
    ]


def _number(value: float) -> str:
    return "   –  " if pd.isna(value) else f"{value:6.3f}"
