"""How much lesioned networks vote: do they err on the same images, does averaging them help?

Veit et al. 2016 call residual networks "ensembles of relatively shallow networks"; their reviewers
held against it that the paths share weights.  An ensemble's members err apart from each other, and
their average is better than they are; both are measured here, against the number k of blocks that
each member lacks, and beside a true ensemble where there is one: other trainings (`others`).
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
from scipy import stats

from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings, format_bytes, listed, numbers, option
from resnet_probe.stats import mcnemar, wilson
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed, Together
from resnet_probe.studies.votes import (
    Answers,
    Spread,
    Truth,
    Votes,
    gains,
    mean_error,
    of_pairs,
    over_networks,
    spread_of,
)

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.edits import Edit
    from resnet_probe.engine.sweep import Sweep

DEFAULT_COUNTS = tuple(range(1, 11))
QUANTITIES: dict[str, str] = {
    "error_pct": "% of images; of networks without k blocks the mean over these networks. Interval "
    "of the whole network Wilson (of tokens or pixels, Student's over images), else jackknife over "
    "groups of images",
    "averaged_error_pct": "% of images that the average of their softmax outputs has wrong; Wilson "
    "interval, McNemar's p-value against the whole network on the same images (of tokens or "
    "pixels, both Student's over images)",
    "error_correlation": "correlation (φ) of being wrong between two networks over images, mean "
    "over all pairs of them for which it is defined; jackknife. 1: they err on the same images, "
    "0: independently",
    "disagreement_pct": "% of images on which two networks give different answers, mean over all "
    "pairs; jackknife",
    "squared_error": "‖p − y‖² of a network's softmax output, mean over networks and images; "
    "Student's interval over images",
    "ambiguity": "‖p − p̄‖² from the networks' average, likewise: the average's squared error is "
    "the mean one less this (Krogh & Vedelsby 1995)",
    "ambiguity_pct": "the ambiguity in % of the mean squared error: 0 if all say the same, "
    "100 (1 − 1/K) for K independent ones without a common error; jackknife",
    "removed_pct": "% of the mean error that averaging removes; jackknife",
}
COLUMNS = (
    "kind", "edits", "block", "other", "networks", "quantity", "value", "ci_low", "ci_high",
    "p_value", "images",
)  # fmt: skip
"""kind: whole (the network as it is), lesioned (networks that lack `edits` blocks each), pair (the
two networks that lack `block` and `other` alone), ensemble (independently trained networks, whole),
subnetworks (the lesioned ones, as many at a time as the ensemble has)."""
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AgreementSettings(Settings):
    """Which lesioned networks are compared."""

    counts: tuple[int, ...] | None = option(
        None,
        "blocks deleted in each network (default: 1-10, fewer than there are); 1 stands for every "
        "block once",
        read=numbers,
        write=listed,
        metavar="1-10",
    )
    draws: int = option(
        20, "random networks for each count (default: 20); the same is taken once", metavar="N"
    )
    seed: int = option(0, "of all random draws (default: 0)", least=0, metavar="N", group="run")


def fit(subject: Subject, settings: AgreementSettings) -> AgreementSettings:
    from resnet_probe.studies.checks import check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    edits_of(subject.chain, settings)
    if isinstance(subject, Together):
        from resnet_probe.studies.ensemble import check_others

        if subject.labels.dim() > 1:
            raise ProbeError("others= needs one class an image: a true ensemble votes on images")

        check_others(subject, settings.draws)
    return settings


def gather(subject: Subject, settings: AgreementSettings, run: Run) -> Arrays:
    return _answers(subject, settings, run, 0)


def of_answers(subject: Subject, settings: AgreementSettings, found: Arrays) -> Measured:
    truth = Truth.of(subject.labels.cpu().numpy())
    return _tabulated(_of_one(edits_of(subject.chain, settings), found, truth), len(truth))


def measure(subject: Subject, settings: AgreementSettings, run: Run) -> Measured:
    """Of one network by its sums; of several trainings beside their sub-networks."""
    from resnet_probe.studies.ensemble import check_room, members

    if not isinstance(subject, Together):
        return of_answers(subject, settings, gather(subject, settings, run))
    check_room(subject, run.memory)
    edits, others = edits_of(subject.chain, settings), len(subject.others)
    part = run.part(0, len(edits), len(edits) + others)
    found = _answers(subject, settings, part, 1 + others)
    truth = Truth.of(subject.labels.cpu().numpy())
    left = run.part(len(edits), others, len(edits) + others)
    beside = _beside(edits, found, members(subject, found, left), truth)
    return _tabulated([*_of_one(edits, found, truth), *beside], len(truth))


def _answers(subject: Subject, settings: AgreementSettings, run: Run, size: int) -> Arrays:
    from resnet_probe.engine.precision import full_precision
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies.outcomes import outcomes

    chain, images, labels, _ = subject
    edits = edits_of(chain, settings)
    with full_precision(chain.device):
        sweep = Sweep(chain, batch=run.batch, memory=run.memory)
        if labels.dim() > 1:
            sweep.batch = _images_at_once(sweep, edits, subject)
        return outcomes(sweep, edits, images, labels, partial(_votes, edits, size), run)


def _images_at_once(sweep: Sweep, edits: Sequence[Edit], subject: Subject) -> int:
    """As many as the memory holds the outputs of all edits for, twice; raises where it is none."""
    from resnet_probe.engine.sweep import PrefixTree

    chain, images, labels, _ = subject
    needs = 2 * 4 * len(edits) * labels[0].numel() * chain.classes
    if needs > sweep.memory:
        raise ProbeError(
            f"the outputs of {len(edits)} networks for one image, {labels[0].numel():,} positions "
            f"of {chain.classes:,} classes, take {format_bytes(needs)}, more than the "
            f"{format_bytes(sweep.memory)} of memory=: give fewer counts= or draws=, shorter "
            "texts, or more memory"
        )
    usual = sweep.batch_for(PrefixTree.of(edits, chain), images)
    return min(usual, sweep.memory // needs)


def _of_one(edits: Sequence[Edit], found: Arrays, truth: Truth) -> list[Row]:
    networks = _by_count(edits, found, truth)
    return [*_rows(networks, truth), *_pairs(networks, truth)]


def _tabulated(rows: Sequence[Row], images: int) -> Measured:
    table = pd.DataFrame(rows).assign(images=images).reindex(columns=list(COLUMNS))
    return Measured(table.astype(dict.fromkeys(("block", "other"), "Int64")), {})


def edits_of(chain: ResidualChain, settings: AgreementSettings) -> list[Edit]:
    """The baseline, the single deletions, and the drawn ones; raises as `agreement` does.

    What is drawn again is no other network: it would only agree with itself.
    """
    from resnet_probe.studies.plan import plan

    if settings.draws < 2:
        raise ProbeError(f"{settings.draws} draws have nothing to agree with: give at least 2")
    known = [k for k in DEFAULT_COUNTS if k < len(chain)] or [1]
    counts = known if settings.counts is None else settings.counts
    found = plan(chain)
    several = [count for count in counts if count != 1]
    if several:
        found = found[:1] + (found[1:] if 1 in counts else [])
        drawn = plan(chain, counts=several, draws=settings.draws, seed=settings.seed)[1:]
        places = [edit.blocks for edit in drawn]
        found += [edit for n, edit in enumerate(drawn) if edit.blocks not in places[:n]]
    return found


def _votes(edits: Sequence[Edit], size: int, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The `answer` of each edit `[edits, n]`, and by number of blocks `[k, n]` the `average`'s.

    Beside them how far the networks are from the truth and from their average; with a `size`
    also the answers of averages of so many networks each, and the first one's `chance`.  Of logits
    `[edits, n, positions, classes]`, the answers are `[…, positions, n]`, the rest means over them.
    """
    if labels.dim() > 1:
        return _votes_of_places(edits, logits, labels)
    from torch import stack

    from resnet_probe.engine.task import predicted

    logits = logits.float()
    chance = logits.double().softmax(dim=2)
    groups = [chance[places] for places in _places(edits).values()]
    spreads = [spread_of(group, labels) for group in groups]
    found = {
        "answer": stack([predicted(one) for one in logits]),
        "average": stack([group.sum(0).argmax(1) for group in groups]),
        "squared": stack([spread.squared for spread in spreads]),
        "ambiguity": stack([spread.ambiguity for spread in spreads]),
    }
    if size:
        together = [chance[some].sum(0).argmax(1) for _, some in _groups(edits, size)]
        found |= {"together": stack(together), "chance": chance[0].T.float()}
    return found


