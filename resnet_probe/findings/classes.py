"""Which classes a block serves: from a lesion's table by class."""

from __future__ import annotations

from typing import Any

from resnet_probe.findings.sentence import Finding, Sentence, listed
from resnet_probe.results import Result

SHOWN = 8


def summarize_classes(result: Result) -> str:
    """The lines that a lesion by class prints."""
    table = result.table
    base, edited = table[table["place"] == 0], table[table["place"] > 0]
    correct, images = int(base["correct"].sum()), int(base["images"].sum())
    lines = [
        f"baseline: {100 * (1 - correct / images):.2f} % error ({correct} of {images} correct), by "
        f"class {base['error_pct'].min():.2f} to {base['error_pct'].max():.2f} %",
        str(served_classes(result).sentence),
    ]
    harmed = edited[edited["joint_low_pct"] > 0]
    several = edited.groupby("place")["delta_pct"].agg(lambda x: x.max() - x.median())
    for place in several.nlargest(SHOWN).index:
        rows = edited[edited["place"] == place]
        worst = rows.loc[rows["delta_pct"].idxmax()]
        own = harmed.loc[harmed["place"] == place, "class"].astype(str)
        lines.append(
            f"  {worst['kind']} {worst['blocks']}: class {worst['class']} "
            f"{worst['delta_pct']:+z.1f} points (all together {worst['joint_low_pct']:+z.1f} to "
            f"{worst['joint_high_pct']:+z.1f}), the median class "
            f"{rows['delta_pct'].median():+z.1f}; harmed: "
            f"{listed(list(own)) if len(own) else 'none'}"
        )
    return "\n".join(lines)


def served_classes(result: Result) -> Finding:
    """How many classes are harmed, and whether a block serves some and not others."""
    edited = result.table[result.table["place"] > 0]
    harmed = (edited["joint_low_pct"] > 0).groupby(edited["place"]).sum()
    classes = int(edited["class"].nunique())
    values: dict[str, Any] = {
        "pairs": len(edited), "harmed": int(harmed.sum()), "edits": len(harmed),
        "classes": classes, "some": int(((harmed > 0) & (harmed < classes)).sum()),
        "every": int((harmed == classes).sum()), "none": int((harmed == 0).sum()),
        "images": int(edited.groupby("class")["images"].first().sum()),
    }  # fmt: skip
    return Finding(
        Sentence(
            "Of {pairs} pairs of an edit and a class {harmed} are harmed, all of them together: "
            "{every} of the {edits} edits harm every one of the {classes} classes, {some} some of "
            "them, and {none} none that {images} images could show.",
            values,
        )
    )
