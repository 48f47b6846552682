"""What an atlas holds of each network, from the tables of its studies, and what it says of all.

A quantity is one number of one network with its interval, or the reason why it has none.  The
questions are asked of all networks together, from the atlas's own table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from resnet_probe.errors import ProbeError
from resnet_probe.findings.interactions import additive
from resnet_probe.findings.lesion import margin_of
from resnet_probe.findings.paths import WINDOW, share_below
from resnet_probe.findings.responses import ratios, score_of_cost
from resnet_probe.findings.sentence import Finding, Sentence, inside, interval
from resnet_probe.findings.verdict import ALIKE, UNDECIDED, at_least, changes, one_of
from resnet_probe.results import Result
from resnet_probe.stats import Estimate, median_interval, path_lengths, rank_correlation, wilson

COLUMNS = {
    "network": "its name in the list",
    "family": "what it is listed with",
    "arch": "its architecture",
    "weights": "where its weights are from",
    "data": "the images that it was measured on",
    "trained": "whether its weights are those of a training",
    "residual": "whether it has blocks beside shortcuts; else its layers are measured",
    "quantity": "what is measured: see `QUANTITIES` and `BY_BLOCK`",
    "block": "the block that the row is of; 0: the network",
    "stage": "the stage of that block; 0: the network",
    "value": "in `unit`; NaN where there is none",
    "low": "lower end of the 95 % interval",
    "high": "upper end",
    "n": "how many images or blocks the number is of",
    "unit": "of value, low and high",
    "why": "why there is no value",
}
UNTRAINED = "not of an untrained network, whose errors are those of guessing"
NONE = Estimate(math.nan, math.nan, math.nan)
Row = dict[str, Any]


class Reading(NamedTuple):
    """A number of a network, from so many images or blocks."""

    found: Estimate
    n: int


@dataclass(frozen=True)
class Quantity:
    """`study` is the name of the result that `read` takes it from; `of_training` that an untrained
    network has none."""

    name: str
    title: str
    unit: str
    study: str
    read: Callable[[Result], Reading]
    meaning: str
    of_training: bool = False


def error(result: Result) -> Reading:
    row = result.table.iloc[0]
    return Reading(_estimate(row, "error_pct", "ci_low_pct", "ci_high_pct"), int(row["images"]))


def harmless(result: Result) -> Reading:
    """Of the deletions how many cost no more than the margin: measured, shown, not excluded."""
    edited, margin = result.table.iloc[1:], margin_of(result)
    shown = changes(edited)
    inside_margin = edited["joint_inside_margin"].to_numpy(float) == 1
    low, high = (edited[f"joint_{end}_pct"].to_numpy(float) for end in ("low", "high"))
    measured = np.abs(edited["delta_pct"].to_numpy(float)) <= margin
    counts = [
        measured.sum(),
        inside_margin.sum(),
        len(shown) - ((low > margin) | (high < -margin)).sum(),
    ]
    value, least, most = (100 * int(count) / len(shown) for count in counts)
    return Reading(Estimate(value, min(value, least), max(value, most)), len(shown))


def worst(result: Result) -> Reading:
    """The block whose deletion costs most, and the first and last that it may be."""
    edited = result.table.iloc[1:]
    numbers = pd.to_numeric(edited["blocks"]).to_numpy(float)
    return Reading(_of_worst(edited, numbers), len(edited))


def worst_stage(result: Result) -> Reading:
    edited = result.table.iloc[1:]
    return Reading(_of_worst(edited, edited["stage"].astype(float).to_numpy()), len(edited))


def worst_change(result: Result) -> Reading:
    edited = result.table.iloc[1:]
    row = edited.iloc[int(edited["error_pct"].to_numpy().argmax())]
    ends = _estimate(row, "delta_pct", "joint_low_pct", "joint_high_pct")
    return Reading(ends, int(row["images"]))


def _of_worst(edited: pd.DataFrame, places: np.ndarray) -> Estimate:
    """The place of the worst, and the ends of all that joint intervals leave in question."""
    low, high = (edited[f"joint_{end}_pct"].to_numpy(float) for end in ("low", "high"))
    top = int(edited["error_pct"].to_numpy().argmax())
    left = places[high >= low.max()]
    return Estimate(places[top], min(left.min(), places[top]), max(left.max(), places[top]))


def recalibrated(result: Result) -> Reading:
    found = result.provenance.get("recalibrated_median_delta_pct")
    if not found:
        raise ProbeError("no batch-norm statistics to re-estimate, or no training images for it")
    return Reading(Estimate(*map(float, found)), int(result.table["images"].iloc[0]))


def ratio(result: Result) -> Reading:
    return _median(ratios(result.table))


def cosine(result: Result) -> Reading:
    rows = result.table[result.table["quantity"] == "cosine_gradient_sum"]
    rows = rows[rows["value"].notna()]
    if rows.empty and len(ratios(result.table)):
        raise ProbeError("every residual is 0, and has no direction")
    return _median(rows)


def _median(rows: pd.DataFrame) -> Reading:
    if rows.empty:
        raise ProbeError("no two terms to compare: a network without shortcuts")
    return Reading(median_interval(rows["value"]), len(rows))


def influence(result: Result) -> Reading:
    found = score_of_cost(result)
    rows = result.table[result.table["quantity"] == "block_influence"]
    known = int(rows["value"].notna().sum())
    if found is None or found.estimate is None:
        raise ProbeError("no two blocks that keep the shape of their input")
    return Reading(found.estimate, known)


def _single(result: Result) -> tuple[pd.DataFrame, path_lengths.Window]:
    rows = path_lengths.by_length(result.table, "all", "rms_norm")
    carried = path_lengths.carried(rows["relative"], int(result.provenance["blocks"]))
    return rows, path_lengths.window(carried, WINDOW)


def window_first(result: Result) -> Reading:
    rows, found = _single(result)
    return Reading(Estimate(found.first, math.nan, math.nan), int(rows["images"].iloc[0]))


def window_last(result: Result) -> Reading:
    rows, found = _single(result)
    return Reading(Estimate(found.last, math.nan, math.nan), int(rows["images"].iloc[0]))


def short(result: Result) -> Reading:
    rows, _ = _single(result)
    share = share_below(rows, int(result.provenance["blocks"]))
    return Reading(share, int(rows["images"].iloc[0]))


def adds_up(result: Result) -> Reading:
    found = additive(result).estimate
    assert found is not None, "it is judged by an estimate"
    return Reading(found, int(result.table["images"].iloc[0]))


QUANTITIES = (
    Quantity("error", "error", "%", "lesion", error, "error of the whole network", True),
    Quantity(
        "harmless", "harmless blocks", "% of blocks", "lesion", harmless,
        f"blocks whose deletion changes the error by at most {ALIKE:g} points, the margin; from "
        "those that are shown to (equivalence, all together) to those that are not excluded", True,
    ),
    Quantity("worst", "worst block", "block", "lesion", worst,
             "the block whose deletion costs most, from the first to the last that may be it",
             True),
    Quantity("worst_stage", "its stage", "stage", "lesion", worst_stage,
             "the stage of the worst block, and of those that may be it", True),
    Quantity("worst_change", "its cost", "points", "lesion", worst_change,
             "what deleting the worst block adds to the error; joint interval", True),
    Quantity(
        "recalibrated", "median, statistics renewed", "points", "lesion", recalibrated,
        "what the median deletion adds to the error where batch-norm statistics are re-estimated "
        "for each edited network; interval over images", True,
    ),
    Quantity("ratio", "‖F‖/‖shortcut‖", "none", "responses", ratio,
             "median over blocks, its interval over blocks like these"),
    Quantity("cosine", "cosine with gradient", "none", "responses", cosine,
             "cosine of a residual with the gradient of the loss, median over blocks, its interval "
             "over blocks like these; below 0 lowers the loss"),
    Quantity("window_first", "effective lengths from", "blocks", "paths", window_first,
             "the fewest neighbouring path lengths that hold 95 % of number × norm, from this one"),
    Quantity("window_last", "to", "blocks", "paths", window_last, "to this one"),
    Quantity("short", "in short paths", "% of number × norm", "paths", short,
             "held by paths of fewer than half the blocks; widest bounds"),
    Quantity("additive", "additive R²", "%", "interactions", adds_up,
             "of the variance of the logits, each block kept with a chance of 90 %, that single "
             "blocks explain; jackknife"),
    Quantity("influence", "Block Influence", "Spearman’s ρ", "responses", influence,
             "rank correlation over blocks of 1 − cos(h, h′) with what deletion adds to the loss"),
)  # fmt: skip
"""Of each network, in the order in which they stand."""
BY_NAME = {each.name: each for each in QUANTITIES}
FACTS = {"blocks": "blocks", "width": "channels", "stages": "stages"}
"""Of a network by itself, with their units: nothing is sampled."""
BY_BLOCK = {"block_change": "points", "block_ratio": "none"}
"""By block: what its deletion adds to the error, joint interval; ‖F‖/‖shortcut‖ over images."""


def rows_of(
    results: Mapping[str, Result], absent: Mapping[str, str], *, trained: bool
) -> Iterator[Row]:
    """The rows of one network: each quantity once, then those by block.

    `results` by study; `absent` says why one is not there.
    """
    for each in QUANTITIES:
        reading, why = Reading(NONE, 0), absent.get(each.study, "not asked for")
        if each.of_training and not trained:
            why = UNTRAINED
        elif each.study in results:
            reading, why = _read(each, results[each.study])
        yield row(each.name, reading.found, each.unit, n=reading.n, why=why)
    if trained and "lesion" in results:
        for _, one in results["lesion"].table.iloc[1:].iterrows():
            ends = _estimate(one, "delta_pct", "joint_low_pct", "joint_high_pct")
            yield _by_block("block_change", ends, one["blocks"], one["stage"], one["images"])
    if "responses" in results:
        for _, one in ratios(results["responses"].table).iterrows():
            ends = _estimate(one, "value", "ci_low", "ci_high")
            yield _by_block("block_ratio", ends, one["block"], one["stage"], one["images"])


def row(quantity: str, found: Estimate, unit: str, *, n: int = 0, why: str = "") -> Row:
    """A row of the table, of a network as a whole; `why` where there is no value."""
    return {
        "quantity": quantity, "block": 0, "stage": 0, "value": float(found.value),
        "low": float(found.low), "high": float(found.high), "n": n, "unit": unit,
        "why": why if math.isnan(found.value) else "",
    }  # fmt: skip


def _by_block(name: str, found: Estimate, block: Any, stage: Any, images: Any) -> Row:
    made = row(name, found, BY_BLOCK[name], n=int(images))
    return {**made, "block": int(block), "stage": int(stage)}


def _read(quantity: Quantity, result: Result) -> tuple[Reading, str]:
    try:
        reading = quantity.read(result)
    except ProbeError as error:
        return Reading(NONE, 0), str(error)
    return reading, "not defined: nothing varies" if math.isnan(reading.found.value) else ""


def _estimate(row: pd.Series, value: str, low: str, high: str) -> Estimate:
    return Estimate(*(float(row[name]) for name in (value, low, high)))


def networks(table: pd.DataFrame) -> pd.DataFrame:
    """A row a network, in order: what is known of it, its facts, and the value of each quantity."""
    whole = table[table["block"] == 0]
    known = whole.drop_duplicates("network").set_index("network")
    values = whole.pivot(index="network", columns="quantity", values="value")
    wanted = [*FACTS, *BY_NAME]
    values = values.reindex(index=known.index, columns=wanted)
    return known[["family", "arch", "weights", "data", "trained", "residual"]].join(values)


def with_depth(table: pd.DataFrame) -> Finding:
    """Does the share of harmless blocks rise with depth?"""
    return _rises(table, "blocks", "depth", "the number of blocks")


def with_width(table: pd.DataFrame) -> Finding:
    """Does the share of harmless blocks rise with width?"""
    return _rises(table, "width", "width", "the mean number of channels of a block’s layers")


def _rises(table: pd.DataFrame, by: str, called: str, what: str) -> Finding:
    """Judged by the rank correlation over trained residual networks, those on the same images
    ranked among themselves."""
    found = networks(table)
    found = found[found["trained"] & found["residual"] & found["harmless"].notna()]
    rho = rank_correlation(found[by], found["harmless"], groups=found["data"])
    sets = found["data"].nunique()
    values: dict[str, Any] = {
        "networks": len(found), "sets": sets, "rho": rho.value, "rho_low": rho.low,
        "rho_high": rho.high, "none": 0, "from": found[by].min(), "to": found[by].max(),
    }  # fmt: skip
    of = f"{{networks}} trained residual network{'s' * (len(found) != 1)}"
    claim = f"the share of harmless blocks rises with {called}"
    rule = Sentence(
        f"It does where Spearman’s ρ between {what} and the share of blocks whose deletion changes "
        "the error by at most the margin, over networks ranked among those on the same images, "
        "lies above {none} with its whole interval; the claim fails where all of it lies below.",
        values,
    )
    if math.isnan(rho.value):
        why = _no_order(found, by)
        opening = f"Whether the share of harmless blocks rises with {called} is not decided: "
        sentence = Sentence(f"{opening}{of}, {why}.", values)
        return Finding(sentence, sentence, claim, rule, UNDECIDED, rho)
    verdict = at_least(rho, 0)
    opening = one_of(
        verdict,
        f"The share of harmless blocks rises with {called}: ",
        f"The share of harmless blocks falls with {called}: ",
        f"Whether the share of harmless blocks rises with {called} is not decided: ",
    )
    sentence = Sentence(
        f"{opening}Spearman’s ρ is {{rho:.2f}}{interval('rho', values, unit='')} over {of} on "
        f"{{sets}} set{'s' * (sets != 1)} of images, ranked within each, with {{from:g}} to "
        f"{{to:g}} {FACTS[by]}.",
        values,
    )
    return Finding(sentence, sentence, claim, rule, verdict, rho)


def _no_order(found: pd.DataFrame, by: str) -> str:
    """Why the networks have no rank correlation."""
    if found[by].nunique() == 1 and len(found) > 1:
        return f"and all of them have {{from:g}} {FACTS[by]}"
    return "and no two on the same images that differ in both"


def stage_of_worst(table: pd.DataFrame) -> Finding:
    """Which stage holds the block whose deletion costs most?

    Judged for the first stage against the share of blocks that it has.
    """
    found = networks(table)
    chosen = found["trained"] & found["residual"] & (found["stages"] > 1)
    found = found[chosen & found["worst_stage"].notna()]
    claim = "the first stage holds the worst block more often than by chance"
    values: dict[str, Any] = {"networks": len(found), "none": 0}
    if found.empty:
        sentence = Sentence(
            "Which stage holds the worst block cannot be said: there is no trained residual "
            "network of several stages.", values,
        )  # fmt: skip
        return Finding(sentence, sentence)
    place = found["worst_stage"]
    first, last = int((place == 1).sum()), int((place == found["stages"]).sum())
    ends = [100 * float(end) for end in wilson(first, len(found))]
    expected = _first_stage(table, found.index)
    share = Estimate(100 * first / len(found), *ends)
    values |= {
        "first": first, "between": len(found) - first - last, "last": last, "share": share.value,
        "share_low": share.low, "share_high": share.high, "expected": expected,
        "sure": _sure(table, found.index),
    }  # fmt: skip
    apart = Estimate(*(end - expected for end in share))
    verdict = at_least(apart, 0)
    opening = one_of(
        verdict,
        "The worst block lies in the first stage more often than by chance: ",
        "The worst block lies in the first stage less often than by chance: ",
        "Whether the first stage holds the worst block more often than by chance is not decided: ",
    )
    sentence = Sentence(
        f"{opening}{{first}} of {{networks}} trained residual networks of several stages "
        f"({{share:.0f}} %, {inside('share', values, '.0f')}) have it there, {{last}} in the last "
        "stage and {between} between, where the first stage holds {expected:.0f} % of the blocks; "
        "in {sure} of them the intervals leave one stage only.",
        values,
    )
    rule = Sentence(
        "It does where the whole Wilson interval of the share of networks lies above the mean "
        "share of blocks in the first stage; the claim fails where all of it lies below.",
        values,
    )
    return Finding(sentence, sentence, claim, rule, verdict, share)


def _first_stage(table: pd.DataFrame, names: pd.Index) -> float:
    """The mean over networks of the share of blocks in the first stage, in %."""
    blocks = table[(table["quantity"] == "block_change") & table["network"].isin(names)]
    shares = (blocks["stage"] == 1).groupby(blocks["network"]).mean()
    return 100 * float(shares.mean())


def _sure(table: pd.DataFrame, names: pd.Index) -> int:
    rows = table[(table["quantity"] == "worst_stage") & table["network"].isin(names)]
    return int((rows["low"] == rows["high"]).sum())


QUESTIONS = (with_depth, with_width, stage_of_worst)


def summarize_atlas(result: Result) -> str:
    """The lines that a run of `atlas` prints."""
    table = result.table
    found = networks(table)
    missing = found[found["blocks"].isna()]
    lines = [
        f"{len(found)} networks: {int(found['trained'].sum())} trained, "
        f"{int((~found['trained']).sum()) - len(missing)} untrained"
        + (f", {len(missing)} not measured" if len(missing) else "")
    ]
    for name in missing.index:
        lines.append(f"  {name}: {_why(table, str(name))}")
    for ask in QUESTIONS:
        finding = ask(table)
        verdict = f"[{finding.verdict}] " if finding.verdict else ""
        lines.append(f"– {verdict}{finding.sentence}")
    return "\n".join(lines)


def _why(table: pd.DataFrame, name: str) -> str:
    return str(table.loc[table["network"] == name, "why"].iloc[0])
