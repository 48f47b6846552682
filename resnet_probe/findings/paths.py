"""What a study of paths says, in a few lines for a person; every number is from the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.findings.sentence import Finding, Sentence, inside, interval, of_its_inputs
from resnet_probe.findings.verdict import UNDECIDED, at_least, at_most, one_of
from resnet_probe.results import Result
from resnet_probe.stats import Estimate, path_lengths

SHARES = (0.9, 0.95, 0.99)


@of_its_inputs
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
        lines += _exact_lines(result, table)
    single = (
        ("all", "rms_norm", "all single paths, root mean square norm"),
        ("sample", "mean_norm", "sampled single paths, mean norm"),
    )
    for method, quantity, title in single:
        found = path_lengths.by_length(table, method, quantity)
        if not found.empty:
            lines += _single_lines(title, found, blocks)
    if (coherent := path_coherence(result)) is not None:
        lines += ["", str(coherent.sentence)]
    return "\n".join(lines)


def _exact_lines(result: Result, table: pd.DataFrame) -> list[str]:
    sums = path_lengths.by_length(table, "exact", "norm_of_sum")
    share = path_lengths.by_length(table, "exact", "share")["value"].to_numpy()
    if not sums["relative"].sum() > 0:
        return ["", "exact: no image has a gradient there, and no path carries any"]
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
            f"  left out, {_which(result, table)}: {100 * (1 - share.sum()):.2g} % of the "
            f"gradient, a part of {100 * left_out['value'].iloc[0]:.2g} % of its norm"
        )
    return lines + _two_terms(table)


def _which(result: Result, table: pd.DataFrame) -> str:
    """Which paths were not followed to their end."""
    tolerance = result.identity.get("tolerance", 0)
    longer = (
        ["in longer paths"] if result.provenance["longest"] < result.provenance["blocks"] else []
    )
    if not tolerance:
        return longer[0]
    sums = table[(table["method"] == "exact") & (table["quantity"] == "norm_of_sum")]
    followed = f"{(sums['value'] > 0).sum():,} of {len(sums):,} followed"
    died = f"where a length fell below {tolerance:g} of the whole ({followed})"
    return " and ".join([*longer, died])


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


def _single_lines(title: str, found: pd.DataFrame, blocks: int) -> list[str]:
    norms = found["relative"].to_numpy()
    fall = path_lengths.decay(norms)
    carried = path_lengths.carried(norms, blocks)
    first, last = path_lengths.PUBLISHED_WINDOW
    narrow = path_lengths.window(carried, 0.95) if carried.any() else None
    if narrow is None:
        return ["", f"{title}: no path carries any gradient"]
    fitted = f"times {fall.factor:.3g} with every block (log-linear, R² {fall.r2:.3f})"
    lines = ["", f"{title}: {'one length carries all' if np.isnan(fall.factor) else fitted}"]
    paths = 100 * path_lengths.share_within(
        path_lengths.share_of_paths(blocks), narrow.first, narrow.last
    )
    within = 100 * path_lengths.share_within(carried, first, last)
    return [
        *lines,
        f"  count × norm peaks at {carried.argmax()} blocks; {_windows(carried)}",
        f"  those 95 % are {paths:.{2 if paths < 10 else 3}g} % of all paths"
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


MOST = 90.0
"""Per cent of number × norm that paths shorter than the average have to hold."""
WINDOW = 0.95
SINGLE = (("sample", "mean_norm", "sampled paths"), ("all", "rms_norm", "all paths"))


@of_its_inputs
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
    if not carried.sum() > 0:
        return _none_carried(share)
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


def _none_carried(share: Estimate) -> Finding:
    said = Sentence("No image has a gradient there, and no path carries any.")
    return Finding(
        said, said, "short paths carry the gradient",
        Sentence("Where there is no gradient, nothing carries it."), UNDECIDED, share,
    )  # fmt: skip


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
        "The gradient of a single path ({kind}) is multiplied by {factor:.3g} with every block "
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


INDEPENDENT = 2.0
"""Coherence up to which the paths of a length count as independent; orthogonal ones have 1."""


@of_its_inputs
def path_coherence(result: Result) -> Finding | None:
    """Are the paths of a length an ensemble of independent voices?  None without the quantity.

    Judged at the length that holds most of number × norm of all single paths, of those that several
    paths have: a path alone agrees with itself.
    """
    rows = path_lengths.by_length(result.table, "all", "coherence")
    if rows.empty:
        return None
    single = path_lengths.by_length(result.table, "all", "rms_norm")
    carried = path_lengths.carried(single["relative"], int(result.provenance["blocks"]))
    carried = np.where(rows["paths_log10"].to_numpy() > 0, carried, 0.0)
    if not carried.sum() > 0:
        return None
    row = rows.iloc[int(carried.argmax())]
    found = Estimate(*row[["value", "ci_low", "ci_high"]].astype(float))
    verdict = at_most(found, INDEPENDENT)
    values = {
        "length": int(row["length"]), "coherence": found.value, "coherence_low": found.low,
        "coherence_high": found.high, "bound": INDEPENDENT, "one": 1,
        "voices": 10 ** (row["paths_log10"] - np.log10(found.value)),
        "paths": 10 ** row["paths_log10"],
    }  # fmt: skip
    opening = one_of(
        verdict,
        "The paths of a length are independent voices: ",
        "The paths of a length are no independent voices: ",
        "Whether the paths of a length are independent voices is not decided: ",
    )
    return Finding(
        Sentence(
            f"{opening}at {{length}} blocks, where most of number × norm lies, the square of their "
            "sum is {coherence:,.3g} times the sum of their squares"
            f"{interval('coherence', values, ',.3g', '')}, where independent ones would have "
            "{one}; that is as if the {paths:.2g} paths were {voices:.2g} groups that each speak "
            "with one voice.",
            values,
        ),
        claim="the paths of a length are independent voices",
        rule=Sentence(
            "Independent means that the coherence at the length that holds most of number × norm "
            "is at most {bound:g}, the whole interval included; the claim fails where the whole "
            "interval lies above.",
            values,
        ),
        verdict=verdict,
        estimate=found,
    )
