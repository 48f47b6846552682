"""What a table of lesions says: every number is computed from the table and its provenance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from resnet_probe import published
from resnet_probe.findings import classes, sweeps
from resnet_probe.findings.sentence import (
    Finding,
    Sentence,
    ends_of,
    interval,
    listed,
    of_its_inputs,
    unit_of_points,
)
from resnet_probe.findings.verdict import (
    BARELY,
    CHANGES,
    HARMFUL,
    HARMLESS,
    at_most,
    changes,
    one_of,
)
from resnet_probe.results import Result
from resnet_probe.stats import Estimate, median_interval

WORST = 5
HALF = 50.0
EXCEPTIONS = 3
"""Harmful deletions that a sentence names one by one."""


@of_its_inputs
def single_deletions(result: Result) -> Finding:
    """Does losing one block change the network?  From a lesion with one deletion a row.

    Judged by the median change over these blocks, as a share of the way from the whole network's
    error to guessing; its interval is over images.  How many deletions are harmful and how many are
    shown harmless holds for all of them together.
    """
    base, edited = result.table.iloc[0], result.table.iloc[1:]
    middle = median_change(result)
    way = way_to_chance(result)
    share = Estimate(*(100 * end / way for end in middle))
    verdict = at_most(share, BARELY)
    worst = edited.iloc[int(edited["error_pct"].to_numpy().argmax())]
    words = changes(edited)
    counts = {f"{word}_count": int((words == word).sum()) for word in CHANGES}
    values = {
        "blocks": len(edited), "median": float(edited["error_pct"].median()),
        "baseline": base["error_pct"], "images": base["images"], "delta": middle.value,
        "delta_low": middle.low, "delta_high": middle.high, "worst": worst["error_pct"],
        "worst_low": worst["ci_low_pct"], "worst_high": worst["ci_high_pct"],
        "worst_block": int(worst["blocks"].split()[0]), "worst_name": str(worst["names"]),
        "unit": unit_of(result), "most": BARELY, "share": share.value, "share_low": share.low,
        "share_high": share.high, "margin": margin_of(result), **counts,
    }  # fmt: skip
    return Finding(
        sentence=_in_full(values)
        + re_estimated(result)
        + _beside(len(edited), values["unit"] == "block"),
        answer=Sentence(_opening(verdict) + _short(values), values)
        + _exceptions(edited, words)
        + re_estimated(result),
        claim=f"losing one {values['unit']} barely changes the error",
        rule=Sentence(
            "“Barely” means that the median deletion goes at most {most:g} % of the way from the "
            "whole network’s error to guessing, its whole interval over images included; here it "
            f"goes {{share:.2f}} %{interval('share', values)}. The claim fails where the whole "
            "interval lies above.",
            values,
        ),
        verdict=verdict,
        estimate=share,
    )


def re_estimated(result: Result) -> Sentence:
    """The median change with batch-norm statistics of its own, where that was measured."""
    found = result.provenance.get("recalibrated_median_delta_pct")
    if not found:
        return Sentence("")
    values = dict(zip(("own", "own_low", "own_high"), found, strict=True))
    values["training"] = result.identity["recalibrate"]
    runs = ""
    if took := result.provenance.get("recalibration_branch_runs"):
        values |= {"shared": took[0], "alone": took[1]}
        values["seconds"] = float(result.provenance.get("seconds", np.nan))
        runs = (
            " (Re-estimating ran {shared:,} branches, where one network after another would run "
            "{alone:,}; the whole study took {seconds:,.0f} s.)"
        )
    return Sentence(
        " With the batch-norm statistics of each edited network re-estimated on {training:,} "
        f"training images the median is {{own:+.2f}} points{interval('own', values, '+.2f', '')}: "
        f"the rest is stale statistics.{runs}",
        values,
    )


def median_change(result: Result) -> Estimate:
    """The median over the edits of the change in error, in points; its interval is over images."""
    value = float(result.table["delta_pct"].iloc[1:].median())
    found = result.provenance.get("median_delta_pct") or (value, np.nan, np.nan)
    return Estimate(value, float(found[1]), float(found[2]))


def way_to_chance(result: Result) -> float:
    """Points of error from the whole network to guessing; NaN where the classes are not known."""
    classes = result.provenance.get("classes")
    way = 100 * (1 - 1 / classes) - float(result.table["error_pct"].iloc[0]) if classes else np.nan
    return way if way > 0 else np.nan


def margin_of(result: Result) -> float:
    """The margin of equivalence, in points."""
    return float(result.identity.get("margin", np.nan))


def unit_of(result: Result) -> str:
    layers = result.provenance.get("unit") == "layer" or not result.provenance.get("residual", True)
    return "layer" if layers else "block"


def _opening(verdict: str) -> str:
    return one_of(
        verdict,
        "Losing one {unit} barely changes it: ",
        "Losing one {unit} does change it: ",
        "Whether losing one {unit} barely changes it is not decided: ",
    )


def _short(values: dict[str, Any]) -> str:
    return (
        "in the median over the {blocks} {unit}s a deletion changes the error by {delta:+.2f} "
        f"points{interval('delta', values, '+.2f', '')}, from {{baseline:.2f}} %; "
        + _counted(values)
    )


def _counted(values: dict[str, Any]) -> str:
    """`33 are shown harmless (within ± 0.5 points, all 54 together), 1 is harmful, …`."""
    parts = [f"{{{HARMLESS}_count}} {{harmless_are}} shown harmless (within ± {{margin:g}} "
             f"{unit_of_points(values['margin'])}, all {{blocks}} together)"]  # fmt: skip
    values["harmless_are"] = "is" if values[f"{HARMLESS}_count"] == 1 else "are"
    for word in CHANGES:
        if word != HARMLESS and (values[f"{word}_count"] or word == HARMFUL):
            values[f"{word}_are"] = "is" if values[f"{word}_count"] == 1 else "are"
            parts.append(f"{{{word}_count}} {{{word}_are}} {word}")
    return ", ".join(parts)


def _exceptions(edited: pd.DataFrame, words: np.ndarray) -> Sentence:
    """`: block 1 (1.67 → 13.14 %)`: the worst of the harmful ones by name."""
    harmful = edited[words == HARMFUL].nlargest(EXCEPTIONS, "error_pct")
    if harmful.empty:
        return Sentence(".")
    values: dict[str, Any] = {}
    parts = []
    for place, row in enumerate(harmful.itertuples()):
        values |= {f"exception_{'abc'[place]}": int(row.blocks.split()[0]),
                   f"error_{'abc'[place]}": row.error_pct}  # fmt: skip
        letter = "abc"[place]
        parts.append(f"{{exception_{letter}}} ({{error_{letter}:.2f}} %)")
    return Sentence(f" (worst: {', '.join(parts)}).", values)


def _in_full(values: dict[str, Any]) -> Sentence:
    return Sentence(
        "Deleting one {unit} changes the error by {delta:+.2f} points in the median"
        f"{interval('delta', values, '+.2f', '')}, from the {{baseline:.2f}} % of the whole "
        "network to {median:.2f} %, on the same {images:,} images. Of the {blocks} deletions, "
        + _counted(values)
        + "; the worst is {unit} {worst_block} ({worst_name}) with "
        f"{{worst:.2f}} %{interval('worst', values)}.",
        values,
    )


def _beside(blocks: int, residual: bool) -> Sentence:
    """The published network with as many blocks, where there is one."""
    table = published.load("veit2016_depths")
    like = table[(table["n"] == blocks) & table["arch"].str.startswith("preresnet")]
    if like.empty or not residual:
        return Sentence("")
    row = like.iloc[0]
    return Sentence(
        " The published median for a network of as many blocks, on CIFAR images, is "
        "{published:.2f} % against {published_base:.2f} %, its worst block {published_block} with "
        "{published_worst:.2f} %.",
        {
            "published": row["median_pct"], "published_base": row["baseline_pct"],
            "published_block": int(row["worst_block"]), "published_worst": row["worst_pct"],
        },
    )  # fmt: skip


@of_its_inputs
def several_deletions(result: Result) -> Finding:
    """How the error grows with the number of random deletions: a description, no claim.

    Deletions of all blocks at once are one network however often they are drawn, and say nothing.
    """
    base, medians = result.table.iloc[0], _medians(_drawn(result), "edits")
    first, last = medians.iloc[0], medians.iloc[-1]
    broken = medians[medians["median"] >= HALF]
    values = {
        "few": first.name, "few_error": first["median"], "few_low": first["low"],
        "few_high": first["high"], "many": last.name, "many_error": last["median"],
        "many_low": last["low"], "many_high": last["high"], "draws": first["draws"],
        "baseline": base["error_pct"], "half": HALF,
    }  # fmt: skip
    opening = (
        "The error grows with the number of blocks that are gone: "
        if last["median"] > first["median"]
        else "The error does not grow with the number of blocks that are gone: "
    )
    start = Sentence(
        f"{opening}the median of {{draws:.0f}} random "
        f"draws goes from {{few_error:.2f}} %{interval('few', values)} with {{few}} deleted to "
        f"{{many_error:.2f}} %{interval('many', values)} with {{many}}, from {{baseline:.2f}} % "
        "with none",
        values,
    )
    if base["error_pct"] >= HALF:
        return Finding(start + Sentence("."))
    if broken.empty:
        return Finding(start + Sentence("; it stays below {half:g} %.", values))
    crossed = {**values, "crossed": broken.index[0]}
    return Finding(start + Sentence("; it reaches {half:g} % at {crossed} blocks.", crossed))


@of_its_inputs
def other_orders(result: Result) -> Finding:
    """How the error changes as the order of the blocks moves away from the trained one."""
    table = result.table.assign(tau=result.table["tau"].round(2))
    base, medians = result.table.iloc[0], _medians(table, "tau").sort_index(ascending=False)
    near, far = medians.iloc[0], medians.iloc[-1]
    values = {
        "near": float(str(near.name)), "near_error": near["median"], "far": float(str(far.name)),
        "far_error": far["median"], "far_low": far["low"], "far_high": far["high"],
        "baseline": base["error_pct"], "draws": far["draws"],
    }  # fmt: skip
    opening = (
        "The further the order is from the trained one, the larger the error: "
        if far["median"] > near["median"]
        else "The error does not grow as the order moves away from the trained one: "
    )
    return Finding(
        Sentence(
            opening + "its median is {near_error:.2f} % at Kendall’s τ of {near:.2f} and "
            f"{{far_error:.2f}} %{interval('far', values)} at {{far:.2f}} ({{draws:.0f}} random "
            "orders), and "
            "{baseline:.2f} % in the trained order.",
            values,
        )
    )


def _drawn(result: Result) -> pd.DataFrame:
    """The rows without those that delete every block."""
    blocks = result.provenance.get("blocks")
    table = result.table
    whole = (table["kind"] == "delete") & (table["edits"] == blocks)
    return table[~whole] if (table["edits"] != blocks).sum() > 1 else table


def _medians(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The median error, its interval over draws and their number, by a column of the edits."""
    rows = table[table["kind"] != "baseline"]
    found = {
        key: (*median_interval(some["error_pct"]), len(some)) for key, some in rows.groupby(by)
    }
    return pd.DataFrame.from_dict(found, orient="index", columns=["median", "low", "high", "draws"])


