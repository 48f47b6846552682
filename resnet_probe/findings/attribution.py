"""Which blocks carry the decision, and whether their shares simply add up."""

from __future__ import annotations

import pandas as pd

from resnet_probe.findings.words import block_of, estimate, listed
from resnet_probe.results import Result

TOP = 5
CHANCE = 0.05


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
        shown = ", ".join(f"{n.split('_')[1]} {v:.2f} %" for n, v in gaps.items() if v is not None)
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
        typical = f", deleting one on average {single['value'].mean():+.3f}" if len(single) else ""
        lines.append(
            f"two blocks, {metric}: on average {some['value'].mean():+.3f} {some['unit'].iloc[0]} "
            f"beyond the sum of each alone{typical}; beyond their interval {more} pairs above it "
            f"and {less} below, of {len(some)} (by chance about {CHANCE * len(some):.0f})"
        )
    return lines


def _shares(table: pd.DataFrame, method: str, metric: str) -> pd.DataFrame:
    chosen = (table["method"] == method) & (table["metric"] == metric) & table["class"].isna()
    return table[chosen]


def _only(table: pd.DataFrame, method: str, metric: str) -> pd.Series:
    return _shares(table, method, metric).iloc[0]
