"""Do the blocks of a network add up, or do they act together?"""

from __future__ import annotations

import pandas as pd

from resnet_probe.findings.sentence import Finding, Sentence, inside, of_its_inputs
from resnet_probe.findings.verdict import at_least, one_of
from resnet_probe.results import Result
from resnet_probe.stats import Estimate

ADDITIVE = 90.0
"""Per cent of the variance from which on the blocks are said to add up."""
SHOWN = 4
SAYS = "what it says"


@of_its_inputs
def summarize_interactions(result: Result) -> str:
    """The lines that a run of `interactions` prints."""
    table = result.table
    first = table.iloc[0]
    how = "drawn networks" if first["drawn"] else "networks, all that there are"
    lines = [
        f"{first['gates']} gates, {first['networks']:,} {how}; % of the variance of the "
        f"{result.identity.get('what', 'logits')} by order, on {first['images']} images"
    ]
    for keep, rows in table.groupby("keep"):
        lines.append(f"each block kept with the chance {keep:g}:")
        lines += [_line(row) for _, row in rows.head(SHOWN).iterrows()]
        if len(rows) > SHOWN:
            lines.append(f"  higher orders  {rows['value'].iloc[SHOWN:].sum():6.1f} %")
    return "\n".join([*lines, str(additive(result).sentence)])


def _line(row: pd.Series) -> str:
    name = f"order {row['order']}" + (" and more" if row["or_more"] else "")
    if pd.isna(row["value"]):
        return f"  {name:<14} undefined: nothing varies"
    return (
        f"  {name:<14} {row['value']:6.1f} %  (95 % CI {row['ci_low']:.1f} to {row['ci_high']:.1f})"
    )


@of_its_inputs
def additive(result: Result) -> Finding:
    """Do the blocks add up?  Judged at the largest chance, nearest to the whole network."""
    table = result.table
    near = table[table["keep"] == table["keep"].max()]
    row = near[near["order"] == 1].iloc[0]
    pair = near[near["order"] == 2].iloc[0]
    found = Estimate(*row[["value", "ci_low", "ci_high"]].astype(float))
    verdict = at_least(found, ADDITIVE)
    values = {
        "keep": 100 * row["keep"], "gates": int(row["gates"]), "share": found.value,
        "share_low": found.low, "share_high": found.high, "least": ADDITIVE,
        "pairs": pair["value"], "images": int(row["images"]),
    }  # fmt: skip
    of = "its loss" if result.identity.get("what") == "loss" else SAYS
    opening = one_of(
        verdict,
        "Its blocks add up: ",
        "Its blocks do not add up: ",
        "Whether its blocks add up is not decided: ",
    )
    sentence = Sentence(
        f"{opening}with each of {{gates}} blocks kept with a chance of {{keep:g}} %, single "
        f"blocks explain {{share:.1f}} % of the variance of {of} "
        f"({inside('share', values, '.1f')}), and pairs another {{pairs:.1f}} % ({{images}} "
        "images).",
        values,
    )
    if pd.isna(found.value):
        said = "Nothing that it says" if of == SAYS else "Its loss nowhere"
        sentence = Sentence(f"{said} changes with its blocks.")
    return Finding(
        sentence,
        claim="the blocks add up",
        rule=Sentence(
            "They add up where single blocks explain at least {least:g} % of the variance, the "
            "whole interval included; the claim fails where the whole interval lies below.",
            values,
        ),
        verdict=verdict,
        estimate=found,
    )
