"""One card a block: what all studies say of it, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from resnet_probe.findings.attribution import shares
from resnet_probe.findings.responses import ratios
from resnet_probe.results import Result
from resnet_probe.stats import holm

LEVEL = 0.05


def block_cards(results: Mapping[str, Result]) -> pd.DataFrame:
    """A row a block: `block`, `name`, `stage` and what was measured:
    `error`, `delta` (points), `p` (Holm-corrected), `ratio`, `shapley` (points of accuracy).

    Intervals are `…_low` and `…_high`; `classes` holds the points of accuracy that each class
    loses, by its number.  Empty without a lesion of single blocks.
    """
    if "lesion" not in results:
        return pd.DataFrame()
    cards = _lesion(results["lesion"].table)
    if "responses" in results:
        cards = cards.join(_named(ratios(results["responses"].table), "ratio"))
    if "attribute" in results:
        table = results["attribute"].table
        cards = cards.join(_named(shares(table, "shapley"), "shapley")).join(_classes(table))
    return cards.reset_index()


def _lesion(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["kind"] == "delete"]
    return pd.DataFrame(
        {
            "block": pd.to_numeric(rows["blocks"]).astype(int),
            "name": rows["names"],
            "stage": rows["stage"].astype(str),
            "error": rows["error_pct"],
            "error_low": rows["ci_low_pct"],
            "error_high": rows["ci_high_pct"],
            "delta": rows["delta_pct"],
            "p": holm(rows["p_value"]),
        }
    ).set_index("block")


def _named(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """`value` and its interval under another name, by block; nothing for no rows."""
    if rows.empty:
        return pd.DataFrame(index=pd.Index([], name="block", dtype=int))
    columns = {"value": name, "ci_low": f"{name}_low", "ci_high": f"{name}_high"}
    return rows.astype({"block": int}).set_index("block")[list(columns)].rename(columns=columns)


def _classes(table: pd.DataFrame) -> pd.DataFrame:
    chosen = (table["method"] == "ablation") & (table["metric"] == "accuracy")
    rows = table[chosen & table["class"].notna()].astype({"block": int, "class": int})
    found: dict[int, dict[str, Any]] = {}
    for block, some in rows.groupby("block"):
        lost = dict(zip(some["class"].tolist(), some["value"].tolist(), strict=True))
        worst = max(lost, key=lambda number: lost[number])
        hurt = worst if lost[worst] > 0 else None
        found[int(str(block))] = {"classes": lost, "worst_class": hurt}
    cards = pd.DataFrame.from_dict(found, orient="index")
    return cards.rename_axis("block")
