"""How much of a lesion's damage is the missing path, and how much the stale statistics."""

from __future__ import annotations

from resnet_probe.results import Result
from resnet_probe.stats import holm, median_interval

LEVEL = 0.05


def summarize_recalibration(result: Result) -> str:
    """The lines that `lesion --recalibrate` prints beside the others."""
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
    return "\n".join(
        [
            f"batch-norm statistics re-estimated on {images} training images: baseline "
            f"{base['recalibrated_error_pct']:.2f} % instead of {base['error_pct']:.2f} %",
            f"median error of an edit {own.value:.2f} % instead of {stale.value:.2f} %: missing "
            f"paths cost {left:+.2f} points, paths and stale statistics together {damage:+.2f}",
            f"{int(better.sum())} of {len(edited)} edits are significantly better so (McNemar, "
            f"Holm-corrected, p < {LEVEL:g}); most restored: {shown}",
        ]
    )
