"""A lesion class by class: which classes a block serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.errors import ProbeError
from resnet_probe.stats import paired_difference, wilson
from resnet_probe.stats.bootstrap import joint
from resnet_probe.studies.study import Subject

WHO = ("kind", "edits", "blocks", "names", "stage", "draw", "edit")
"""Columns that say which edit it is, as far as a lesion's table has them."""


def by_class(table: pd.DataFrame, correct: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """A row for each edit and class that has images, from a lesion's table and `[edits, images]`.

    `delta_…` are paired with the whole network on the images of the class (Bonett & Price 2012);
    those that begin with `joint_` hold for all edits and classes together (Bonferroni).
    """
    who = table[[name for name in WHO if name in table]]
    classes = np.unique(labels)
    confidence = joint(0.95, len(classes) * max(len(correct) - 1, 1))
    parts = [_of_class(who, int(c), correct[:, labels == c], confidence) for c in classes]
    found = pd.concat(parts, ignore_index=True)
    return found.sort_values(["place", "class"], kind="stable", ignore_index=True)


def _of_class(
    who: pd.DataFrame, number: int, correct: np.ndarray, confidence: float
) -> pd.DataFrame:
    images = correct.shape[1]
    lost, gained = (correct[:1] & ~correct).sum(1), (~correct[:1] & correct).sum(1)
    low, high = wilson(images - correct.sum(1), images)
    found: dict[str, Any] = {"place": np.arange(len(who)), "class": number, "images": images}
    found |= {"correct": correct.sum(1), "error_pct": 100 * (1 - correct.mean(1))}
    found |= {"ci_low_pct": 100 * low, "ci_high_pct": 100 * high, "lost": lost, "gained": gained}
    found["delta_pct"] = 100 * (lost - gained) / images
    for name, level in (("delta", 0.95), ("joint", confidence)):
        ends = paired_difference(lost, gained, images, level)
        for end, values in zip(("low", "high"), ends, strict=True):
            found[f"{name}_{end}_pct"] = np.concatenate([[np.nan], 100 * values[1:]])
    return who.assign(**found)


def check(subject: Subject, settings: Any) -> None:
    """Raises `ProbeError` for what has no single class an image, or is no count of images."""
    from resnet_probe.engine.task import kind_of

    if kind_of(subject.labels) != "classes":
        raise ProbeError("by='class' is of one class an image: these labels are others")
    for name, asked in (
        ("metric", settings.metric),
        ("precision", settings.precision),
        ("recalibrate", subject.training),
    ):
        if asked is not None:
            raise ProbeError(f"by='class' counts the images of each class: leave out {name}=")
