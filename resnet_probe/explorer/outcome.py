"""What a switched network answers, beside the network as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from resnet_probe.errors import ProbeError
from resnet_probe.explorer.switches import Switches
from resnet_probe.stats import mcnemar, wilson


@dataclass(frozen=True, eq=False)
class Outcome:
    """Accuracies in percent, with 95 % Wilson intervals; `p_value` is McNemar's, exact and paired.

    `classes`: one row a class that has images, with `accuracy_pct`, its interval, and
    `whole_pct`, the accuracy of the network as it is. `changed`: one row an image, the most
    changed first; `distance` is half of Σ|p − p₀| over the classes (total variation, 0–1) between
    the softmax now and that of the network as it is, `before` and `after` are the two answers.
    `branch_runs` counts the branches that were run for it, `seconds` the time that took.
    """

    switches: Switches
    images: int
    correct: int
    accuracy_pct: float
    low_pct: float
    high_pct: float
    whole_pct: float
    p_value: float
    classes: pd.DataFrame
    changed: pd.DataFrame
    branch_runs: int
    seconds: float

    @property
    def sentence(self) -> str:
        return (
            f"{self.correct} of {self.images} images right: {self.accuracy_pct:.1f} % "
            f"(95 % CI {self.low_pct:.1f}–{self.high_pct:.1f}); {self.whole_pct:.1f} % with all on"
        )

    def __repr__(self) -> str:
        return f"{self.switches}: {self.sentence}"


def judge(
    switches: Switches,
    logits: Tensor,
    whole: Tensor,
    labels: Tensor,
    *,
    class_names: Sequence[str],
    seconds: float = 0.0,
    branch_runs: int = 0,
) -> Outcome:
    """From the logits `[n, classes]`, those of the network as it is, and the labels `[n]`."""
    if not torch.isfinite(logits).all():
        raise ProbeError(f"the logits are not finite with these switches ({switches})")
    right, right_before = (x.argmax(1).eq(labels).numpy() for x in (logits, whole))
    low, high = wilson(right.sum(), len(labels))
    return Outcome(
        switches=switches,
        images=len(labels),
        correct=int(right.sum()),
        accuracy_pct=100 * float(right.mean()),
        low_pct=100 * float(low),
        high_pct=100 * float(high),
        whole_pct=100 * float(right_before.mean()),
        p_value=float(mcnemar((right_before & ~right).sum(), (right & ~right_before).sum())),
        classes=_by_class(right, right_before, labels.numpy(), class_names),
        changed=_changed(logits, whole, labels),
        branch_runs=branch_runs,
        seconds=seconds,
    )


def _by_class(
    right: np.ndarray, before: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> pd.DataFrame:
    frame = pd.DataFrame({"label": labels, "right": right, "before": before})
    found = frame.groupby("label").agg(
        images=("right", "size"), correct=("right", "sum"), whole_pct=("before", "mean")
    )
    low, high = wilson(found["correct"], found["images"])
    found = found.assign(
        name=[names[label] for label in found.index],
        accuracy_pct=100 * found["correct"] / found["images"],
        low_pct=100 * low,
        high_pct=100 * high,
        whole_pct=100 * found["whole_pct"],
    )
    return found.reset_index()


def _changed(logits: Tensor, whole: Tensor, labels: Tensor) -> pd.DataFrame:
    now, before = (torch.softmax(x.double(), dim=1) for x in (logits, whole))
    frame = pd.DataFrame(
        {
            "image": range(len(labels)),
            "label": labels.numpy(),
            "before": before.argmax(1).numpy(),
            "after": now.argmax(1).numpy(),
            "distance": ((now - before).abs().sum(1) / 2).numpy(),
        }
    )
    return frame.sort_values(["distance", "image"], ascending=[False, True], ignore_index=True)
