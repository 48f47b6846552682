"""Are deletions mild because they are small, or because of what they take away?"""

from __future__ import annotations

from math import isfinite
from typing import Any

from resnet_probe.errors import ProbeError
from resnet_probe.findings.lesion import tally, whole_network
from resnet_probe.findings.sentence import Finding, Sentence, interval, of_its_inputs
from resnet_probe.findings.verdict import ALIKE, FAILS, HOLDS, UNDECIDED, changes, one_of, within
from resnet_probe.results import Result
from resnet_probe.stats import Estimate

MOVES = {
    "other image": "as far along another image's branch",
    "noise": "as far along white noise",
    "sign": "twice as far, the branch reversed",
}


SAME_SIZE = {"other image": "along another image’s branch", "noise": "along white noise"}


@of_its_inputs
def same_size(result: Result) -> Finding:
    """Are deletions mild because residuals are small?  From the moves of the same norm.

    The claim holds where a deletion costs as much as each of them, to within half a point in the
    mean over blocks, and fails where it does not for one.  Raises `ProbeError` for a table with
    none of them.
    """
    against = result.provenance["against"]
    found = {kind: Estimate(*against[kind]) for kind in SAME_SIZE if kind in against}
    if not found:
        raise ProbeError(f"needs a move of the same size: {' or '.join(SAME_SIZE)}")
    verdicts = [within(each, ALIKE) for each in found.values()]
    verdict = FAILS if FAILS in verdicts else HOLDS if set(verdicts) == {HOLDS} else UNDECIDED
    values: dict[str, Any] = {"margin": ALIKE, "images": result.table["images"].iloc[0]}
    parts = []
    for place, (kind, each) in enumerate(found.items()):
        name = f"apart_{'ab'[place]}"
        values |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
        parts.append(
            f"{{{name}:+.2f}} points{interval(name, values, '+.2f', '')} {SAME_SIZE[kind]}"
        )
    opening = one_of(
        verdict,
        "Any move of that size costs as much: ",
        "It is not their size alone: ",
        "Whether their size alone explains it is not decided: ",
    )
    in_full = (
        "in the mean over blocks a deletion costs more than a move of the same norm by "
        + " and by ".join(parts)
        + ", on the same {images:,} images"
    )
    farthest = max(found.values(), key=lambda each: abs(each.value))
    return Finding(
        sentence=Sentence(opening + in_full + _reversed(against, values) + ".", values),
        claim="blocks can be deleted because their residuals are small",
        rule=Sentence(
            "The claim holds where a deletion costs as much as each move of the same norm, the "
            "whole interval of the difference within ± {margin:g} points, and fails where one lies "
            "outside.",
            values,
        ),
        verdict=verdict,
        estimate=farthest,
    )


def _reversed(against: dict[str, Any], values: dict[str, Any]) -> str:
    if "sign" not in against:
        return ""
    low, high = sorted(-end for end in against["sign"][1:])
    values |= {"sign": -against["sign"][0], "sign_low": low, "sign_high": high}
    return (
        "; the reversed branch, a move twice as long, costs {sign:+.2f} points more than a deletion"
        + interval("sign", values, "+.2f", "")
    )


@of_its_inputs
def summarize_control(result: Result) -> str:
    """The lines that a run of `control` prints."""
    table = result.table
    base, edited = table.iloc[0], table.iloc[1:]
    words = changes(edited)
    lines = [whole_network(result, base)]
    kinds = [str(kind) for kind in edited["kind"].unique()]
    for kind in kinds:
        rows = edited["kind"] == kind
        error = edited["error_pct"][rows]
        lines.append(
            f"{kind:<12} median {error.median():6.2f} % error, worst {error.max():6.2f} %; of "
            f"{len(error)}, all {len(edited)} edits together: {tally(words[rows])}"
        )
    lines += [_beside(kind, *found) for kind, found in result.provenance["against"].items()]
    return "\n".join(lines)


def _beside(kind: str, value: float, low: float, high: float) -> str:
    """Whether a deletion costs more than a move, in the mean over blocks."""
    move = f"a move {MOVES[kind]}"
    mean = "in the mean over blocks"
    over = f"{mean} (95 % CI over images"
    if low > 0:
        return f"a deletion costs {value:.2f} points more than {move}, {over} {low:.2f}–{high:.2f})"
    if high < 0:
        return (
            f"a deletion costs {-value:.2f} points less than {move}, {over} {-high:.2f}–{-low:.2f})"
        )
    ends = f"{over} {low:+z.2f} to {high:+z.2f})" if isfinite(low) else f"{mean} (no interval)"
    return f"whether a deletion costs more than {move} is not decided: {value:+z.2f} points {ends}"
