"""Intervals of proportions, means and medians, and p-values of many tests, in numpy and scipy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from resnet_probe.errors import ProbeError

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A value and the interval around it; the ends are NaN where there is too little data."""

    value: float
    low: float
    high: float


def wilson(
    correct: ArrayLike, images: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """The Wilson score interval of a proportion, as proportions ``(low, high)``.

    ``correct`` and ``images`` are counts that broadcast together; the ends have their common
    shape. Raises ProbeError for no images, or more correct than there are. Wilson 1927,
    "Probable inference, the law of succession, and statistical inference".
    """
    k, n = np.broadcast_arrays(np.asarray(correct, float), np.asarray(images, float))
    if np.any(n < 1) or np.any(k < 0) or np.any(k > n):
        raise ProbeError("an interval of a proportion needs 0 ≤ correct ≤ images and images ≥ 1")
    z2 = normal_quantile(confidence) ** 2
    middle = (k + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (k * (n - k) / n + z2 / 4)) / (n + z2)
    # Rounding must not push the end past 1, where it is exact; at 0 the root is exact anyway.
    return middle - half, np.where(k == n, 1.0, middle + half)


def holm(p_values: ArrayLike) -> Floats:
    """P-values adjusted for testing them all, after Holm 1979; NaN stays NaN and counts for none.

    Shape [m] in, shape [m] out. Rejecting where the adjusted value is below α keeps the chance
    of any false rejection below α, whatever the dependence between the tests.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(p, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    ranked = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(ranked.size, 0, -1)
    adjusted[ranked] = np.minimum(1.0, np.maximum.accumulate(factors * p[ranked]))
    return adjusted


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The mean and its Student t interval; one value alone has none. ProbeError without values."""
    x = _sample(values)
    mean = float(x.mean())
    if x.size < 2:
        return Estimate(mean, np.nan, np.nan)
    share = 0.5 + checked_confidence(confidence) / 2
    half = float(stats.t.ppf(share, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size))
    return Estimate(mean, mean - half, mean + half)


def t_interval(
    mean: ArrayLike, error: ArrayLike, count: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """``(low, high)`` of means with their standard errors, from ``count`` independent values each.

    Student's t; NaN where the error is, or where there are fewer than two values. Shapes broadcast.
    """
    x, se, n = np.broadcast_arrays(*(np.asarray(part, float) for part in (mean, error, count)))
    share = 0.5 + checked_confidence(confidence) / 2
    half = np.where(n > 1, stats.t.ppf(share, np.maximum(n - 1, 1)) * se, np.nan)
    return x - half, x + half


def jackknife(
    value: ArrayLike, left_out: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """``(low, high)`` around a statistic, from its values with each of G groups left out.

    ``left_out`` is [G, …], ``value`` […]. Student's t with G − 1 degrees of freedom; NaN where a
    value is, or for fewer than two groups. Tukey 1958, "Bias and confidence in not-quite large
    samples", for groups of equal size.
    """
    without = np.asarray(left_out, dtype=np.float64)
    groups = len(without)
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    return t_interval(value, np.sqrt(spread * (groups - 1) / groups), groups, confidence)


def median_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The median of what these values are a sample of, between interpolated order statistics.

    Of edits of blocks it speaks of blocks like these, not of how sure the blocks' own values are:
    for that see `bootstrap.median_of_edits`.  The ends lie between the k-th and the (k + 1)-th
    value from either side, k the largest with P(Binomial(n, ½) < k) at most (1 − confidence)/2,
    where they cover the promised share for nearly any distribution.  Too few values (five or fewer
    at 95 %) have none.  ProbeError without values.  Hettmansperger & Sheather 1986, "Confidence
    intervals based on interpolated order statistics", doi 10.1016/0167-7152(86)90021-0.
    """
    x = np.sort(_sample(values))
    n, tail = x.size, (1 - checked_confidence(confidence)) / 2
    k = int(stats.binom.ppf(tail, n, 0.5))
    middle = float(np.median(x))
    if k == 0:
        return Estimate(middle, np.nan, np.nan)
    outer, inner = 1 - 2 * stats.binom.cdf([k - 1, k], n, 0.5)
    part = (outer - confidence) / (outer - inner)
    inward = (n - k) * part / (k + (n - 2 * k) * part)
    low = x[k - 1] + inward * (x[k] - x[k - 1])
    high = x[n - k] - inward * (x[n - k] - x[n - k - 1])
    return Estimate(middle, float(min(low, middle)), float(max(high, middle)))


def rank_correlation(
    one: ArrayLike,
    other: ArrayLike,
    confidence: float = 0.95,
    *,
    groups: ArrayLike | None = None,
) -> Estimate:
    """Spearman's ρ of pairs, and an interval for that of what they are a sample of.

    Fisher's z with the variance (1 + ρ²/2) / (n − 3) of Bonett & Wright 2000, "Sample size
    requirements for estimating Pearson, Kendall and Spearman correlations".  Pairs with a NaN are
    left out; without spread it is NaN, and so are the ends for fewer than five pairs or |ρ| = 1.

    With `groups`, a label a pair, ranks are taken inside each group, as shares of its size, so that
    what differs between groups says nothing; each group after the first costs one of the n.  Groups
    of three or four pull ρ towards 0.
    """
    x, y = (np.asarray(part, dtype=np.float64) for part in (one, other))
    known = ~(np.isnan(x) | np.isnan(y))
    group = np.zeros(len(x)) if groups is None else np.asarray(groups)
    x, y, n, found = x[known], y[known], int(known.sum()), group[known]
    if n < 2:
        return Estimate(np.nan, np.nan, np.nan)
    x, y = _ranked(x, found), _ranked(y, found)
    if not (x.any() and y.any()):
        return Estimate(np.nan, np.nan, np.nan)
    rho = float(np.clip((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()), -1, 1))
    n -= len(np.unique(found)) - 1
    if n < 5 or abs(rho) > 1 - 1e-12:
        return Estimate(rho, np.nan, np.nan)
    half = normal_quantile(confidence) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    ends = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return Estimate(rho, float(ends[0]), float(ends[1]))


def _ranked(values: Floats, groups: NDArray[np.generic]) -> Floats:
    """Ranks inside each group as shares of its size, around 0."""
    ranks = np.zeros(len(values))
    for group in np.unique(groups):
        rows = groups == group
        size = int(rows.sum())
        ranks[rows] = (stats.rankdata(values[rows]) - (size + 1) / 2) / (size + 1)
    return ranks


def _sample(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or np.isnan(x).any():
        raise ProbeError(f"an interval needs a list of numbers, found shape {list(x.shape)}")
    return x


def normal_quantile(confidence: float) -> float:
    """The z of a two-sided normal interval; ProbeError for a confidence outside 0 … 1."""
    return float(stats.norm.ppf(0.5 + checked_confidence(confidence) / 2))


def checked_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ProbeError(f"a confidence lies between 0 and 1, not at {confidence}")
    return confidence
