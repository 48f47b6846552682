"""What a table says, in a few lines for a person; every number is computed from the table."""

from __future__ import annotations

import pandas as pd

from resnet_probe.results import Result
from resnet_probe.stats import holm, median_interval

LEVEL = 0.05
WORST = 5


def summarize_lesion(result: Result) -> str:
    """The lines that a lesion run prints."""
    table = result.table
    base, edited = table.iloc[0], table.iloc[1:]
    lines = [
        f"baseline: {base.error_pct:.2f} % error ({base.correct} of {base.images} correct, "
        f"95 % CI {base.ci_low_pct:.2f}–{base.ci_high_pct:.2f} %)"
    ]
    if result.study == "lesion":
        lines += _single(base, edited)
    elif result.study == "lesion-permute-tau":
        lines += _grouped(edited.assign(tau=edited["tau"].round(2)), "tau", "Kendall's τ")
    else:
        kind = {"delete": "deleted", "permute": "swaps", "duplicate": "duplicated"}
        lines += _grouped(edited, "edits", kind[str(edited["kind"].iloc[0])])
    near = int(table["near_ties"].sum())
    if near:
        lines.append(
            f"{near:,} of {int(table['images'].sum()):,} predictions are near-ties (two best "
            "logits within 1e-4): rounding may flip those, and no others"
        )
    if "recalibrated_error_pct" in table:
        lines += _recalibrated(result)
    return "\n".join(lines)


def _single(base: pd.Series, edited: pd.DataFrame) -> list[str]:
    worst = edited.nlargest(WORST, "error_pct")
    worse = (holm(edited["p_value"]) < LEVEL) & (edited["delta_pct"] > 0)
    middle = median_interval(edited["error_pct"])
    interval = "" if middle.low != middle.low else f" (95 % CI {middle.low:.2f}–{middle.high:.2f})"
    lines = [
        f"one deleted: median {middle.value:.2f} % error{interval}, "
        f"{middle.value - base.error_pct:+.2f} points on the baseline",
        f"{int(worse.sum())} of {len(edited)} deletions are significantly worse than the baseline "
        f"(McNemar, Holm-corrected, p < {LEVEL:g})",
        "worst:",
    ]
    lines += [
        f"  {row.blocks:>4}  {row.names:<14} {row.error_pct:6.2f} %  {row.delta_pct:+7.2f}  "
        f"(95 % CI {row.ci_low_pct:.2f}–{row.ci_high_pct:.2f} %)"
        for row in worst.itertuples()
    ]
    if edited["shortcut"].str.contains("stand-in").any():
        lines.append("a plain network: what a deleted layer leaves is a parameter-free stand-in")
    return lines


def _grouped(edited: pd.DataFrame, by: str, label: str) -> list[str]:
    lines = [f"{label:>12}   median error   quartiles          draws"]
    for key, rows in edited.groupby(by, sort=False):
        low, middle, high = rows["error_pct"].quantile([0.25, 0.5, 0.75])
        spread = f"{low:6.2f} – {high:6.2f} %"
        lines.append(f"{key!s:>12}   {middle:9.2f} %    {spread}   {len(rows):5d}")
    return lines


def _recalibrated(result: Result) -> list[str]:
    """How much of the damage is the missing path, and how much the stale statistics."""
    base, edited = result.table.iloc[0], result.table.iloc[1:]
    images = result.identity.get("recalibrate", "")
    stale, own = (median_interval(edited[c]) for c in ("error_pct", "recalibrated_error_pct"))
    damage = stale.value - base["error_pct"]
    left = own.value - base["recalibrated_error_pct"]
    better = (holm(edited["restored_p_value"]) < LEVEL) & (edited["restored_pct"] > 0)
    most = edited.nlargest(3, "restored_pct")
    shown = ", ".join(
        f"{row.blocks} ({row.error_pct:.2f} to {row.recalibrated_error_pct:.2f} %)"
        for row in most.itertuples()
    )
    return [
        f"batch-norm statistics re-estimated on {images} training images: baseline "
        f"{base['recalibrated_error_pct']:.2f} % instead of {base['error_pct']:.2f} %",
        f"median error of an edit {own.value:.2f} % instead of {stale.value:.2f} %: missing "
        f"paths cost {left:+.2f} points, paths and stale statistics together {damage:+.2f}",
        f"{int(better.sum())} of {len(edited)} edits are significantly better so (McNemar, "
        f"Holm-corrected, p < {LEVEL:g}); most restored: {shown}",
    ]