def _votes_of_places(edits: Sequence[Edit], logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """One position after the other, as all of them in double precision need not fit."""
    from torch import stack

    from resnet_probe.engine.task import over_positions

    pairs = zip(logits.unbind(2), labels.clamp_min(0).unbind(1), strict=True)
    parts = [_votes(edits, 0, one, truth) for one, truth in pairs]
    found = {name: stack([part[name] for part in parts], 1) for name in ("answer", "average")}
    for name in ("squared", "ambiguity"):
        several = stack([part[name] for part in parts], 2)
        found[name] = stack([over_positions(one, labels) for one in several])
    return found


def _places(edits: Sequence[Edit]) -> dict[int, list[int]]:
    """By the number of deleted blocks, which edits: 0 is the whole network."""
    sizes = sorted({edit.edits for edit in edits})
    return {k: [i for i, edit in enumerate(edits) if edit.edits == k] for k in sizes}


def _groups(edits: Sequence[Edit], size: int) -> list[tuple[int, list[int]]]:
    """(blocks deleted, which edits): `size` networks each, none in two, single ones far apart."""
    found = []
    for k, places in _places(edits).items():
        number = len(places) // size
        found += [(k, places[first::number][:size]) for first in range(number)]
    return found


def _by_count(edits: Sequence[Edit], found: Arrays, truth: Truth) -> dict[int, Answers]:
    return {
        k: Answers(
            truth.answers(found["answer"][rows]),
            truth.answers(found["average"][[place]]),
            Spread(found["squared"][place], found["ambiguity"][place]),
        )
        for place, (k, rows) in enumerate(_places(edits).items())
    }


def _rows(found: dict[int, Answers], truth: Truth) -> Iterator[Row]:
    whole = found[0].answers[0] != truth.right
    yield {"kind": "whole", "edits": 0, "networks": 1, **_error("error_pct", whole, truth)}
    for k, networks in found.items():
        if k:
            place = {"kind": "lesioned", "edits": k, "networks": len(networks.answers)}
            yield from ({**place, **row} for row in _of_several(networks, truth, whole))


def _of_several(networks: Answers, truth: Truth, whole: NDArray[np.bool_]) -> Iterator[Row]:
    """The rows of several networks; `whole` is where the network as it is errs."""
    wrong = networks.averages != truth.right
    if len(wrong) == 1:
        p_value = _p_value(whole, wrong[0], truth)
        yield {**_error("averaged_error_pct", wrong[0], truth), "p_value": p_value}
    else:
        yield {"quantity": "averaged_error_pct", **_ends(mean_error(truth.of_images(wrong)))}
    votes, spread = Votes.of(networks.answers, truth), networks.spread
    for name in ("error_pct", "error_correlation", "disagreement_pct"):
        yield {"quantity": name, **_ends(over_networks(votes, name))}
    shares = gains(spread, votes, truth.of_images(wrong))
    for name, found in {**spread.means(), **shares}.items():
        yield {"quantity": name, **_ends(found)}


def _ends(found: tuple[float, float, float]) -> Row:
    return dict(zip(("value", "ci_low", "ci_high"), found, strict=True))


def _beside(edits: Sequence[Edit], found: Arrays, ensemble: Answers, truth: Truth) -> Iterator[Row]:
    """The true ensemble, and as many sub-networks at a time, by the blocks that they lack."""
    whole, size = found["answer"][0] != truth.right, len(ensemble.answers)
    place = {"kind": "ensemble", "edits": 0, "networks": size}
    yield from ({**place, **row} for row in _of_several(ensemble, truth, whole))
    counts = np.array([k for k, _ in _groups(edits, size)])
    for k, networks in _by_count(edits, found, truth).items():
        if k not in counts:
            continue
        some = Answers(
            networks.answers, found["together"][counts == k],
            networks.spread.of(len(networks.answers), size),
        )  # fmt: skip
        place = {"kind": "subnetworks", "edits": k, "networks": size}
        yield from ({**place, **row} for row in _of_several(some, truth, whole))


def _pairs(found: dict[int, Answers], truth: Truth) -> Iterator[Row]:
    """Every two single deletions."""
    if 1 not in found:
        return
    votes = Votes.of(found[1].answers, truth)
    for name in ("error_correlation", "disagreement_pct"):
        value, low, high = of_pairs(votes, name)
        for i, j in combinations(range(len(value)), 2):
            place = {"kind": "pair", "edits": 1, "block": i + 1, "other": j + 1, "networks": 2}
            ends = {"value": value[i, j], "ci_low": low[i, j], "ci_high": high[i, j]}
            yield {**place, "quantity": name, **ends}


def _error(name: str, wrong: NDArray[np.bool_], truth: Truth) -> Row:
    share = truth.of_images(wrong)
    if truth.known.ndim == 1:
        low, high = wilson(wrong.sum(), len(wrong))
    else:
        low, high = np.clip(Moments.over(share).interval(), 0, 1)
    ends = {"ci_low": 100 * float(low), "ci_high": 100 * float(high)}
    return {"quantity": name, "value": 100 * float(share.mean()), **ends}


def _p_value(whole: NDArray[np.bool_], wrong: NDArray[np.bool_], truth: Truth) -> float:
    """That two networks err as often: McNemar's; of several answers an image, Student's."""
    if truth.known.ndim == 1:
        return float(mcnemar((whole & ~wrong).sum(), (~whole & wrong).sum()))
    change = truth.of_images(wrong) - truth.of_images(whole)
    if not np.ptp(change) > 0:
        return np.nan if change[0] else 1.0
    return float(stats.ttest_1samp(change, 0).pvalue)


STUDY = Study(
    "agreement",
    description="""\
Compare networks that lack one block or several: on how many images they are wrong together, how
often they answer differently, and whether the average of their outputs is better than they are,
against the number of blocks that each lacks.  With the weights of several trainings the same is
measured of these, a true ensemble, beside as many sub-networks of the first of them at a time.""",
    examples=(
        "--arch resnet110",
        "--arch resnet110 --counts 1-20 --draws 30",
        "--arch resnet20 --weights seed0.pt seed1.pt seed2.pt seed3.pt",
    ),
    settings=AgreementSettings,
    fit=fit,
    edits=edits_of,
    sums=Summed(gather, of_answers),
    measure=measure,
    several="together",
    labels=("classes", "places"),
)
agreement = STUDY.function(
    """Errors in common, disagreement and the average of lesioned networks, by `counts`.

    For one block all single deletions are the networks; for each larger number in `counts`
    (default 1–10, while a block is left) `draws` random deletions of as many, as in `lesion`, but
    for those that are drawn again.
    With `others=`, further networks (as `prepare` gives them, or chains for the same images), they
    and this one are measured as a true ensemble, beside as many sub-networks at a time.
    The table is in long form: `QUANTITIES` is its key, `COLUMNS` its columns.

    Raises `ProbeError` for counts beyond the blocks, fewer draws than two or than there are
    networks, one image alone, data that do not fit, others with other images or classes, outputs
    beyond the memory, and weights that are not finite (by name)."""
)
