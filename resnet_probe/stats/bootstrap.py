"""Intervals of what claims ask about: medians, ranks, extremes and steps, from tables alone.

All take a `confidence`, so that a ledger can ask again at the level that many claims together need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from resnet_probe.errors import ProbeError
from resnet_probe.stats import Estimate, Floats

TIMES = 10_000
"""Bootstrap samples: enough for the 99.9 % intervals of a long ledger."""
AT_ONCE = 2**23
"""Weights of images that are held at a time."""


def exact(value: float) -> Estimate:
    """A count or a piece of arithmetic: nothing was sampled, so the interval is the value."""
    return Estimate(float(value), float(value), float(value))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """one − other from the intervals of both.

    Zou & Donner 2008 (doi 10.1002/sim.3095), for independent estimates; of two networks on the
    same images, whose errors go together, it is wider than it needs to be.
    """
    value = one.value - other.value
    low = value - np.hypot(one.value - one.low, other.high - other.value)
    high = value + np.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, float(low), float(high))


def greatest(values: ArrayLike, errors: ArrayLike, freedom: float, confidence: float) -> Estimate:
    """The largest of several means with standard errors, and an interval for that maximum.

    Its upper end is the largest upper end as it stands: to miss it, the one true maximum has to
    be missed. Its lower end is the largest of all lower ends, each at the level that makes them
    hold together (Bonferroni). NaN entries are left out.
    """
    x, se = (np.asarray(part, dtype=np.float64) for part in (values, errors))
    known = ~np.isnan(x) & ~np.isnan(se)
    if not known.any():
        return Estimate(np.nan, np.nan, np.nan)
    x, se = x[known], se[known]
    tail = (1 - confidence) / 2
    low = x - stats.t.ppf(1 - tail / len(x), freedom) * se
    high = x + stats.t.ppf(1 - tail, freedom) * se
    return Estimate(float(x.max()), float(low.max()), float(high.max()))


def least(values: ArrayLike, errors: ArrayLike, freedom: float, confidence: float) -> Estimate:
    """The smallest, as `greatest` upside down."""
    return negative(greatest(-np.asarray(values, float), errors, freedom, confidence))


def negative(found: Estimate) -> Estimate:
    return Estimate(-found.value, -found.high, -found.low)


def least_of(found: Sequence[Estimate]) -> Estimate:
    """The smallest of several estimates, which must come at their joint (Bonferroni) level."""
    return Estimate(*(float(np.min(part)) for part in zip(*found, strict=True)))


def joint(confidence: float, count: int) -> float:
    """The confidence that each of `count` intervals needs for all of them to hold."""
    return 1 - (1 - confidence) / max(count, 1)


def ranks(values: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """(rank, lowest and highest rank that the intervals allow), 1 the largest; ties share the mean.

    The ends hold together where the intervals do. Klein, Wright & Wieczorek 2020, "A joint
    confidence region for an overall ranking of populations", doi 10.1111/rssc.12402.
    """
    x, lower, upper = (np.asarray(part, dtype=np.float64) for part in (values, low, high))
    surely = (lower[None, :] > upper[:, None]).sum(axis=1)
    surely_below = (upper[None, :] < lower[:, None]).sum(axis=1)
    rank = stats.rankdata(-x, method="average")
    return rank, 1.0 + surely, float(len(x)) - surely_below


def resampled(
    groups: Sequence[ArrayLike],
    statistic: Callable[[list[Floats]], Floats],
    confidence: float,
    *,
    seed: int = 0,
) -> Estimate:
    """A statistic of several groups of draws with its percentile bootstrap interval.

    Draws are drawn again inside each group; `statistic` takes a list of `[times, n]` arrays and
    gives `[times]`. Raises ProbeError for a group with fewer than two draws. Efron 1979,
    "Bootstrap methods: another look at the jackknife".
    """
    given = [np.asarray(group, dtype=np.float64) for group in groups]
    if min(len(group) for group in given) < 2:
        raise ProbeError("a bootstrap over draws needs at least 2 draws of each kind")
    random = np.random.default_rng(seed)
    again = [group[random.integers(len(group), size=(TIMES, len(group)))] for group in given]
    value = statistic([group[None] for group in given])[0]
    return percentiles(float(value), statistic(again), confidence)


def perturbed(
    values: ArrayLike,
    errors: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], Floats],
    confidence: float,
    *,
    seed: int = 0,
) -> Estimate:
    """A statistic `[times, m] -> [times]` of m means, each uncertain by its standard error.

    The interval is of normal draws around the means: a parametric bootstrap.
    """
    x, se = (np.asarray(part, dtype=np.float64) for part in (values, errors))
    random = np.random.default_rng(seed)
    again = x + se * random.standard_normal((TIMES, len(x)))
    return percentiles(float(statistic(x[None])[0]), statistic(again), confidence)


def median_of_edits(
    differences: ArrayLike, confidence: float = 0.95, *, times: int = 2000, seed: int = 0
) -> Estimate:
    """The median over edits of their mean difference, for these edits on images like these.

    `differences` are those of `medians_of_edits`, of which the interval is made.
    """
    again = medians_of_edits(differences, times=times, seed=seed)
    value = float(np.median(np.asarray(differences).mean(axis=1, dtype=np.float64)))
    return percentiles(value, again, confidence)


def medians_of_edits(differences: ArrayLike, *, times: int = 2000, seed: int = 0) -> Floats:
    """`[times]`: the median over edits of their mean difference, of images that are weighted anew.

    `differences` is `[edits, images]`, of the edited network from the whole one: integers (1 lost,
    −1 gained, 0 as before) or floats.  The images are weighted anew for all edits at once, since
    edits err on the same images (Rubin 1981, "The Bayesian bootstrap"); an image lost and one
    gained are added to each edit, as in `paired_difference`, unless the differences are floats.
    Raises ProbeError for another shape.
    """
    given = np.asarray(differences)
    if given.ndim != 2 or given.shape[0] < 1 or given.shape[1] < 2:
        raise ProbeError(
            f"the median of edits needs differences [edits, images], found {list(given.shape)}"
        )
    random = np.random.default_rng(seed)
    kinds, images = _alike(given)
    edits = len(given)
    turned = kinds.astype(np.float32).T
    added = 1.0 if np.issubdtype(given.dtype, np.integer) else 0.0
    medians, step = [], max(1, AT_ONCE // len(images))
    for start in range(0, times, step):
        shape = (min(step, times - start), len(images))
        weights = _weights(random, images, shape[0])
        more = added * random.standard_exponential((2, shape[0], edits))
        total = weights.sum(axis=1, dtype=np.float64)[:, None] + more.sum(axis=0)
        medians.append(np.median((weights @ turned + more[0] - more[1]) / total, axis=1))
    return np.asarray(np.concatenate(medians), dtype=np.float64)


def _alike(differences: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(`[edits, kinds]`, `[kinds]`): images that all edits treat alike, and how many of each kind.

    Those of which there is one come first.
    """
    if not np.issubdtype(differences.dtype, np.integer):
        return differences, np.ones(differences.shape[1], np.int64)
    kinds, counts = np.unique(differences, axis=1, return_counts=True)
    order = np.argsort(counts, kind="stable")
    return kinds[:, order], counts[order]


