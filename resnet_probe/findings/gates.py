"""Is the loss a straight line around the trained gates, and is 1 the best of them?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from resnet_probe.findings.lesion import whole_network
from resnet_probe.findings.sentence import Finding, Sentence, interval, of_its_inputs
from resnet_probe.findings.verdict import at_least, one_of
from resnet_probe.results import Result
from resnet_probe.stats import Estimate

HALF = 0.5
"""R² from which on the gradient is said to foretell what deletions cost."""
SHOWN = 5


@of_its_inputs
def foretold(result: Result) -> Finding:
    """Does the gradient foretell what deleting a block costs?

    Judged by R² of the foretold changes in loss over the blocks at the gate nearest to 0, its
    interval over images; beside it the same at the gate nearest to 1.
    """
    gates = sorted(float(gate) for gate in result.provenance["taylor_r2"])
    near, far = min(gates, key=lambda g: abs(g - 1)), min(gates, key=abs)
    values: dict[str, Any] = {"near": near, "far": far, "half": HALF}
    values |= {"blocks": result.table["block"].nunique() - 1,
               "images": int(result.table["images"].iloc[0])}  # fmt: skip
    for name, fact, gate in (
        ("near_r2", "taylor_r2", near), ("far_r2", "taylor_r2", far), ("rho", "taylor_rank", far)
    ):  # fmt: skip
        _put(values, name, result.provenance[fact][f"{gate:g}"])
    estimate = Estimate(values["far_r2"], values["far_r2_low"], values["far_r2_high"])
    verdict = at_least(estimate, HALF)
    opening = one_of(
        verdict,
        "The gradient foretells what a block costs: ",
        "The gradient does not foretell what a block costs: ",
        "Whether the gradient foretells what a block costs is not decided: ",
    )
    return Finding(
        Sentence(
            f"{opening}as a straight line from gate one, R² over the {{blocks}} blocks is "
            f"{{far_r2:.2f}}{interval('far_r2', values, unit='')} at a gate of {{far:g}} and "
            f"{{near_r2:.2f}}{interval('near_r2', values, unit='')} at {{near:g}}; at {{far:g}} it "
            f"orders the blocks with Spearman’s ρ of {{rho:.2f}}{interval('rho', values, unit='')} "
            "({images} images).",
            values,
        ),
        claim="the gradient at the trained gates foretells what deleting a block costs",
        rule=Sentence(
            "It does where R² of the foretold changes in loss is at least {half:g}, the whole "
            "interval over images included; the claim fails where the whole interval lies below.",
            values,
        ),
        verdict=verdict,
        estimate=estimate,
    )


@of_its_inputs
def best_gates(result: Result) -> Finding:
    """Is any other gate shown to be better than the trained one?  A description."""
    rows = result.table.iloc[1:]
    better = rows[rows["joint_loss_high"] < 0]
    some = better if len(better) else rows
    best = some.iloc[int(some["delta_loss"].to_numpy().argmin())]
    values: dict[str, Any] = {
        "blocks": rows["block"].nunique(), "better": better["block"].nunique(),
        "gate": best["gate"], "block": int(best["block"]), "gain": -best["delta_loss"],
        "gain_low": -best["joint_loss_high"], "gain_high": -best["joint_loss_low"],
        "loss": result.table["loss"].iloc[0],
    }  # fmt: skip
    text = (
        "Of the {blocks} blocks {better} are shown to have a better gate than the trained one on "
        "these images, all blocks and gates together; "
    )
    if best["delta_loss"] < 0:
        text += "the largest gain shown" if len(better) else "the largest gain"
        text += (
            " is {gain:.4f} nats of {loss:.4f}"
            + interval("gain", values, ".4f", "", "joint 95 % CI")
            + ", block {block} at {gate:g}."
        )
    else:
        text += "no other gate has a smaller loss."
    return Finding(Sentence(text, values))


def _put(values: dict[str, Any], name: str, found: list[float]) -> None:
    values |= dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


@of_its_inputs
def summarize_gates(result: Result) -> str:
    """The lines that a run of `gates` prints."""
    base, rows = result.table.iloc[0], result.table.iloc[1:]
    line = foretold(result)
    lines = [
        whole_network(result, base),
        f"loss: {base.loss:.4f} nats in the mean over {base.images:,} images",
        "gate   mean change in loss, largest       R² of the gradient's line (95 % CI)",
    ]
    for gate, some in rows.groupby("gate"):
        r2, low, high = result.provenance["taylor_r2"][f"{gate:g}"]
        ends = "" if pd.isna(low) else f"({low:.2f} to {high:.2f})"
        worst = some.iloc[int(some["delta_loss"].abs().to_numpy().argmax())]
        lines.append(
            f"{gate:4g}   {some['delta_loss'].mean():+.4f}, {worst['delta_loss']:+.4f} (block "
            f"{int(worst['block']):>3})     {'undefined' if pd.isna(r2) else f'{r2:6.2f}'}  {ends}"
        )
    lines += [str(line.sentence), f"{line.claim}: {line.verdict}"]
    return "\n".join([*lines, str(best_gates(result).sentence)])
