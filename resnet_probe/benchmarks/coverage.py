"""How often the toolkit's intervals hold the truth, where the truth is known.

Each is asked again and again about data drawn from a population whose answer can be written down,
of a size and kind that studies have.  Levels of tests are told the same way: how often nothing is
shown that is not so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from resnet_probe.benchmarks import known_paths
from resnet_probe.errors import ProbeError
from resnet_probe.stats import (
    Floats,
    SignFlips,
    equivalent,
    jackknife,
    mean_interval,
    median_interval,
    paired_difference,
    wilson,
)
from resnet_probe.stats.bootstrap import median_of_edits
from resnet_probe.stats.moments import Moments
from resnet_probe.stats.path_lengths import by_length
from resnet_probe.stats.sequential import ConfidenceSequence
from resnet_probe.studies.attribution.table import shapley_interval
from resnet_probe.studies.paths import paths

ROUNDS = 1000
PROMISED = 0.95
POPULATION = 200_000
"""Images that stand for all there are."""
COLUMNS = ("interval", "quantity", "truth", "promised", "coverage", "rounds")
LOST, GAINED, IMAGES = np.geomspace(0.005, 0.5, 12), np.full(12, 0.004), 1000
"""Edits: the shares of the images that each loses and gains, and how many images are seen."""
MARGIN, MANY = 0.01, 4000
"""Where equivalence is asked about, and images enough to show it where it is."""
ON_IT = (0.005 + MARGIN, 0.005)
"""An edit whose rise lies on the margin."""

Random = np.random.Generator
Ends = tuple[Any, Any]


class Trial(NamedTuple):
    """What is asked about, the true answers, and whether one round has them all right."""

    interval: str
    quantities: tuple[str, ...]
    truths: tuple[float, ...]
    right: Callable[[Random], Any]


def coverage_table(*, seed: int = 0, rounds: int = ROUNDS) -> pd.DataFrame:
    """The share of `rounds` in which each interval holds its truth: a row each, `COLUMNS`.

    `promised` is 0.95 for all; the coverage itself is uncertain by √(0.05 · 0.95 / rounds).  Equal
    seeds give equal tables; the truth is NaN where several are to be held at once.
    Raises ProbeError for less than one round.
    """
    if rounds < 1:
        raise ProbeError(f"rounds={rounds}: at least one round is needed")
    rows: list[tuple[Any, ...]] = []
    for number, trial in enumerate(trials(seed)):
        random = np.random.default_rng([seed, number])
        right = np.array([np.atleast_1d(trial.right(random)) for _ in range(rounds)])
        told = zip(trial.quantities, trial.truths, right.mean(axis=0), strict=True)
        rows += [(trial.interval, what, truth, PROMISED, c, rounds) for what, truth, c in told]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def run(rounds: int = ROUNDS, seed: int = 0) -> None:
    """Print the table."""
    table = coverage_table(seed=seed, rounds=rounds)
    print(table.to_string(index=False, float_format="{:.3f}".format))


def trials(seed: int = 0) -> Iterator[Trial]:
    """All that is asked; the populations are drawn by the seed."""
    yield _one("wilson", "accuracy", 0.93, _wilson)
    rise = float(LOST[5] - GAINED[5])
    yield _one("paired_difference", "rise of the error rate", rise, _paired)
    yield _one("equivalent", "not shown on the margin", MARGIN, _equivalent)
    yield _one("SignFlips.interval", "12 rises, all at once", float("nan"), _joint)
    yield _one("SignFlips.inside", "none of 12 shown on the margin", MARGIN, _inside)
    yield _one("median_interval", "median of 27 like these", float(np.log(2)), _median)
    middle = float(np.median(LOST - GAINED))
    yield _one("median_of_edits", "median of these 12 rises", middle, _median_of_edits)
    yield _one("mean_interval", "mean of 5 seeds", 0.0, _mean)
    yield _one("t_interval", "mean loss of 256 images", 1.0, _student)
    yield _one("jackknife", "ratio of two means, 20 groups", 0.5, _jackknife)
    yield _one("ConfidenceSequence", "rise, when it stops", 0.03, _sequence)
    shares = SHARES.mean(axis=1) + CROSS.sum(axis=1) / 2
    blocks = tuple(f"share of block {b}" for b in range(1, len(SHARES) + 1))
    yield Trial("shapley_interval", blocks, tuple(shares), partial(_shapley, shares))
    everything = known_paths.drawn(POPULATION, np.random.default_rng([seed, POPULATION]))
    known = known_paths.truth(*everything)
    for method, quantity in METHODS:
        values = getattr(known, quantity)
        lengths = tuple(f"{quantity}, length {k}" for k in range(len(values)))
        yield Trial(f"paths {method}", lengths, tuple(values), partial(_paths, method, known))


def _one(interval: str, quantity: str, truth: float, right: Callable[[Random], Any]) -> Trial:
    return Trial(interval, (quantity,), (truth,), right)


def _holds(ends: Ends, truth: Any) -> Any:
    low, high = ends
    return (low <= np.asarray(truth) + 1e-12) & (np.asarray(truth) <= high + 1e-12)


def _wilson(random: Random) -> Any:
    return _holds(wilson(random.binomial(IMAGES, 0.93), IMAGES), 0.93)


def _counts(lost: float, gained: float, images: int, random: Random) -> tuple[int, int]:
    counts = random.multinomial(images, [lost, gained, 1 - lost - gained])
    return int(counts[0]), int(counts[1])


def _paired(random: Random) -> Any:
    counts = _counts(LOST[5], GAINED[5], IMAGES, random)
    return _holds(paired_difference(*counts, IMAGES), LOST[5] - GAINED[5])


def _equivalent(random: Random) -> Any:
    return ~equivalent(*_counts(*ON_IT, MANY, random), MANY, MARGIN)


def _differences(lost: Floats, gained: Floats, random: Random, images: int) -> np.ndarray:
    """1 where an image is lost, −1 where it is gained, else 0, `[edits, images]`.

    Hard images are hard for most edits: half of what decides is the image's own.
    """
    from scipy.special import ndtr

    own, shared = random.standard_normal((len(lost), images)), random.standard_normal(images)
    place = ndtr(np.sqrt(0.5) * (own + shared))
    given = (place < lost[:, None]).astype(np.int8)
    given[place > 1 - gained[:, None]] = -1
    return given


def _joint(random: Random) -> Any:
    flips = SignFlips.of(_differences(LOST, GAINED, random, IMAGES), flips=2000, seed=_seed(random))
    return _holds(flips.interval(PROMISED), LOST - GAINED).all()


def _inside(random: Random) -> Any:
    lost, gained = (np.full(12, share) for share in ON_IT)
    on_it = _differences(lost, gained, random, MANY)
    return not SignFlips.of(on_it, flips=2000, seed=_seed(random)).inside(MARGIN).any()


def _median(random: Random) -> Any:
    found = median_interval(random.standard_exponential(27))
    return _holds((found.low, found.high), np.log(2))


def _median_of_edits(random: Random) -> Any:
    given = _differences(LOST, GAINED, random, IMAGES)
    found = median_of_edits(given, times=600, seed=_seed(random))
    return _holds((found.low, found.high), np.median(LOST - GAINED))


def _mean(random: Random) -> Any:
    found = mean_interval(random.standard_normal(5))
    return _holds((found.low, found.high), 0.0)


def _student(random: Random) -> Any:
    losses = Moments.over(random.standard_exponential(256))
    return _holds(losses.interval(), 1.0)


def _jackknife(random: Random) -> Any:
    """Of two skewed means that go together, each image's in one of 20 groups."""
    two = random.standard_exponential((20, 30))
    one = 0.5 * two * random.gamma(4, 0.25, two.shape)
    left_out = (one.sum() - one.sum(axis=1)) / (two.sum() - two.sum(axis=1))
    return _holds(jackknife(one.sum() / two.sum(), left_out), 0.5)


