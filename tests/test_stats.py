"""Statistics against closed forms, brute force and scipy's own routines."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy import stats as scipy_stats

from resnet_probe import stats
from resnet_probe.errors import ProbeError


@pytest.mark.parametrize("confidence", [0.68, 0.95, 0.999])
@pytest.mark.parametrize(("correct", "images"), [(0, 5), (5, 5), (789, 846), (1, 3), (9397, 10000)])
def test_wilson_is_scipys(correct: int, images: int, confidence: float) -> None:
    theirs = scipy_stats.binomtest(correct, images).proportion_ci(confidence, method="wilson")
    assert stats.wilson(correct, images, confidence) == pytest.approx(theirs, abs=1e-12)


def test_wilson_closed_form_at_the_ends() -> None:
    z2 = scipy_stats.norm.ppf(0.975) ** 2
    low, high = stats.wilson([0, 20], 20)
    assert low[0] == 0.0 and high[0] == pytest.approx(z2 / (20 + z2))
    assert high[1] == 1.0 and low[1] == pytest.approx(20 / (20 + z2))
    images = np.arange(1, 2000)
    assert (stats.wilson(0, images)[0] == 0).all() and (stats.wilson(images, images)[1] == 1).all()


def test_wilson_broadcasts() -> None:
    low, high = stats.wilson(np.array([[1], [2]]), np.array([4, 8, 16]))
    assert low.shape == high.shape == (2, 3)
    assert low[1, 2] == stats.wilson(2, 16)[0]


@pytest.mark.parametrize(("correct", "images"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_counts_that_cannot_be(correct: int, images: int) -> None:
    with pytest.raises(ProbeError, match="0 ≤ correct ≤ images"):
        stats.wilson(correct, images)


def test_confidence_must_be_a_share() -> None:
    with pytest.raises(ProbeError, match="between 0 and 1, not at 95"):
        stats.wilson(1, 2, 95)


def test_mean_interval_is_students() -> None:
    values = [6.43, 6.8, 6.5, 6.6, 6.72]
    mean, low, high = stats.mean_interval(values, 0.9)
    theirs = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx((theirs.low, theirs.high))


def test_too_few_values_have_no_interval() -> None:
    assert stats.mean_interval([2.0])[0] == 2.0
    assert np.isnan(stats.mean_interval([2.0])[1:]).all()
    assert np.isnan(stats.median_interval(range(5))[1:]).all()
    with pytest.raises(ProbeError, match="needs a list of numbers"):
        stats.mean_interval([])
    with pytest.raises(ProbeError, match="needs a list of numbers"):
        stats.median_interval([1.0, np.nan])


@pytest.mark.parametrize("n", [6, 7, 20, 60, 101])
def test_median_interval_lies_between_two_that_cover_more_and_less(n: int) -> None:
    def covered(k: int) -> float:  # the median lies between the k-th smallest and largest
        return sum(comb(n, i) for i in range(k, n - k + 1)) / 2**n

    values = np.random.default_rng(n).permutation(n) + 1.0  # the k-th smallest is k
    median, low, high = stats.median_interval(values)
    assert median == (n + 1) / 2 and low + high == pytest.approx(n + 1)
    assert covered(int(low)) >= 0.95 > covered(int(low) + 1)
    promised = covered(int(low))  # exactly at the level of an order statistic there is no between
    assert stats.median_interval(values, promised - 1e-12).low == pytest.approx(int(low), abs=1e-6)


@pytest.mark.many(3)
@pytest.mark.parametrize("n", [6, 9, 18, 27, 54])
@pytest.mark.parametrize("kind", ["normal", "exponential", "cauchy"])
def test_median_interval_covers_what_it_promises(n: int, kind: str) -> None:
    random = np.random.default_rng(0)
    draw = {"normal": random.standard_normal, "exponential": random.standard_exponential,
            "cauchy": random.standard_cauchy}[kind]  # fmt: skip
    truth = np.log(2) if kind == "exponential" else 0.0
    found = [stats.median_interval(sample) for sample in draw((3000, n))]
    assert 0.935 <= np.mean([e.low <= truth <= e.high for e in found]) <= 0.965


def test_intervals_of_many_means_at_once() -> None:
    samples = np.random.default_rng(0).normal(size=(3, 12))
    error = samples.std(axis=1, ddof=1) / np.sqrt(12)
    low, high = stats.t_interval(samples.mean(axis=1), error, 12)
    for place, sample in enumerate(samples):
        expected = stats.mean_interval(sample)
        assert (low[place], high[place]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(stats.t_interval(1.0, 0.5, 1)).all()


def test_the_jackknife_of_a_mean_is_its_t_interval() -> None:
    sample = np.random.default_rng(1).normal(size=15)
    left_out = [np.delete(sample, i).mean() for i in range(15)]
    expected = stats.mean_interval(sample)
    found = stats.jackknife(sample.mean(), left_out)
    assert found == pytest.approx((expected.low, expected.high))


def test_a_jackknife_without_groups_or_with_gaps_has_no_interval() -> None:
    assert np.isnan(stats.jackknife(1.0, [1.0])).all()
    low, _ = stats.jackknife([1.0, 2.0], [[1.0, 2.0], [1.1, np.nan], [0.9, 2.1]])
    assert np.isnan(low).tolist() == [False, True]


def test_a_rank_correlation_by_hand() -> None:
    """ρ = 1 − 6 Σd²/(n (n² − 1)); of a population at an end as much or more is drawn in 2.5 %."""
    swapped = [2, 1, 4, 3, 6, 5, 8, 7]
    rho = 1 - 6 * 8 / (8 * 63)
    found = stats.rank_correlation(range(8), swapped)
    assert found.value == pytest.approx(rho)
    random = np.random.default_rng(1)
    for end, sign in ((found.low, 1), (found.high, -1)):
        r = 2 * np.sin(np.pi * end / 6)
        x, noise = random.standard_normal((2, 40_000, 8))
        y = r * x + np.sqrt(1 - r**2) * noise
        apart = x.argsort(1).argsort(1) - y.argsort(1).argsort(1)
        drawn = 1 - 6 * (apart**2).sum(1) / (8 * 63)
        assert (sign * (drawn - rho) > -1e-9).mean() == pytest.approx(0.025, abs=0.004)
    narrower = stats.rank_correlation(range(8), swapped, 0.9)
    assert found.low < narrower.low < rho < narrower.high < found.high
    # Two groups of eight: the same ρ, from more pairs.
    both = stats.rank_correlation([*range(8)] * 2, [*swapped, *swapped], groups=[0] * 8 + [1] * 8)
    assert both.value == pytest.approx(rho)
    assert found.low < both.low < rho < both.high < found.high


@pytest.mark.parametrize(("x", "y"), [([1, 1, 1], [1, 2, 3]), ([3, 1, 2], [5, 5, 5])])
def test_no_order_is_compared_with_what_has_no_spread(x, y):
    found = stats.rank_correlation(x, y)
    assert np.isnan([found.value, found.low, found.high]).all()
