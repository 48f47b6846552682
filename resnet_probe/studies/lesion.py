"""Accuracy after deleting, permuting and duplicating blocks (Veit et al. 2016, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from resnet_probe.settings import Settings, listed, numbers, option, taus
from resnet_probe.stats import mcnemar, wilson
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualBlock, ResidualChain
    from resnet_probe.edits import Edit


@dataclass(frozen=True, kw_only=True)
class LesionSettings(Settings):
    """Which edits are made, and how they are run."""

    edit: str = option(
        "delete",
        "what is done to blocks (default: delete)",
        choices=("delete", "permute", "duplicate"),
    )
    counts: tuple[int, ...] | None = option(
        None,
        "how many random edits at once (default: delete every block once; permute and duplicate "
        "1-20)",
        read=numbers,
        write=listed,
        metavar="1-20",
    )
    draws: int = option(60, "random draws for each count or τ (default: 60)", metavar="N")
    tau: tuple[float, ...] | None = option(
        None,
        "permute to these values of Kendall's τ instead of counting swaps",
        read=taus,
        write=listed,
        metavar="FROM:TO:STEP",
    )
    seed: int = option(0, "of all random draws (default: 0)", metavar="N", group="run")
    unit: str = option(
        "block",
        "edit single blocks, or whole layers: the attention and the MLP of a transformer's layer "
        "together (default: block)",
        choices=("block", "layer"),
    )
    exact: bool = option(
        False,
        "run the network's own modules, nothing folded: the arithmetic of the plain loop",
        group="run",
    )


def title_of(settings: LesionSettings) -> str:
    """lesion, lesion-counts, lesion-permute(-tau), lesion-duplicate; of layers with -layers."""
    kind = "lesion" if settings.edit == "delete" else f"lesion-{settings.edit}"
    if settings.edit == "delete" and settings.counts is not None:
        kind += "-counts"
    return kind + ("-tau" if settings.tau is not None else "")


def edits_of(chain: ResidualChain, settings: LesionSettings) -> list[Edit]:
    """The baseline, then the edits; raises `ProbeError` for those that cannot be made."""
    from resnet_probe.studies.plan import plan

    names = ("edit", "counts", "draws", "tau", "seed", "unit")
    return plan(chain, **{name: getattr(settings, name) for name in names})


def fit(subject: Subject, settings: LesionSettings) -> LesionSettings:
    edits_of(subject.chain, settings)
    return settings


def measure(subject: Subject, settings: LesionSettings, run: Run) -> Measured:
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies.outcomes import answers, outcomes
    from resnet_probe.studies.recalibration import recalibrated_outcomes, side_by_side

    chain, images, labels, training = subject
    edits = edits_of(chain, settings)
    sweep = Sweep(chain, batch=run.batch, memory=run.memory, exact=settings.exact)
    found = outcomes(sweep, edits, images, labels, answers, run)
    correct = found["answer"] == labels.cpu().numpy()
    table = tabulate(chain, edits, correct, found, seed=settings.seed)
    if training is not None:
        own = recalibrated_outcomes(chain, edits, subject, run, exact=settings.exact)
        table = side_by_side(table, correct, own)
    near = int(found["sum.near_ties"].sum())
    return table, {"unit": settings.unit, "near_ties": near}


def tabulate(
    chain: ResidualChain,
    edits: Sequence[Edit],
    correct: np.ndarray,
    found: Arrays,
    *,
    seed: int,
) -> pd.DataFrame:
    """One row an edit from `correct`, bool `[edits, images]`, whose first row is the baseline."""
    right, images = correct.sum(axis=1), correct.shape[1]
    low, high = wilson(right, images)
    error = 100 * (1 - right / images)
    only_baseline = (correct[0] & ~correct).sum(axis=1)
    only_edited = (~correct[0] & correct).sum(axis=1)
    table = pd.DataFrame([_describe(chain, edit) for edit in edits]).assign(
        seed=seed,
        tau=[np.nan if edit.tau is None else edit.tau for edit in edits],
        correct=right,
        images=images,
        error_pct=error,
        delta_pct=error - error[0],
        ci_low_pct=100 * (1 - high),
        ci_high_pct=100 * (1 - low),
        p_value=mcnemar(only_baseline, only_edited),
        lost=only_baseline,
        gained=only_edited,
    )
    if "sum.top5_correct" in found:
        top = 100 * (1 - found["sum.top5_correct"] / images)
        table = table.assign(
            top5_correct=found["sum.top5_correct"], top5_error_pct=top, top5_delta_pct=top - top[0]
        )
    return table.assign(near_ties=found["sum.near_ties"])


def _describe(chain: ResidualChain, edit: Edit) -> dict[str, Any]:
    touched = [] if edit.kind == "permute" else [int(b) for b in edit.blocks.split()]
    blocks = [chain.block(b) for b in touched]
    return {
        "kind": edit.kind,
        "edits": edit.edits,
        "blocks": edit.blocks,
        "names": " ".join(block.name for block in blocks),
        "stage": " ".join(_stages(edit, blocks)),
        "shortcut": "; ".join(dict.fromkeys(block.shortcut_kind for block in blocks)),
        "draw": edit.draw,
    }


def _stages(edit: Edit, blocks: Sequence[ResidualBlock]) -> list[str]:
    """One a block; of a layer's blocks, which lie in one stage, it is said once."""
    stages = [str(block.stage) for block in blocks]
    return list(dict.fromkeys(stages)) if edit.edits == 1 else stages


STUDY = Study(
    "lesion",
    description="""\
Delete the blocks of a trained network one at a time, several at once, or put them in another
order, and measure its error after each edit (Veit, Wilber, Belongie 2016, arXiv 1605.06431).
A deleted block keeps its shortcut, with its projection.""",
    examples=(
        "--arch resnet110",
        "--arch resnet110 --counts 1-20 --draws 60",
        "--arch preresnet110 --edit permute --tau 1.0:0.7:0.05",
        "--arch resnet56 --weights resnet56.th --normalize imagenet --data parquet:test.parquet",
    ),
    settings=LesionSettings,
    fit=fit,
    measure=measure,
    title=title_of,
    training=True,
    compared=("veit2016",),
)
lesion = STUDY.function(
    """The error of the chain after each edit, on `images` `[n, …]` with `labels` `[n]`.

    A row of the table is an edit, the first one the baseline; errors, their difference from the
    baseline and the 95 % Wilson interval are in percent; `p_value` is McNemar's, exact, paired with
    the baseline on the same images and not corrected for the number of rows, from the `lost`
    images, which only the baseline has right, and those `gained`, which only the edited network
    has; `near_ties` counts images whose two best logits rounding alone may exchange;
    `top5_correct`, with 100 classes or more, those whose class is among the five best.  With
    `recalibrate=` `[m, …]`, training images, every edit is measured once more with batch-norm
    statistics re-estimated on them: the columns of `recalibration.side_by_side`.  A `journal=`
    keeps what is finished.

    Raises `ProbeError` for options out of range, labels outside the head's classes, images of
    another shape than the chain's, logits that are not finite, and what `recalibrated` refuses."""
)