def _sequence(random: Random) -> Any:
    """Watched until it is as narrow as asked, ± 2 points, over a set of 2,000 images."""
    given = random.permutation(np.repeat([1, -1, 0], [80, 20, 1900]))
    sequence = ConfidenceSequence(1, len(given), precision=0.02)
    for part in np.split(given, range(64, len(given), 64)):
        sequence.update(part[None])
        if sequence.precise.all():
            break
    return _holds(sequence.interval, 0.03)


SHARES = np.array([[4.0, 2.0], [1.0, 3.0], [0.5, 0.1], [2.0, -1.0], [0.0, 1.0]])
"""What each block gives to the two kinds of images that there are, half of each."""
CROSS = np.array([
    [0, 2, -1, 0, 3], [2, 0, 0, -2, 0], [-1, 0, 0, 1, 0], [0, -2, 1, 0, 0.5], [3, 0, 0, 0.5, 0],
])  # fmt: skip
"""What two blocks give beyond that: a Shapley value gets half of each of its pairs."""


def _shapley(truth: Floats, random: Random, images: int = 128, permutations: int = 20) -> Any:
    """Gains in random orders: own part and pairs with those before, and each image's own noise."""
    blocks = len(SHARES)
    own = SHARES[:, random.integers(2, size=images)] + random.standard_normal((blocks, images))
    places = np.argsort(random.random((permutations, blocks)), axis=1)
    before = (places[:, None, :] < places[:, :, None]).astype(float)
    pairs = (before * CROSS).sum(axis=2)
    spread = 1 + 0.5 * random.standard_normal(images)  # pairs matter more to some images
    gains = own + pairs[:, :, None] * spread
    drawn = gains.mean(axis=2).std(axis=0, ddof=1) / np.sqrt(permutations)
    found = Moments.over(gains.mean(axis=0), axis=1)
    return _holds(shapley_interval(found, drawn, permutations), truth)


METHODS = (("exact", "share"), ("all", "rms_norm"), ("sample", "mean_norm"))


def _paths(method: str, known: known_paths.Truth, random: Random) -> Any:
    """The study itself, on 60 images of the known chain; fewer signs than there are."""
    images, labels = known_paths.drawn(60, random)
    quantity = dict(METHODS)[method]
    found = paths(
        known_paths.known_chain(), images, labels, method=method, precision="float64",
        signs=4, samples=60, images_per_path=3, seed=_seed(random),
    )  # fmt: skip
    rows = by_length(found.table, method, quantity)
    return _holds((rows["ci_low"], rows["ci_high"]), getattr(known, quantity))


def _seed(random: Random) -> int:
    return int(random.integers(2**31))
