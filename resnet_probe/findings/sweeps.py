"""What tables of listed edits say: of ranges, middles, cuts and values, or of any list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.findings.depth import depth_by_function
from resnet_probe.findings.sentence import (
    Finding,
    Sentence,
    ends_of,
    interval,
    of_its_inputs,
    unit_of_points,
)
from resnet_probe.findings.verdict import (
    CHANGES,
    HARMFUL,
    HARMLESS,
    HELPFUL,
    NEGLIGIBLE,
    UNDECIDED,
    at_least,
    changes,
)
from resnet_probe.results import Result
from resnet_probe.stats import Estimate

LISTED = 12
"""Edits that a summary names one by one."""
HALF = 50.0
VALUES = {
    "zero": "nothing",
    "mean": "its mean",
    "channel mean": "its mean by channel",
    "resample": "its output for another image",
    "constant": "the constant that loses least",
    "linear": "a linear map of the state",
}
DOINGS = {
    "skip": "leaving them out",
    "reverse": "reversing them",
    "shuffle": "putting them in random order",
    "repeat": "running the one in the centre in the place of each",
    "parallel": "running them in parallel",
    "looped": "running them in parallel, in three rounds",
}


@of_its_inputs
def ranges(result: Result) -> Finding:
    """How long a range of consecutive blocks can be missing: a description.

    A range may be missing where it is shown to change the error by less than the margin, all ranges
    together.
    """
    table, words = result.table.iloc[1:], changes(result.table.iloc[1:])
    values: dict[str, Any] = {
        "ranges": len(table),
        "harmful": int((words == HARMFUL).sum()),
        "undecided": int((words == UNDECIDED).sum()),
        "margin": result.identity.get("margin", np.nan),
        "baseline": result.table["error_pct"].iloc[0],
    }
    free = table[np.isin(words, (HARMLESS, NEGLIGIBLE))]
    calm = table[words != HARMFUL]
    harmless = f"harmless (within ± {{margin:g}} {unit_of_points(values['margin'])})"
    text = (
        "Of all {ranges} ranges of consecutive blocks, {harmful} are harmful to delete, all of "
        "them together"
    )
    if len(free):
        text += f"; the longest shown {harmless} has {{free}} {{free_word}}"
        text += _span(free.nlargest(1, "edits"), "free", values)
    else:
        text += f"; not one is shown {harmless}"
    if len(calm):
        text += "; the longest not shown harmful has {calm} {calm_word}"
        text += _span(calm.nlargest(1, "edits"), "calm", values)
    return Finding(Sentence(text + ".", values))


def _span(rows: pd.DataFrame, name: str, values: dict[str, Any]) -> str:
    row = rows.iloc[0]
    blocks = [int(b) for b in str(row["blocks"]).split()]
    values |= {
        name: len(blocks), f"{name}_word": "block" if len(blocks) == 1 else "blocks",
        f"{name}_first": blocks[0], f"{name}_last": blocks[-1], f"{name}_error": row["error_pct"],
    }  # fmt: skip
    return f" ({{{name}_first}} to {{{name}_last}}: {{{name}_error:.2f}} %)"


@of_its_inputs
def values_of_branches(result: Result) -> Finding:
    """How much of what a deletion costs is the missing mean, how much is information.

    Claim: more than half of the loss of a deletion is the missing mean, in the mean over blocks.
    Judged by the share that putting the mean in its place saves, its interval over images.
    """
    found = result.provenance.get("by_kind", {})
    shares = result.provenance.get("saved_share_pct", {})
    if "zero" not in found or not shares:
        return Finding(_middle(result))
    values: dict[str, Any] = {}
    _put(values, "zero", found["zero"]["delta_loss"])
    parts = []
    for kind, share in shares.items():
        name = kind.replace(" ", "_")
        values |= {f"{name}_value": VALUES.get(kind, kind)}
        _put(values, name, share)
        parts.append(f"{{{name}_value}} {{{name}:.0f}} %{interval(name, values, '.0f')}")
    explained = _numbers(result.table, "explained")
    text = (
        "In the mean over blocks a deletion costs {zero:.3f} nats"
        + interval("zero", values, ".3f", "")
        + "; of that saves, in the branch’s place: "
        + "; ".join(parts)
        + "."
    )
    if len(explained):
        values |= {"explained": 100 * float(np.median(explained)),
                   "most_explained": 100 * float(np.max(explained))}  # fmt: skip
        text += (
            " A linear map explains {explained:.0f} % of a branch’s variance in the median over "
            "blocks, and {most_explained:.0f} % at most."
        )
    mean = Estimate(*shares["mean"]) if "mean" in shares else Estimate(np.nan, np.nan, np.nan)
    values["half"] = HALF
    rule = Sentence(
        "The mean in the branch’s place has to save at least {half:.0f} % of what a deletion "
        "costs, its whole interval over images included.", values
    )  # fmt: skip
    return Finding(
        Sentence(text, values),
        claim="more than half of a deletion's loss is a missing mean",
        rule=rule,
        verdict=at_least(mean, HALF),
        estimate=mean,
    )


@of_its_inputs
def cuts(result: Result) -> Finding:
    """Is the shortcut worth more than the branch?  Judged by the mean over blocks of the difference
    in error between cutting one and deleting the other, its interval over images."""
    found = result.provenance.get("more_than_delete_pct", {}).get("cut")
    if found is None:
        return Finding(_middle(result))
    values: dict[str, Any] = {"blocks": int((result.table["kind"] == "cut").sum()), "none": 0}
    _put(values, "more", found)
    kinds = result.provenance["by_kind"]
    _put(values, "cut", kinds["cut"]["delta_pct"])
    _put(values, "delete", kinds["delete"]["delta_pct"])
    estimate = Estimate(*found)
    return Finding(
        Sentence(
            "Leaving out the shortcut of one of {blocks} blocks changes the error by {cut:+.2f} "
            f"points in the mean{interval('cut', values, '+.2f', '')}, leaving out its branch by "
            f"{{delete:+.2f}}{interval('delete', values, '+.2f', '')}: "
            f"{{more:+.2f}} points apart{interval('more', values, '+.2f', '')}.",
            values,
        ),
        claim="a shortcut is worth more than the branch beside it",
        rule=Sentence(
            "The whole interval of the difference has to lie above {none} points.", values
        ),
        verdict=at_least(estimate, 0.0),
        estimate=estimate,
    )


@of_its_inputs
def middles(result: Result) -> Finding:
    """What changing ever more of the middle of every stage does: a description, a kind a clause.

    At about half of the blocks that can be changed, and at all of them.
    """
    base, edited = result.table.iloc[0], result.table.iloc[1:]
    values: dict[str, Any] = {"baseline": base["error_pct"]}
    clauses = []
    for place, (kind, rows) in enumerate(edited.groupby("kind", sort=False)):
        median = rows.groupby("edits")["error_pct"].median()
        half = int(np.abs(median.index.to_numpy() - median.index.max() / 2).argmin())
        name = "abcdefghi"[place]
        values |= {
            f"{name}_doing": DOINGS.get(str(kind), str(kind)), f"{name}_some": median.index[half],
            f"{name}_error": median.iloc[half], f"{name}_all": median.index[-1],
            f"{name}_last": median.iloc[-1],
        }  # fmt: skip
        clauses.append(
            f"{{{name}_doing}}: {{{name}_error:.1f}} % with {{{name}_some}} blocks and "
            f"{{{name}_last:.1f}} % with {{{name}_all}}"
        )
    opening = "The error of changed middles of the stages, from {baseline:.2f} %: "
    return Finding(Sentence(opening + "; ".join(clauses) + ".", values))


@of_its_inputs
def listed(result: Result) -> Finding:
    """Of any list of edits: how many do harm, all of them together."""
    return Finding(_middle(result))


def _middle(result: Result) -> Sentence:
    base, edited = result.table.iloc[0], result.table.iloc[1:]
    words = changes(edited)
    counts = {f"{word}_count": int((words == word).sum()) for word in CHANGES}
    values = {
        "edits": len(edited), "baseline": base["error_pct"],
        "median": float(edited["error_pct"].median()), "worst": float(edited["error_pct"].max()),
        "margin": result.identity.get("margin", np.nan), **counts,
    }  # fmt: skip
    together = "each by itself" if "stopped" in edited else "all of them together"
    few = [word for word in (NEGLIGIBLE, HELPFUL) if counts[f"{word}_count"]]
    others = "".join(f"{{{word}_count}} {word}, " for word in few)
    return Sentence(
        "From {baseline:.2f} % error, {edits} edits give {median:.2f} % in the median and "
        f"{{worst:.2f}} % at worst; {together}, {{{HARMFUL}_count}} are harmful, "
        f"{{{HARMLESS}_count}} harmless (within ± {{margin:g}} "
        f"{unit_of_points(values['margin'])}), {others}{{{UNDECIDED}_count}} "
        "undecided.",
        values,
    )


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """What a column holds, where there is such a column."""
    return table[column].dropna().to_numpy(float) if column in table else np.array([])


def _put(values: dict[str, Any], name: str, found: list[float]) -> None:
    value, low, high = (np.nan if end is None else float(end) for end in found)
    values |= {name: value, f"{name}_low": low, f"{name}_high": high}


FINDINGS: dict[str, Callable[[Result], Finding]] = {
    "lesion-ranges": ranges,
    "lesion-replace": values_of_branches,
    "lesion-cut": cuts,
    **{f"lesion-{name}": middles for name in (*DOINGS, "middles")},
}
"""By the name of a result; of every other list `listed`."""


def summarize(result: Result) -> list[str]:
    """The lines of a list of edits, below the baseline's."""
    finding = FINDINGS.get(result.study, listed)(result)
    lines = [str(finding.sentence)]
    if finding.claim:
        lines.append(f"{finding.claim}: {finding.verdict}")
    if result.study == "lesion-ranges" and "joint_low_pct" in result.table:
        lines.append(str(depth_by_function(result).sentence))
    if result.study in FINDINGS:
        lines += _lines(result, result.table.iloc[1:].nlargest(3, "error_pct"), "worst:")
    else:
        edited = result.table.iloc[1:]
        some = edited if len(edited) <= LISTED else edited.nlargest(LISTED, "error_pct")
        lines += _lines(result, some, "edit" if len(edited) <= LISTED else "worst:")
    return lines


def _lines(result: Result, rows: pd.DataFrame, head: str) -> list[str]:
    early = "stopped" in rows
    how, kind = ("each by itself", "delta") if early else ("all of them together", "joint")
    words = pd.Series(changes(result.table), result.table.index)[rows.index]
    lines = [f"{head:<34}   error   change (its interval, {how})"]
    for (_, row), word in zip(rows.iterrows(), words, strict=True):
        text = str(row["edit"])
        text = text if len(text) <= 32 else text[:31] + "…"
        ends = ends_of(row[f"{kind}_low_pct"], row[f"{kind}_high_pct"])
        lines.append(
            f"  {text:<32} {row['error_pct']:6.2f} %  {row['delta_pct']:+z7.2f}  ({ends})  {word}"
        )
    return lines
