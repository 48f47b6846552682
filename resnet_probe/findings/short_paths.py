"""Whether short paths carry the gradient, in sentences for a reader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.findings.finding import Finding, at_least, one_of
from resnet_probe.findings.sentence import Sentence, inside, interval
from resnet_probe.results import Result
from resnet_probe.stats import Estimate, path_lengths

MOST = 90.0
"""Per cent of number × norm that paths shorter than the average have to hold."""
WINDOW = 0.95
SINGLE = (("sample", "mean_norm", "sampled paths"), ("all", "rms_norm", "all paths"))


def short_paths(result: Result) -> Finding:
    """Do paths shorter than the average carry the gradient?  From the table of paths.

    Judged by number × norm of single paths, as published (Veit et al. 2016, section 5): those
    sampled where there are any, else the root mean square of all.  The interval is the widest that
    the lengths' own intervals allow: short lengths at one end, long ones at the other.
    """
    blocks = int(result.provenance["blocks"])
    rows, kind = _single(result.table)
    share = share_below(rows, blocks)
    carried = path_lengths.carried(rows["relative"], blocks)
    window = path_lengths.window(carried, WINDOW)
    fall = path_lengths.decay(rows["relative"])
    verdict = at_least(share, MOST)
    first, last = path_lengths.PUBLISHED_WINDOW
    values = {
        "mean": blocks / 2, "blocks": blocks, "share": share.value, "share_low": share.low,
        "share_high": share.high, "peak": int(carried.argmax()), "window": 100 * WINDOW,
        "first": window.first, "last": window.last, "factor": fall.factor, "r_squared": fall.r2,
        "paths": 100 * path_lengths.share_within(
            path_lengths.share_of_paths(blocks), window.first, window.last
        ),
        "most": MOST, "kind": kind, "published_first": first, "published_last": last,
        "published_blocks": 54,
    }  # fmt: skip
    return Finding(
        sentence=_in_full(values) + _exact(result.table),
        answer=_answer(values, verdict) + _half(result.table),
        claim="short paths carry the gradient",
        rule=Sentence(
            "“Short” means shorter than the average path of {mean:g} blocks, and “carry” that such "
            "paths hold at least {most:g} % of number × norm, the whole interval included; the "
            "claim fails where the whole interval lies below. The bounds are the widest that the "
            "intervals of the single lengths allow.",
            values,
        ),
        verdict=verdict,
        estimate=share,
    )


def share_below(rows: pd.DataFrame, blocks: int) -> Estimate:
    """Per cent of number × norm at lengths below N/2, from `path_lengths.spectrum`'s rows."""
    short = rows["length"].to_numpy() < blocks / 2
    value, low, high = (
        rows[name].to_numpy(float) for name in ("relative", "relative_low", "relative_high")
    )
    least, most = np.where(short, low, high), np.where(short, high, low)
    found = [
        100 * float(path_lengths.carried(norms, blocks)[short].sum()) if np.isfinite(norms).all()
        else np.nan
        for norms in (value, least, most)
    ]  # fmt: skip
    return Estimate(*found)


def exact_half(table: pd.DataFrame) -> int | None:
    """The length up to which half of the exact gradient lies; None where the table has none."""
    share = path_lengths.by_length(table, "exact", "share")["value"].to_numpy()
    sums = share.cumsum()
    return int(np.argmax(sums >= 0.5)) if len(sums) and sums[-1] >= 0.5 else None


def _single(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    found = [(path_lengths.by_length(table, *key), kind) for *key, kind in SINGLE]
    return next(((rows, kind) for rows, kind in found if not rows.empty), found[0])


def _answer(values: dict[str, Any], verdict: str) -> Sentence:
    opening = one_of(
        verdict,
        "Short paths carry its gradient: ",
        "Short paths alone do not carry its gradient: ",
        "Whether short paths carry its gradient is not decided: ",
    )
    return Sentence(
        f"{opening}paths shorter than the average of {{mean:g}} blocks hold {{share:.1f}} %"
        f"{interval('share', values, '.1f', what='bounds')} of number × norm, which peaks at "
        "{peak} blocks",
        values,
    )


def _half(table: pd.DataFrame) -> Sentence:
    half = exact_half(table)
    if half is None:
        return Sentence(".")
    return Sentence(
        ", and half of the exact gradient comes from paths of at most {half} blocks.",
        {"half": half},
    )


def _in_full(values: dict[str, Any]) -> Sentence:
    return Sentence(
        "The gradient of a single path ({kind}) falls by a factor of {factor:.3g} with every block "
        "that it goes through (log-linear, R² {r_squared:.3f}), so that number × norm peaks at "
        "{peak} of {blocks} blocks and {window:g} % of it lies at {first} to {last} blocks, "
        "lengths that {paths:.2g} % of all paths have; the published network of "
        "{published_blocks} blocks has its effective paths at {published_first} to "
        "{published_last}.",
        values,
    )


def _exact(table: pd.DataFrame) -> Sentence:
    """What the sum over all paths of a length says: another quantity than single paths."""
    half = exact_half(table)
    if half is None:
        return Sentence("")
    rows = path_lengths.by_length(table, "exact", "share")
    top = rows.iloc[int(rows["value"].to_numpy().argmax())]
    values = {
        "half": half, "identity": 100 * rows["value"].iloc[0], "top": int(top["length"]),
        "top_share": 100 * top["value"], "top_low": 100 * top["ci_low"],
        "top_high": 100 * top["ci_high"],
    }  # fmt: skip
    return Sentence(
        " In the exact sum over all paths of a length, which is another quantity, half of the "
        "gradient comes from paths of at most {half} blocks, most from paths of {top} "
        f"({{top_share:.1f}} %, {inside('top', values, '.1f')}) "
        "and {identity:.2f} % from the identity term.",
        values,
    )