@of_its_inputs
def summarize_lesion(result: Result) -> str:
    """The lines that a lesion run prints."""
    if result.study == "lesion-classes":
        return classes.summarize_classes(result)
    table = result.table
    base, edited = table.iloc[0], table.iloc[1:]
    lines = [whole_network(result, base)]
    if "edit" in table:
        lines += sweeps.summarize(result)
    elif result.study == "lesion":
        lines += _single(result, edited)
    elif result.study == "lesion-permute-tau":
        lines += _grouped(edited.assign(tau=edited["tau"].round(2)), "tau", "Kendall's τ")
    else:
        kind = {"delete": "deleted", "permute": "swaps", "duplicate": "duplicated"}
        lines += _grouped(edited, "edits", kind[str(edited["kind"].iloc[0])])
    near = int(table["near_ties"].sum()) if "near_ties" in table else 0
    if near:
        lines.append(
            f"{near:,} of {int(table['images'].sum()):,} predictions are near-ties (two best "
            "logits within 1e-4): rounding may flip those, and no others"
        )
    if "recalibrated_error_pct" in table:
        lines += _recalibrated(result)
    return "\n".join(lines)


METRICS = {
    "accuracy": "the share of wrong answers, in the mean over images",
    "auc": "100 % less the area under the ROC curve",
    "iou": "100 % less the intersection over union, in the mean over classes",
    "mse": "the mean square error in % of the variance of the labels",
}