def _weights(random: np.random.Generator, images: NDArray[np.int64], times: int) -> NDArray[Any]:
    """`[times, kinds]`: the weight of all images of a kind, each of which has an exponential one.

    A sum of m of them is drawn at once, as a gamma of shape m.
    """
    alone = int((images == 1).sum())
    single = random.standard_exponential((times, alone), dtype=np.float32)
    several = random.standard_gamma(images[alone:], (times, len(images) - alone))
    return np.concatenate([single, several.astype(np.float32)], axis=1)


def percentiles(value: float, found: Floats, confidence: float) -> Estimate:
    tail = (1 - confidence) / 2
    low, high = (
        np.nanquantile(found, [tail, 1 - tail]) if np.isfinite(found).any() else [np.nan] * 2
    )
    # A minimum over groups is biased in resamples: the value itself is always allowed.
    return Estimate(value, float(min(low, value)), float(max(high, value)))


def spearman(values: NDArray[np.float64]) -> Floats:
    """Spearman's ρ of each row of `[times, m]` with its own order 0 … m − 1."""
    rank = stats.rankdata(values, axis=1)
    rank -= rank.mean(axis=1, keepdims=True)
    place = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (rank * place).sum(axis=1) / np.sqrt((rank**2).sum(axis=1) * (place**2).sum())
    return np.asarray(found, dtype=np.float64)
