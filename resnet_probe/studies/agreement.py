"""How much lesioned networks vote: do they err on the same images, does averaging them help?

Veit et al. 2016 call residual networks "ensembles of relatively shallow networks"; their reviewers
held against it that the paths share weights.  An ensemble's members err apart from each other, and
their average is better than they are; both are measured here, against the number k of blocks that
each member lacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import DEFAULT_MEMORY
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.sweep import Progress, Sweep
from resnet_probe.errors import ProbeError
from resnet_probe.results import Result
from resnet_probe.stats import mcnemar, wilson
from resnet_probe.stats.moments import Floats
from resnet_probe.studies.checks import check_finite, check_spread, check_weights, predicted
from resnet_probe.studies.lesion import check_data
from resnet_probe.studies.plan import plan
from resnet_probe.studies.votes import Votes, of_pairs, over_networks

STUDY = "agreement"
DEFAULT_COUNTS = tuple(range(1, 11))
QUANTITIES: dict[str, str] = {
    "error_pct": "% of images; of networks without k blocks the mean over these networks. Interval "
    "of the whole network Wilson, else jackknife over groups of images",
    "averaged_error_pct": "% of images that the average of their softmax outputs has wrong; Wilson "
    "interval, McNemar's p-value against the whole network on the same images",
    "error_correlation": "correlation (φ) of being wrong between two networks over images, mean "
    "over all pairs of them for which it is defined; jackknife. 1: they err on the same images, "
    "0: independently",
    "disagreement_pct": "% of images on which two networks give different answers, mean over all "
    "pairs; jackknife",
}
COLUMNS = (
    "kind", "edits", "block", "other", "networks", "quantity", "value", "ci_low", "ci_high",
    "p_value", "images",
)  # fmt: skip
"""kind: whole (the network as it is), lesioned (networks that lack `edits` blocks each), pair (the
two networks that lack `block` and `other` alone)."""
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Answers:
    """Of networks that lack as many blocks: `[networks, n]`, and outputs added, `[n, classes]`."""

    answers: NDArray[np.int64]
    outputs: Floats


def agreement(
    chain: ResidualChain,
    images: Images,
    labels: Tensor,
    *,
    counts: Sequence[int] | None = None,
    draws: int = 20,
    seed: int = 0,
    batch: int | None = None,
    memory: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Result:
    """Errors in common, disagreement and the average of lesioned networks, by `counts`.

    For one block all single deletions are the networks; for each larger number in `counts`
    (default 1–10, as far as there are blocks) `draws` random deletions of as many, as in `lesion`.
    The table is in long form: `QUANTITIES` is its key, `COLUMNS` its columns.  `batch` and
    `memory` (bytes) as in `Sweep`.

    Raises `ProbeError` for counts beyond the blocks, fewer draws than two, one image alone, data
    that do not fit, and weights that are not finite (by name).
    """
    began = time.perf_counter()
    check_data(chain, images, labels)
    check_weights(chain)
    edits = planned(chain, images, counts=counts, draws=draws, seed=seed)
    with full_precision(chain.device):
        sweep = Sweep(chain, batch=batch, memory=memory)
        found = _collect(sweep, edits, images, progress)
    truth = labels.cpu().numpy()
    rows = [*_rows(found, truth), *_pairs(found, truth)]
    table = pd.DataFrame(rows).assign(images=len(images)).reindex(columns=list(COLUMNS))
    table = table.astype(dict.fromkeys(("block", "other"), "Int64"))
    identity = {
        "study": STUDY, "arch": chain.name, "images": len(images), "counts": _sizes(edits)[1:],
        "draws": draws, "seed": seed,
    }  # fmt: skip
    facts = {"blocks": len(chain), "residual": chain.residual}
    record = {"identity": identity, **facts, "seconds": time.perf_counter() - began}
    return Result(STUDY, table, record)


def planned(
    chain: ResidualChain,
    images: Images,
    *,
    counts: Sequence[int] | None = None,
    draws: int = 20,
    seed: int = 0,
) -> list[Edit]:
    """The baseline, the single deletions, and the drawn ones; raises as `agreement` does."""
    check_spread(images, STUDY)
    if draws < 2:
        raise ProbeError(f"{draws} draws have nothing to agree with: give at least 2")
    counts = [k for k in DEFAULT_COUNTS if k <= len(chain)] if counts is None else counts
    found = plan(chain)
    several = [count for count in counts if count != 1]
    if several:
        found = found[:1] + (found[1:] if 1 in counts else [])
        found += plan(chain, counts=several, draws=draws, seed=seed)[1:]
    return found


def _collect(
    sweep: Sweep, edits: Sequence[Edit], images: Images, progress: Progress | None
) -> dict[int, Answers]:
    """By the number of deleted blocks; 0 is the whole network."""
    places = {k: [i for i, edit in enumerate(edits) if edit.edits == k] for k in _sizes(edits)}
    chain, shape = sweep.chain, (len(images), sweep.chain.classes)
    answers = np.zeros((len(edits), len(images)), dtype=np.int64)
    outputs = {k: np.zeros(shape) for k in places}
    for piece in sweep.run(edits, images, progress=progress):
        logits = piece.logits.float()
        check_finite(logits, chain, piece.start)
        here = slice(piece.start, piece.stop)
        chance = torch.softmax(logits.double(), dim=1).cpu().numpy()
        for index in piece.edits:
            answers[index, here] = predicted(logits).cpu().numpy()
            outputs[edits[index].edits][here] += chance
    return {k: Answers(answers[rows], outputs[k]) for k, rows in places.items()}


def _sizes(edits: Sequence[Edit]) -> list[int]:
    return sorted({edit.edits for edit in edits})


def _rows(found: dict[int, Answers], labels: NDArray[np.int64]) -> Iterator[Row]:
    whole = found[0].answers[0] != labels
    yield {"kind": "whole", "edits": 0, "networks": 1, **_error("error_pct", whole)}
    for k, networks in found.items():
        if not k:
            continue
        place = {"kind": "lesioned", "edits": k, "networks": len(networks.answers)}
        together = networks.outputs.argmax(axis=1) != labels
        p_value = float(mcnemar((whole & ~together).sum(), (~whole & together).sum()))
        yield {**place, **_error("averaged_error_pct", together), "p_value": p_value}
        votes = Votes.of(networks.answers, labels)
        for name in ("error_pct", "error_correlation", "disagreement_pct"):
            ends = zip(("value", "ci_low", "ci_high"), over_networks(votes, name), strict=True)
            yield {**place, "quantity": name, **dict(ends)}


def _pairs(found: dict[int, Answers], labels: NDArray[np.int64]) -> Iterator[Row]:
    """Every two single deletions."""
    if 1 not in found:
        return
    votes = Votes.of(found[1].answers, labels)
    for name in ("error_correlation", "disagreement_pct"):
        value, low, high = of_pairs(votes, name)
        for i, j in combinations(range(len(value)), 2):
            place = {"kind": "pair", "edits": 1, "block": i + 1, "other": j + 1, "networks": 2}
            ends = {"value": value[i, j], "ci_low": low[i, j], "ci_high": high[i, j]}
            yield {**place, "quantity": name, **ends}


def _error(name: str, wrong: NDArray[np.bool_]) -> Row:
    low, high = wilson(wrong.sum(), len(wrong))
    ends = {"ci_low": 100 * float(low), "ci_high": 100 * float(high)}
    return {"quantity": name, "value": 100 * float(wrong.mean()), **ends}
