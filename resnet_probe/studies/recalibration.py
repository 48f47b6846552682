"""Lesions with batch-norm statistics of their own: a missing path without stale statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.recalibrate import one_chain, renewed
from resnet_probe.engine.sweep import Sweep
from resnet_probe.stats import mcnemar, wilson
from resnet_probe.studies.outcomes import answers, outcomes
from resnet_probe.studies.study import Run, Subject


def recalibrated_outcomes(
    chain: ResidualChain, edits: Sequence[Edit], subject: Subject, run: Run, *, exact: bool = False
) -> np.ndarray:
    """Which images each edited network has right, bool `[edits, images]`, its statistics renewed.

    The statistics come from the subject's training images `[m, …]`: never those that are tested.
    Edits that begin alike share their blocks, in both passes.  Half of the memory budget is for the
    states of the training images.
    """
    assert subject.training is not None
    with full_precision(chain.device):
        networks = list(renewed(chain, edits, subject.training, memory=run.memory // 2))
        every, programs = one_chain(networks)
        sweep = Sweep(every, batch=run.batch, memory=run.memory, exact=exact)
        found = outcomes(
            sweep, programs, subject.images, subject.labels, answers, run, key="recalibrated-"
        )
    return np.asarray(found["answer"] == subject.labels.cpu().numpy())


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
