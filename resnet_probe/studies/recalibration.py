"""Lesions with batch-norm statistics of their own: a missing path without stale statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import DEFAULT_MEMORY
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.recalibrate import Renewed, renewed
from resnet_probe.engine.sweep import Progress, Sweep
from resnet_probe.stats import mcnemar, wilson
from resnet_probe.studies.checks import check_finite, predicted

if TYPE_CHECKING:
    from resnet_probe.studies.lesion import Keeper


def recalibrated_outcomes(
    chain: ResidualChain,
    edits: Sequence[Edit],
    training: Images,
    images: Images,
    labels: Tensor,
    *,
    batch: int | None = None,
    memory: int = DEFAULT_MEMORY,
    exact: bool = False,
    journal: Keeper | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Which images each edited network has right, bool `[edits, images]`, its statistics renewed.

    `training` `[m, …]` are the images that the statistics come from: never those in `images`.  A
    shard of the `journal` is a range of edits, the images its rows.  Half of the memory budget is
    for the states of the training images.
    """
    correct = np.zeros((len(edits), len(images)), dtype=bool)
    left = dict(enumerate(edits))
    for shard in journal.done() if journal else ():
        if shard.correct.shape == (len(images), shard.stop - shard.start):
            correct[shard.start : shard.stop] = shard.correct.T
            for index in range(shard.start, shard.stop):
                left.pop(index, None)
    indices = list(left)
    if not indices:
        return correct
    done = len(edits) - len(indices)
    networks = renewed(chain, [left[index] for index in indices], training, memory=memory // 2)
    with full_precision(chain.device):
        for network in networks:
            sweep = Sweep(network.chain, batch=batch, memory=memory // 2, exact=exact)
            right = _judge(sweep, network, images, labels)
            for index in (indices[edit] for edit in network.edits):
                correct[index] = right
                if journal:
                    journal.record(index, index + 1, right[:, None], {})
            done += len(network.edits)
            if progress is not None:
                progress(done, len(edits))
    return correct


def side_by_side(table: pd.DataFrame, correct: np.ndarray, renewed: np.ndarray) -> pd.DataFrame:
    """The table of a lesion with the columns of the renewed networks beside its own.

    `correct` and `renewed` are bool `[edits, images]`, the baseline first.

    | column | |
    |---|---|
    | `recalibrated_correct` | images that the network with renewed statistics has right |
    | `recalibrated_error_pct` | its error; the ends of its Wilson interval behind |
    | `recalibrated_delta_pct` | points on the renewed baseline |
    | `recalibrated_p_value` | McNemar's, against the renewed baseline |
    | `restored_pct` | points of error that renewing takes off this network |
    | `restored_p_value` | McNemar's, against the same network with the trained statistics |
    """
    right, images = renewed.sum(axis=1), renewed.shape[1]
    low, high = wilson(right, images)
    error = 100 * (1 - right / images)
    return table.assign(
        recalibrated_correct=right,
        recalibrated_error_pct=error,
        recalibrated_delta_pct=error - error[0],
        recalibrated_ci_low_pct=100 * (1 - high),
        recalibrated_ci_high_pct=100 * (1 - low),
        recalibrated_p_value=_mcnemar(renewed[:1], renewed),
        restored_pct=100 * (right - correct.sum(axis=1)) / images,
        restored_p_value=_mcnemar(correct, renewed),
    )


def _mcnemar(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return mcnemar((one & ~other).sum(axis=1), (~one & other).sum(axis=1))


def _judge(sweep: Sweep, network: Renewed, images: Images, labels: Tensor) -> np.ndarray:
    program = Edit("renewed", 0, "", network.steps)
    right = torch.zeros(len(images), dtype=torch.bool)
    for piece in sweep.run([program], images):
        check_finite(piece.logits, network.chain, piece.start)
        best = predicted(piece.logits.float()).cpu()
        right[piece.start : piece.stop] = best == labels[piece.start : piece.stop].cpu()
    return right.numpy()
