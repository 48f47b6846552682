"""From which depth on the classifier would answer as it does at the end."""

from __future__ import annotations

import pandas as pd

from resnet_probe.results import Result

LEVELS = (50, 90)
RENEWED = "recalibrated_"


def summarize_lens(result: Result) -> str:
    """The lines that a run of `lens` prints."""
    table = result.table
    last = table.iloc[-1]
    lines = [
        f"whole network: {last['accuracy_pct']:.2f} % right (95 % CI "
        f"{last['accuracy_low_pct']:.2f}–{last['accuracy_high_pct']:.2f} %), entropy "
        f"{last['entropy_nats']:.3f} nats, {last['images']:,} images"
    ]
    lines += [_first(table, level, "") for level in LEVELS]
    if table[f"{RENEWED}agreement_pct"].notna().any():
        lines.append("with batch-norm statistics re-estimated at each depth:")
        lines += ["  " + _first(table, level, RENEWED) for level in LEVELS]
    carried = str(table["carried_by"].iloc[0])
    if "projection" in carried:
        lines.append(f"the states are carried on through shortcuts with weights ({carried})")
    elif carried:
        lines.append(f"states of another width are carried on by the shortcuts behind ({carried})")
    return "\n".join(lines)


def _first(table: pd.DataFrame, level: int, kind: str) -> str:
    """The depth from which on the agreement stays at or above a level."""
    rows = table[table[f"{kind}agreement_pct"].notna()]
    enough = rows[f"{kind}agreement_pct"] >= level
    stays = enough[::-1].cummin()[::-1]
    if not stays.any():
        return f"{level} % of the images never have the final answer"
    row = rows[stays].iloc[0]
    low, high = (row[f"{kind}agreement_{end}_pct"] for end in ("low", "high"))
    where = f"block {row['block']} ({row['name']})" if row["block"] else "the stem"
    return (
        f"{level} % of the images have the final answer from {where} on, of "
        f"{table['block'].max()}: {row[f'{kind}agreement_pct']:.1f} % "
        f"(95 % CI {low:.1f}–{high:.1f} %)"
    )
