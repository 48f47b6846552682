"""Paired differences of error rates: other people's code, closed forms and simulation."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from scipy import stats as scipy_stats

from resnet_probe import stats
from resnet_probe.errors import ProbeError
from resnet_probe.stats.paired import adjusted


def test_mcnemar_by_summing_the_binomial() -> None:
    for a, b in itertools.product(range(9), range(9)):
        n = a + b
        weights = [comb(n, k) for k in range(n + 1)]
        as_unlikely = sum(weight for weight in weights if weight <= comb(n, a))
        assert stats.mcnemar(a, b) == pytest.approx(as_unlikely / 2**n, rel=1e-12)


def test_mcnemar_is_vectorised_and_sure_without_differences() -> None:
    p_values = stats.mcnemar(np.array([0, 5, 300]), np.array([0, 0, 400]))
    assert p_values[0] == 1.0
    assert p_values[1] == pytest.approx(2 / 2**5)
    assert p_values[2] == pytest.approx(scipy_stats.binomtest(300, 700).pvalue, rel=1e-9)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ProbeError, match="not negative"):
        stats.mcnemar([1, -1], 0)


def counts(lost: int, gained: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images the one and the other classifier have right."""
    first, second = np.ones(images), np.ones(images)
    second[:lost], first[lost : lost + gained] = 0, 0
    return first, second


@pytest.mark.parametrize("confidence", [0.68, 0.9, 0.95])
@pytest.mark.parametrize("case", [(0, 0, 846), (0, 5, 5), (30, 12, 898), (900, 3, 1000)])
def test_the_interval_of_a_difference_is_other_people_s(case, confidence) -> None:
    theirs = pytest.importorskip("evalstats.core.resampling").bonett_price_paired_ci
    expected = theirs(*counts(*case), alpha=1 - confidence)
    assert stats.paired_difference(*case, confidence) == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_a_difference_by_hand() -> None:
    """20 lost and 5 gained of 98: p = 0.21, q = 0.06, and the error is √((0.27 − 0.0225)/100)."""
    half = 1.959963984540054 * np.sqrt(0.2475 / 100)
    assert stats.paired_difference(20, 5, 98) == pytest.approx((0.15 - half, 0.15 + half))
    low, high = stats.paired_difference(np.array([[0], [1]]), 0, np.array([8, 16, 32]))
    assert low.shape == high.shape == (2, 3)
    assert (low[0] == -high[0]).all() and (high[0] > 0).all()  # no difference, yet an interval


@pytest.mark.parametrize(("images", "apart"), [(100, 0.03), (1000, 0.005), (10_000, 0.05)])
@pytest.mark.parametrize("side", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_a_paired_difference_covers_the_truth(images, apart, side, confidence) -> None:
    p, q = apart * side, apart * (1 - side)
    drawn = np.random.default_rng(0).multinomial(images, [p, q, 1 - p - q], size=20_000)
    low, high = stats.paired_difference(drawn[:, 0], drawn[:, 1], images, confidence)
    missed = 1 - ((low <= p - q) & (p - q <= high)).mean()
    assert missed < 1.35 * (1 - confidence)


def test_equivalence_is_two_one_sided_tests() -> None:
    low, high = stats.paired_difference([2, 30], [2, 28], 1000, 0.9)
    both = stats.equivalent([2, 30], [2, 28], 1000, 0.01)
    assert both.tolist() == [True, False]
    assert both.tolist() == ((low > -0.01) & (high < 0.01)).tolist()
    _, end = stats.paired_difference(3, 2, 1000, 2 * 0.95 - 1)
    assert not stats.equivalent(3, 2, 1000, float(end))  # less than the margin, not that much
    assert not stats.equivalent(0, 0, 50, 0.01) and stats.equivalent(0, 0, 5000, 0.01)


@pytest.mark.parametrize(("gained", "most"), [(0.0, 0.07), (0.02, 0.055)])
def test_a_harmful_edit_is_seldom_called_equivalent(gained, most) -> None:
    """The truth lies on the margin: one in twenty may pass, a few more where none is gained."""
    margin, images = 0.01, 2000
    p = [margin + gained, gained, 1 - margin - 2 * gained]
    drawn = np.random.default_rng(1).multinomial(images, p, size=20_000)
    assert stats.equivalent(drawn[:, 0], drawn[:, 1], images, margin).mean() < most


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.paired_difference(-1, 0, 5), "0 ≤ lost"),
        (lambda: stats.paired_difference(3, 3, 5), "lost . gained ≤ images"),
        (lambda: stats.paired_difference(0, 0, 0), "images ≥ 1"),
        (lambda: stats.paired_difference(0, 0, 5, 95), "between 0 and 1, not at 95"),
        (lambda: stats.equivalent(0, 0, 5, 0.0), "a margin is a share above 0 and at most 1"),
        (lambda: stats.equivalent(0, 0, 5, 0.1, 0.4), "confidence above 0.5, not 0.4"),
        (lambda: stats.equivalent(0, 0, 5, 0.1, 0.5), "confidence above 0.5, not 0.5"),
    ],
)
def test_counts_and_margins_that_cannot_be_are_refused(call, message) -> None:
    with pytest.raises(ProbeError, match=message):
        call()


@pytest.mark.parametrize("z", [1.0, 2.0, 4.0])
@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (7, 2)])
def test_what_is_added_to_each_cell_keeps_pace_with_the_level(z, lost, gained) -> None:
    """1 as Bonett & Price have it up to z = 2, and z²/4 beyond, written out."""
    added, images = {1.0: 1, 2.0: 1, 4.0: 4}[z], 50
    size = images + 2 * added
    p, q = (lost + added) / size, (gained + added) / size
    expected = (p - q, ((p + q - (p - q) ** 2) / size) ** 0.5)
    assert np.ravel(adjusted(lost, gained, images, z)) == pytest.approx(expected, rel=1e-12)
