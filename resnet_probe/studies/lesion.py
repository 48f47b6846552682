"""Accuracy after deleting, permuting and duplicating blocks (Veit et al. 2016, section 4)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import DEFAULT_MEMORY
from resnet_probe.engine.sweep import Piece, Progress, Sweep
from resnet_probe.errors import ProbeError
from resnet_probe.results import Result
from resnet_probe.stats import mcnemar, wilson
from resnet_probe.studies import counts as counting
from resnet_probe.studies.plan import name_of, plan
from resnet_probe.studies.recalibration import recalibrated_outcomes, side_by_side

KEEP_EVERY = 512
"""Images after which the outcome is handed to the journal."""


class Keeper(Protocol):
    """What keeps finished images: `resnet_probe.results.journal.Journal`, for one."""

    def record(self, start: int, stop: int, correct: np.ndarray, extra: dict[str, Any]) -> None: ...
    def done(self) -> Any: ...


def lesion(
    chain: ResidualChain,
    images: Images,
    labels: Tensor,
    *,
    edit: str = "delete",
    counts: Sequence[int] | None = None,
    draws: int = 60,
    tau: Sequence[float] | None = None,
    seed: int = 0,
    unit: str = "block",
    batch: int | None = None,
    memory: int = DEFAULT_MEMORY,
    exact: bool = False,
    recalibrate: Images | None = None,
    journal: Keeper | None = None,
    recalibrate_journal: Keeper | None = None,
    progress: Progress | None = None,
) -> Result:
    """The error of the chain after each edit, on `images` `[n, …]` with `labels` `[n]`.

    Options as in `plan` (which edits) and `Sweep` (how they are run).  A row of the table is an
    edit, the first one the baseline; errors, their difference from the baseline and the 95 %
    Wilson interval are in percent; `p_value` is McNemar's, exact, paired with the baseline on the
    same images and not corrected for the number of rows, from the `lost` images, which only the
    baseline has right, and those `gained`, which only the edited network has; `near_ties` counts
    images whose two best logits lie within 1e-4, which alone may depend on rounding;
    `top5_correct`, with 100 classes or more, those whose class is among the five best.  With
    `recalibrate` `[m, …]`, training images, every edit is measured once more with batch-norm
    statistics re-estimated on them: the columns of `recalibration.side_by_side`.  The journals keep
    what is finished.

    Raises `ProbeError` for options out of range, labels outside the head's classes, images of
    another shape than the chain's, logits that are not finite, and what `recalibrated` refuses.
    """
    began = time.perf_counter()
    check_data(chain, images, labels)
    edits = plan(chain, edit, counts=counts, draws=draws, tau=tau, seed=seed, unit=unit)
    sweep = Sweep(chain, batch=batch, memory=memory, exact=exact)
    correct, counted = _measure(sweep, edits, images, labels, journal, progress)
    table = tabulate(chain, edits, correct, counted, seed=seed)
    if recalibrate is not None:
        own = recalibrated_outcomes(
            chain, edits, recalibrate, images, labels, batch=batch, memory=memory, exact=exact,
            journal=recalibrate_journal, progress=progress,
        )  # fmt: skip
        table = side_by_side(table, correct, own)
    study = name_of(edit, counts=counts, tau=tau)
    what = {"study": study, "arch": chain.name, "images": len(images)}
    identity = {**what, "edit": edit, "seed": seed, "draws": draws, "exact": exact}
    if unit != "block":
        identity["unit"] = unit
    if recalibrate is not None:
        identity["recalibrate"] = len(recalibrate)
    facts = {"near_ties": int(counted["near_ties"].sum()), "seconds": time.perf_counter() - began}
    kind = {"blocks": len(chain), "residual": chain.residual, "unit": unit}
    return Result(study, table, {"identity": identity, **kind, **facts})


def check_data(chain: ResidualChain, images: Images, labels: Tensor) -> None:
    """Raises `ProbeError` unless the images and labels fit each other and the chain."""
    if len(images) == 0 or len(images) != len(labels):
        raise ProbeError(
            f"{len(images)} images and {len(labels)} labels: as many of each, and some"
        )
    if tuple(images.shape[1:]) != chain.input_shape:
        raise ProbeError(
            f"images of shape {tuple(images.shape[1:])} do not fit: {chain.name} was cut for "
            f"images of shape {chain.input_shape}"
        )
    outside = torch.nonzero((labels < 0) | (labels >= chain.classes)).flatten()
    if len(outside):
        first = int(outside[0])
        raise ProbeError(
            f"label {int(labels[first])} of image {first} is outside the head's classes: "
            f"{chain.name} has {chain.classes} (0–{chain.classes - 1})"
        )


def tabulate(
    chain: ResidualChain,
    edits: Sequence[Edit],
    correct: np.ndarray,
    counted: counting.Counts,
    *,
    seed: int,
) -> pd.DataFrame:
    """One row an edit from `correct`, bool `[edits, images]`, whose first row is the baseline."""
    right, images = correct.sum(axis=1), correct.shape[1]
    low, high = wilson(right, images)
    error = 100 * (1 - right / images)
    only_baseline = (correct[0] & ~correct).sum(axis=1)
    only_edited = (~correct[0] & correct).sum(axis=1)
    frame = pd.DataFrame([_describe(chain, edit) for edit in edits])
    table = frame.assign(
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
    return counting.with_counts(table, counted)


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


def _measure(
    sweep: Sweep,
    edits: Sequence[Edit],
    images: Images,
    labels: Tensor,
    journal: Keeper | None,
    progress: Progress | None,
) -> tuple[np.ndarray, counting.Counts]:
    """(correct, bool [edits, images]; what else is counted, int [edits])."""
    correct = np.zeros((len(edits), len(images)), dtype=bool)
    counted = none = counting.none(len(edits), classes=sweep.chain.classes)
    first = 0
    for shard in journal.done() if journal else ():
        if shard.start == first and len(shard.correct) == len(edits):
            correct[:, shard.start : shard.stop] = shard.correct
            counted = counting.plus(counted, shard.extra)
            first = shard.stop
    fresh, kept = deepcopy(none), first
    for piece in _pieces(sweep, edits, images[first:], progress):
        start, stop = first + piece.start, first + piece.stop
        if journal and start >= kept + KEEP_EVERY:
            journal.record(kept, start, correct[:, kept:start], fresh)
            counted, fresh, kept = counting.plus(counted, fresh), deepcopy(none), start
        right, more = _judge(piece, labels[start:stop], edits)
        for index in piece.edits:
            correct[index, start:stop] = right
            for name, number in more.items():
                fresh[name][index] += number
    return correct, counting.plus(counted, fresh)


def _pieces(sweep: Sweep, edits: Sequence[Edit], images: Images, progress: Progress | None) -> Any:
    return sweep.run(edits, images, progress=progress) if len(images) else ()


def _judge(
    piece: Piece, labels: Tensor, edits: Sequence[Edit]
) -> tuple[np.ndarray, dict[str, int]]:
    logits = piece.logits.float()
    if not torch.isfinite(logits).all():
        edit = edits[piece.edits[0]]
        raise ProbeError(
            f"the logits of images {piece.start}–{piece.stop - 1} are not finite "
            f"({edit.kind} {edit.blocks}".rstrip()
            + "): the network or its input holds NaN or Inf"
        )
    return counting.judged(logits, labels)
