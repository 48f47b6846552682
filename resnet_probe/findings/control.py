"""Are deletions mild because they are small, or because of what they take away?"""

from __future__ import annotations

from resnet_probe.findings.lesion import tally
from resnet_probe.findings.verdict import changes
from resnet_probe.results import Result

MOVES = {
    "other image": "as far along another image's branch",
    "noise": "as far along white noise",
    "sign": "twice as far, the branch reversed",
}


def summarize_control(result: Result) -> str:
    """The lines that a run of `control` prints."""
    table = result.table
    base, edited = table.iloc[0], table.iloc[1:]
    words = changes(edited)
    lines = [
        f"baseline: {base.error_pct:.2f} % error ({base.correct} of {base.images} correct, "
        f"95 % CI {base.ci_low_pct:.2f}–{base.ci_high_pct:.2f} %)"
    ]
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
    over = "in the mean over blocks (95 % CI over images"
    if low > 0:
        return f"a deletion costs {value:.2f} points more than {move}, {over} {low:.2f}–{high:.2f})"
    if high < 0:
        return (
            f"a deletion costs {-value:.2f} points less than {move}, {over} {-high:.2f}–{-low:.2f})"
        )
    return (
        f"whether a deletion costs more than {move} is not decided: {value:+.2f} points {over} "
        f"{low:+.2f} to {high:+.2f})"
    )