def whole_network(result: Result, base: Any) -> str:
    """The network as it is: what is right of it, or what its error is the error of."""
    interval = f"95 % CI {base.ci_low_pct:.2f}–{base.ci_high_pct:.2f} %"
    if hasattr(base, "correct"):
        counted = f"{base.correct} of {base.images} correct"
        return f"baseline: {base.error_pct:.2f} % error ({counted}, {interval})"
    metric = result.provenance.get("metric")
    is_of = METRICS.get(str(metric), f"100 % less {metric}, in the mean over images")
    lines = [
        f"baseline: {base.error_pct:.2f} % error ({interval} over {base.images:,} images)",
        f"error: {is_of}",
    ]
    if "perplexity" in result.table:
        ends = f"95 % CI {base.perplexity_low:.4g}–{base.perplexity_high:.4g}"
        lines.insert(1, f"perplexity {base.perplexity:.4g} ({ends})")
    return "\n".join(lines)


def _single(result: Result, edited: pd.DataFrame) -> list[str]:
    middle, words = median_change(result), changes(edited)
    over = f"95 % CI over images {middle.low:+z.2f} to {middle.high:+z.2f}"
    early = "stopped" in edited
    how, kind = ("each by itself", "delta") if early else ("all of them together", "joint")
    lines = [
        f"one deleted: median {edited['error_pct'].median():.2f} % error, {middle.value:+z.2f} "
        f"points on the baseline{' of the same images' * early} ("
        f"{over if np.isfinite(middle.low) else 'no interval'})",
        *(_stopped(result, edited) if early else []),
        f"of {len(edited)} deletions, {how}, at a margin of {margin_of(result):g} "
        f"{unit_of_points(margin_of(result))}: "
        f"{tally(words)}",
        *([] if early else [f"each by itself: {tally(changes(edited, joint=False))}"]),
        f"worst:{'':19} error     change (its interval, {how})",
    ]
    worst = edited.assign(word=words).nlargest(WORST, "error_pct")
    lines += [
        f"  {row.blocks:>4}  {row.names:<14} {row.error_pct:6.2f} %  {row.delta_pct:+z7.2f}  "
        f"({ends_of(getattr(row, f'{kind}_low_pct'), getattr(row, f'{kind}_high_pct'))})  "
        f"{row.word}"
        for row in worst.itertuples()
    ]
    if edited["shortcut"].str.contains("stand-in").any():
        lines.append("a plain network: what a deleted layer leaves is a parameter-free stand-in")
    return lines


