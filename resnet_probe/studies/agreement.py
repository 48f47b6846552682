"""How much lesioned networks vote: do they err on the same images, does averaging them help?

Veit et al. 2016 call residual networks "ensembles of relatively shallow networks"; their reviewers
held against it that the paths share weights.  An ensemble's members err apart from each other, and
their average is better than they are; both are measured here, against the number k of blocks that
each member lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings, listed, numbers, option
from resnet_probe.stats import mcnemar, wilson
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject
from resnet_probe.studies.votes import Votes, of_pairs, over_networks

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.edits import Edit

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
    """Of networks that lack as many blocks: `[networks, n]`, and their average's, `[n]`."""

    answers: NDArray[np.int64]
    average: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AgreementSettings(Settings):
    """Which lesioned networks are compared."""

    counts: tuple[int, ...] | None = option(
        None,
        "blocks deleted in each network (default: 1-10); 1 stands for every block once",
        read=numbers,
        write=listed,
        metavar="1-10",
    )
    draws: int = option(20, "random networks for each count (default: 20)", metavar="N")
    seed: int = option(0, "of all random draws (default: 0)", metavar="N", group="run")


def fit(subject: Subject, settings: AgreementSettings) -> AgreementSettings:
    from resnet_probe.studies.checks import check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    edits_of(subject.chain, settings)
    return settings


def measure(subject: Subject, settings: AgreementSettings, run: Run) -> Measured:
    from resnet_probe.engine.precision import full_precision
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies.outcomes import outcomes

    chain, images, labels, _ = subject
    edits = edits_of(chain, settings)
    with full_precision(chain.device):
        sweep = Sweep(chain, batch=run.batch, memory=run.memory)
        found = outcomes(sweep, edits, images, labels, partial(_votes, edits), run)
    truth = labels.cpu().numpy()
    networks = _by_count(edits, found)
    rows = [*_rows(networks, truth), *_pairs(networks, truth)]
    table = pd.DataFrame(rows).assign(images=len(images)).reindex(columns=list(COLUMNS))
    return Measured(table.astype(dict.fromkeys(("block", "other"), "Int64")), {})


def edits_of(chain: ResidualChain, settings: AgreementSettings) -> list[Edit]:
    """The baseline, the single deletions, and the drawn ones; raises as `agreement` does."""
    from resnet_probe.studies.plan import plan

    if settings.draws < 2:
        raise ProbeError(f"{settings.draws} draws have nothing to agree with: give at least 2")
    known = [k for k in DEFAULT_COUNTS if k <= len(chain)]
    counts = known if settings.counts is None else settings.counts
    found = plan(chain)
    several = [count for count in counts if count != 1]
    if several:
        found = found[:1] + (found[1:] if 1 in counts else [])
        found += plan(chain, counts=several, draws=settings.draws, seed=settings.seed)[1:]
    return found


def _votes(edits: Sequence[Edit], logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The `answer` of each edit `[edits, n]`, and the `average`'s by number of blocks `[k, n]`."""
    from torch import stack

    from resnet_probe.studies.checks import predicted

    logits = logits.float()
    each = [predicted(one) for one in logits]
    chance = logits.double().softmax(dim=2)
    averages = [
        chance[[index for index, edit in enumerate(edits) if edit.edits == k]].sum(0).argmax(1)
        for k in _sizes(edits)
    ]
    return {"answer": stack(each), "average": stack(averages)}


def _by_count(edits: Sequence[Edit], found: Arrays) -> dict[int, Answers]:
    """By the number of deleted blocks; 0 is the whole network."""
    places = {k: [i for i, edit in enumerate(edits) if edit.edits == k] for k in _sizes(edits)}
    return {
        k: Answers(found["answer"][rows].astype(np.int64), found["average"][place])
        for place, (k, rows) in enumerate(places.items())
    }


def _sizes(edits: Sequence[Edit]) -> list[int]:
    return sorted({edit.edits for edit in edits})


def _rows(found: dict[int, Answers], labels: NDArray[np.int64]) -> Iterator[Row]:
    whole = found[0].answers[0] != labels
    yield {"kind": "whole", "edits": 0, "networks": 1, **_error("error_pct", whole)}
    for k, networks in found.items():
        if not k:
            continue
        place = {"kind": "lesioned", "edits": k, "networks": len(networks.answers)}
        together = networks.average != labels
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


STUDY = Study(
    "agreement",
    description="""\
Compare networks that lack one block or several: on how many images they are wrong together, how
often they answer differently, and whether the average of their outputs is better than they are,
against the number of blocks that each lacks.""",
    examples=("--arch resnet110", "--arch resnet110 --counts 1-20 --draws 30"),
    settings=AgreementSettings,
    fit=fit,
    measure=measure,
    edits=edits_of,
)
agreement = STUDY.function(
    """Errors in common, disagreement and the average of lesioned networks, by `counts`.

    For one block all single deletions are the networks; for each larger number in `counts`
    (default 1–10, as far as there are blocks) `draws` random deletions of as many, as in `lesion`.
    The table is in long form: `QUANTITIES` is its key, `COLUMNS` its columns.

    Raises `ProbeError` for counts beyond the blocks, fewer draws than two, one image alone, data
    that do not fit, and weights that are not finite (by name)."""
)
