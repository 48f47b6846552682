"""What a study of paths says, in a few lines for a person; every number is from the table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_probe.results import Result
from resnet_probe.stats import path_lengths

SHARES = (0.9, 0.95, 0.99)


def summarize_paths(result: Result) -> str:
    """The lines that a run of `paths` prints."""
    blocks = int(result.provenance["blocks"])
    longest = int(result.provenance["longest"])
    lines = [
        f"{blocks} blocks, 2^{blocks} paths, of {blocks / 2:g} blocks on average (standard "
        f"deviation {np.sqrt(blocks) / 2:.2f}); norms are in units of each image's whole gradient"
    ]
    if longest < blocks:
        lines.append(f"only paths of at most {longest} blocks were followed")
    table = result.table
    if not path_lengths.by_length(table, "exact", "norm_of_sum").empty:
        lines += _exact(result, table)
    single = (
        ("all", "rms_norm", "all single paths, root mean square norm"),
        ("sample", "mean_norm", "sampled single paths, mean norm"),
    )
    for method, quantity, title in single:
        found = path_lengths.by_length(table, method, quantity)
        if not found.empty:
            lines += _single(title, found, blocks)
    return "\n".join(lines)


def _exact(result: Result, table: pd.DataFrame) -> list[str]:
    sums = path_lengths.by_length(table, "exact", "norm_of_sum")
    share = path_lengths.by_length(table, "exact", "share")["value"].to_numpy()
    half = int(np.argmax(np.cumsum(share) >= 0.5)) if share.cumsum()[-1] >= 0.5 else None
    lines = [
        "",
        f"exact, the norm of the sum over all paths of a length: {_peak(sums)}; "
        + _windows(sums["relative"].to_numpy()),
        f"  share of the gradient: {100 * share[0]:.2f} % from the identity term (0 blocks), most "
        f"from {share.argmax()} blocks ({100 * share.max():.1f} %)"
        + (f", half from paths of at most {half} blocks" if half is not None else ""),
        f"  the lengths' norms add up to {_one(table, 'cancellation'):.3g} times the gradient's: "
        "the rest cancels" + _rounding(result),
    ]
    left_out = table[table["quantity"] == "left_out"]
    if not left_out.empty:
        lines.append(
            f"  left out, in longer paths: {100 * (1 - share.sum()):.2g} % of the gradient, a part "
            f"of {100 * left_out['value'].iloc[0]:.2g} % of its norm"
        )
    return lines + _two_terms(table)


def _rounding(result: Result) -> str:
    error = result.provenance.get("sum_error_max")
    if error is None:
        return ""
    return (
        f"; they sum to the ordinary gradient within {error:.1g} of it ("
        f"{result.provenance['sum_error_of_bound_max']:.1g} of their norms) for every image"
    )


def _two_terms(table: pd.DataFrame) -> list[str]:
    cosine = table[table["quantity"] == "cosine"]
    near = table[table["quantity"] == "near_cancellation"]
    if cosine["value"].isna().all():
        return ["  no image has an identity term"]
    worst = near.iloc[int(near["value"].to_numpy().argmax())]
    return [
        f"  identity term beside the rest: cosine {cosine['value'].min():.2f} to "
        f"{cosine['value'].max():.2f} over the blocks; the rest is near −1 times the identity term "
        f"(within 0.5) for at most {100 * worst['value']:.1f} % of the images (95 % CI "
        f"{100 * worst['ci_low']:.1f}–{100 * worst['ci_high']:.1f} %, at {_place(worst)})"
    ]


def _single(title: str, found: pd.DataFrame, blocks: int) -> list[str]:
    norms = found["relative"].to_numpy()
    fall = path_lengths.decay(norms)
    carried = path_lengths.carried(norms, blocks)
    first, last = path_lengths.PUBLISHED_WINDOW
    narrow = path_lengths.window(carried, 0.95) if carried.any() else None
    lines = [
        "",
        f"{title}: times {fall.factor:.3g} with every block (log-linear, R² {fall.r2:.3f})",
    ]
    if narrow is None:
        return [*lines, "  no path carries any gradient"]
    paths = path_lengths.share_within(
        path_lengths.share_of_paths(blocks), narrow.first, narrow.last
    )
    within = 100 * path_lengths.share_within(carried, first, last)
    return [
        *lines,
        f"  count × norm peaks at {carried.argmax()} blocks; {_windows(carried)}",
        f"  those 95 % are {100 * paths:.2g} % of all paths"
        + (
            f"; {within:.1f} % lies in the published window of {first}–{last}"
            * (blocks == path_lengths.PUBLISHED_BLOCKS)
        ),
    ]


def _peak(rows: pd.DataFrame) -> str:
    best = rows.iloc[int(rows["relative"].to_numpy().argmax())]
    return f"largest at {int(best['length'])} blocks"


def _windows(weights: np.ndarray) -> str:
    if not weights.sum() > 0:
        return "zero at every length"
    found = [(share, path_lengths.window(weights, share)) for share in SHARES]
    parts = [f"{100 * share:g} % in {window.first}–{window.last}" for share, window in found]
    return ", ".join(parts)


def _one(table: pd.DataFrame, quantity: str) -> float:
    return float(table.loc[table["quantity"] == quantity, "value"].iloc[0])


def _place(row: pd.Series) -> str:
    return "the input" if row["block"] == 0 else f"block {row['block']}"