def _stopped(result: Result, edited: pd.DataFrame) -> list[str]:
    """How few images it took."""
    used, runs = edited["images"], result.provenance
    why = edited["stopped"].value_counts()
    return [
        f"each deletion on as many images as it took to ± {result.identity['precision']:g} "
        f"{unit_of_points(result.identity['precision'])}: "
        f"{used.min():,} to {used.max():,}, median {used.median():,.0f}; "
        + ", ".join(f"{count} {name}" for name, count in why.items())
        + f"; {runs['branch_runs']:,} branch runs of {runs['branch_runs_of_all']:,}"
    ]


def tally(words: np.ndarray) -> str:
    """`33 harmless, 1 harmful, 20 undecided`; what there is none of is left out."""
    order = (HARMLESS, HARMFUL, *(w for w in CHANGES if w not in (HARMLESS, HARMFUL)))
    counts = [(int((words == word).sum()), word) for word in order]
    shown = [f"{n} {word}" for n, word in counts if n or word in (HARMLESS, HARMFUL)]
    return ", ".join(shown)


def _grouped(edited: pd.DataFrame, by: str, label: str) -> list[str]:
    lines = [f"{label:>12}   median error   quartiles          draws"]
    for key, rows in edited.groupby(by, sort=False):
        low, middle, high = rows["error_pct"].quantile([0.25, 0.5, 0.75])
        spread = f"{low:6.2f} – {high:6.2f} %"
        one = "  all of them the same network" if rows["blocks"].nunique() == 1 < len(rows) else ""
        lines.append(f"{key!s:>12}   {middle:9.2f} %    {spread}   {len(rows):5d}{one}")
    return lines


def _recalibrated(result: Result) -> list[str]:
    """How much of the damage is the missing path, and how much the stale statistics."""
    base, edited = result.table.iloc[0], result.table.iloc[1:]
    images = result.identity.get("recalibrate", "")
    stale, own = (float(edited[c].median()) for c in ("error_pct", "recalibrated_error_pct"))
    found = result.provenance.get("recalibrated_median_delta_pct")
    over = f" (95 % CI over images {found[1]:+z.2f} to {found[2]:+z.2f})" if found else ""
    left = own - base["recalibrated_error_pct"]
    most = edited.nlargest(3, "restored_pct")
    shown = [
        f"{row.blocks} ({row.error_pct:.2f} to {row.recalibrated_error_pct:.2f} %)"
        for row in most.itertuples()
    ]
    shared, alone = result.provenance.get("recalibration_branch_runs") or (0, 0)
    took = f"{result.provenance.get('seconds', 0):,.1f} s for the whole study"
    runs = [f"re-estimating took {shared:,} runs of branches instead of {alone:,}; {took}"]
    return [
        f"batch-norm statistics re-estimated on {images} training images: baseline "
        f"{base['recalibrated_error_pct']:.2f} % instead of {base['error_pct']:.2f} %",
        f"median error of an edit {own:.2f} % instead of {stale:.2f} %: missing paths cost "
        f"{left:+z.2f} points{over}, paths and stale statistics together "
        f"{stale - base['error_pct']:+z.2f}",
        f"most restored: {listed(shown)}",
        *(runs if shared else []),
    ]
