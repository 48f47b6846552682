"""What is counted of each edited network's logits, beside which images it has right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

Counts = dict[str, np.ndarray]
"""By name, int `[edits]`: in how many images."""

NEAR_TIE = 1e-4
"""Two best logits nearer than this may change places by rounding alone."""
TOP = 5
MANY = 100
"""Classes from which on the top-5 error says something that the top-1 error does not."""


def none(edits: int, *, classes: int) -> Counts:
    """Zeros of `near_ties`, and of `top5_correct` from 100 classes on."""
    names = ("near_ties", "top5_correct") if classes >= MANY else ("near_ties",)
    return {name: np.zeros(edits, dtype=int) for name in names}


def judged(logits: Tensor, labels: Tensor) -> tuple[np.ndarray, dict[str, int]]:
    """(right, bool `[n]`; the counts) of finite logits `[n, classes]` and labels `[n]`."""
    classes = logits.shape[1]
    best = logits.topk(min(TOP if classes >= MANY else 2, classes), dim=1)
    near = int((best.values[:, 0] - best.values[:, 1] < NEAR_TIE).sum()) if classes > 1 else 0
    hits = best.indices.cpu() == labels.cpu().unsqueeze(1)
    counted = {"near_ties": near}
    if classes >= MANY:
        counted["top5_correct"] = int(hits.any(dim=1).sum())
    return hits[:, 0].numpy(), counted


def plus(counts: Counts, more: Mapping[str, Sequence[int] | np.ndarray]) -> Counts:
    """The sums, name by name."""
    return {name: counts[name] + np.asarray(more[name]) for name in counts}


def with_counts(table: pd.DataFrame, counts: Counts) -> pd.DataFrame:
    """The table with a column for each count; from `top5_correct`, the error behind it."""
    counts = dict(counts)
    top = counts.pop("top5_correct", None)
    if top is None:
        return table.assign(**counts)
    error = 100 * (1 - top / table["images"])
    columns = {"top5_correct": top, "top5_error_pct": error, "top5_delta_pct": error - error[0]}
    return table.assign(**columns, **counts)
