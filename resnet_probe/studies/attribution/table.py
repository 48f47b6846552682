"""The table of an attribution: long form, one share of one block or pair a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.chain import ResidualChain
from resnet_probe.stats import t_interval, wilson
from resnet_probe.stats.moments import Floats, Moments
from resnet_probe.studies.attribution.chunk import Found
from resnet_probe.studies.attribution.gates import METRICS, SMOOTH, UNITS
from resnet_probe.studies.attribution.request import Request

COLUMNS: dict[str, str] = {
    "method": "network, none (the metric itself, all gates open or shut), ablation, shapley, "
    "gradients, interactions",
    "metric": "accuracy (100 or 0 an image), loss (cross-entropy) or margin (the true class's "
    "logit less the largest other one)",
    "unit": "of value: percentage points, nats or logits",
    "block": "number of the block, from 1; 0 for the network",
    "name": "its own name",
    "stage": "its stage",
    "other": "the second block of a pair (interactions)",
    "class": "the true class, for the ablation by class; else empty",
    "value": "mean over images of what the metric loses without the block; of interactions, what "
    "it loses without both beyond what it loses without each",
    "ci_low": "lower end of the 95 % interval over images (Student's t; Wilson for the accuracy of "
    "network and none), of sampled Shapley values over images and permutations",
    "ci_high": "upper end",
    "permutation_se": "Monte Carlo standard error of a sampled Shapley value, in the same unit; 0 "
    "where it is exact",
    "images": "how many",
    "permutations": "how many random orders (shapley); 0: all subsets, exactly",
}
Row = dict[str, Any]


def tabulate(
    chain: ResidualChain, asked: Request, found: Found, *, images: int, shares: bool = False
) -> pd.DataFrame:
    """All rows of an attribution on so many images, with `shares` of right answers in each."""
    numbers = [[block.number] for block in chain]
    rows = [row for end in ("network", "none") for row in _whole(end, found[end], shares)]
    if "ablation" in asked.methods:
        rows += _rows("ablation", numbers, found["ablation"])
        rows += _by_class(numbers, found["classes"]) if "classes" in found else []
    if "shapley" in asked.methods:
        drawn = permutation_error(found, asked)
        rows += [
            {**row, "permutation_se": float(se), "permutations": asked.permutations}
            for row, se in zip(
                _rows(
                    "shapley", numbers, found["shapley"],
                    ends=shapley_interval(found["shapley"], drawn, asked.permutations),
                ),
                drawn.flat,
                strict=True,
            )
        ]  # fmt: skip
    if "gradients" in asked.methods:
        rows += _rows("gradients", numbers, found["gradients"], SMOOTH)
    if "interactions" in asked.methods:
        rows += _rows("interactions", asked.pairs, found["interactions"])
    frame = pd.DataFrame(rows)
    frame["images"] = frame.get("images", pd.Series(index=frame.index)).fillna(images).astype(int)
    blocks = [("", ""), *((block.name, str(block.stage)) for block in chain)]
    frame["name"] = [blocks[number][0] for number in frame["block"]]
    frame["stage"] = [blocks[number][1] for number in frame["block"]]
    frame = frame.reindex(columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(("other", "class", "permutations"), "Int64"))


def permutation_error(found: Found, asked: Request) -> Floats:
    """The standard error of each Shapley value over permutations, `[3, blocks]`; 0 if exact."""
    if not asked.permutations:
        return np.zeros_like(found["shapley"].mean)
    means = found["permutations"].mean
    return means.std(axis=0, ddof=1) / np.sqrt(len(means))


def shapley_interval(found: Moments, drawn: Floats, permutations: int) -> tuple[Floats, Floats]:
    """``(low, high)`` of Shapley values, with the errors of the images and of the permutations.

    `found` are their moments over images, `drawn` their standard errors over so many permutations,
    of one shape.  The variances add up; what images and permutations have together is in both, so
    that the sum is a little too large.  The degrees of freedom are those of Satterthwaite 1946, "An
    approximate distribution of estimates of variance components".
    """
    own, other = found.error**2, drawn**2
    parts = own**2 / np.maximum(found.count - 1, 1)
    if permutations:
        parts = parts + other**2 / (permutations - 1)
    known = parts > 0
    freedom = np.where(known, (own + other) ** 2 / np.where(known, parts, 1.0), found.count - 1)
    return t_interval(found.mean, np.sqrt(own + other), freedom + 1)


def _rows(
    method: str,
    places: list[Any],
    found: Moments,
    names: tuple[str, ...] = METRICS,
    *,
    ends: tuple[Floats, Floats] | None = None,
) -> Iterator[Row]:
    """`found` is `[metrics, places]`, and so are the `ends` of intervals not over images alone."""
    low, high = ends or found.interval()
    for m, metric in enumerate(names):
        for p, (block, *other) in enumerate(places):
            row = {
                "method": method, "metric": metric, "unit": UNITS[metric], "block": block,
                "value": found.mean[m, p], "ci_low": low[m, p], "ci_high": high[m, p],
            }  # fmt: skip
            yield {**row, "other": other[0]} if other else row


def _by_class(numbers: list[list[int]], found: Moments) -> Iterator[Row]:
    """Rows of the ablation for each true class that the images hold."""
    for label in np.flatnonzero(found.count[:, 0, 0] > 0):
        images = int(found.count[label, 0, 0])
        for row in _rows("ablation", numbers, found[label]):
            yield {**row, "class": int(label), "images": images}


def _whole(method: str, found: Moments, shares: bool) -> Iterator[Row]:
    """The metrics themselves; accuracy is a proportion and has its Wilson interval."""
    for row in _rows(method, [[0]], found[:, None]):
        if row["metric"] == "accuracy" and not shares:
            images = found.count[0]
            low, high = wilson(np.rint(row["value"] / 100 * images), images)
            row |= {"ci_low": 100 * float(low), "ci_high": 100 * float(high)}
        yield row
