"""The intervals of claims against closed forms, simulation and other people's code."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from test_simultaneous import differences

from resnet_probe.errors import ProbeError
from resnet_probe.stats import Estimate
from resnet_probe.stats import bootstrap as intervals


def test_a_difference_of_symmetric_intervals_adds_in_squares() -> None:
    one, other = Estimate(5, 2, 8), Estimate(1, -3, 5)
    assert intervals.difference(one, other) == pytest.approx((4, -1, 9))


def test_the_largest_of_one_mean_is_student_s() -> None:
    found = intervals.greatest([2.0], [0.5], 9, 0.95)
    assert found == pytest.approx((2.0, *stats.t.interval(0.95, 9, 2.0, 0.5)))


def test_the_largest_of_many_means_covers_the_largest_truth() -> None:
    random = np.random.default_rng(1)
    truth = np.zeros(30)  # all alike: the hardest case for the lower end
    drawn = truth + random.standard_normal((800, 30))
    found = [intervals.greatest(row, np.ones(30), 1e9, 0.95) for row in drawn]
    assert np.mean([e.low <= 0 <= e.high for e in found]) > 0.95
    lone = np.where(np.arange(30) == 7, 20.0, 0.0) + drawn
    found = [intervals.greatest(row, np.ones(30), 1e9, 0.95) for row in lone]
    assert np.mean([e.low <= 20 <= e.high for e in found]) > 0.95


def test_the_smallest_is_the_largest_upside_down() -> None:
    found = intervals.least([1.0, 3.0], [0.1, 0.1], 50, 0.95)
    other = intervals.greatest([-1.0, -3.0], [0.1, 0.1], 50, 0.95)
    assert found == (-other.value, -other.high, -other.low)


def test_gaps_are_left_out_and_nothing_gives_nothing() -> None:
    with_gap = intervals.greatest([1.0, np.nan], [0.1, 0.1], 50, 0.95)
    assert with_gap == intervals.greatest([1.0], [0.1], 50, 0.95)
    assert np.isnan(intervals.greatest([np.nan], [0.1], 50, 0.95)).all()


def test_ranks_are_those_that_the_intervals_allow() -> None:
    rank, first, last = intervals.ranks([9, 5, 5, 1], [8, 4, 3, 0], [10, 6, 7, 3.5])
    assert rank.tolist() == [1, 2.5, 2.5, 4]
    assert first.tolist() == [1, 2, 2, 3]
    assert last.tolist() == [1, 3, 4, 4]


def test_a_resampled_median_agrees_with_scipy() -> None:
    values = np.random.default_rng(2).normal(10, 2, 40)
    found = intervals.resampled([values], lambda g: np.median(g[0], axis=1), 0.95)
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=9999, rng=0
    ).confidence_interval
    assert found.value == np.median(values)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.15)


LOST = np.geomspace(0.002, 0.6, 20)


def test_the_median_of_these_edits_covers_what_it_promises() -> None:
    """On images that all edits find hard, the edits' own intervals would be a wrong answer."""
    covered = []
    for seed in range(200):
        given = differences(LOST, np.full(20, 0.005), 1000, seed=seed)
        found = intervals.median_of_edits(given, times=600, seed=seed)
        covered.append(found.low <= np.median(LOST - 0.005) <= found.high)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_the_median_of_edits_by_hand() -> None:
    given = np.zeros((3, 400), dtype=np.int8)
    nothing = intervals.median_of_edits(given)
    assert nothing.value == 0 and nothing.low < 0 < nothing.high < 0.01
    given[0, :100], given[1, :40] = 1, 1
    found = intervals.median_of_edits(given)
    alone = intervals.median_of_edits(given[1:2])
    assert found.value == 0.1 and found == pytest.approx(alone, abs=0.004)
    twins = intervals.median_of_edits(np.repeat(given[1:2], 9, axis=0))
    assert twins == pytest.approx(alone, abs=0.005)
    losses = intervals.median_of_edits(given * 1.0)
    assert losses == pytest.approx(alone, abs=0.005)
    with pytest.raises(ProbeError, match=r"\[edits, images\], found \[5\]"):
        intervals.median_of_edits(np.zeros(5))


def test_a_bootstrap_needs_draws() -> None:
    with pytest.raises(ProbeError, match="at least 2 draws"):
        intervals.resampled([[1.0]], lambda g: g[0].mean(axis=1), 0.95)


def test_a_perturbed_sum_has_the_error_of_a_sum() -> None:
    found = intervals.perturbed([1.0, 2.0], [0.3, 0.4], lambda x: x.sum(axis=1), 0.95)
    assert found == pytest.approx((3.0, 3 - 0.98, 3 + 0.98), abs=0.03)


def test_spearman_is_scipy_s() -> None:
    values = np.random.default_rng(3).normal(size=(5, 9))
    expected = [stats.spearmanr(row, range(9)).statistic for row in values]
    assert intervals.spearman(values) == pytest.approx(expected)
    tied = np.array([[1.0, 1.0, 2.0, 3.0]])
    assert intervals.spearman(tied)[0] == pytest.approx(
        stats.spearmanr(tied[0], range(4)).statistic
    )


def test_joint_confidence_is_bonferroni_s() -> None:
    assert intervals.joint(0.95, 10) == pytest.approx(0.995)
    assert intervals.joint(0.95, 0) == intervals.joint(0.95, 1) == 0.95


@pytest.mark.parametrize("at_once", [50, 2**23])
def test_medians_are_drawn_as_often_as_asked(at_once, monkeypatch) -> None:
    monkeypatch.setattr(intervals, "AT_ONCE", at_once)
    given = differences([0.1] * 5, [0.02] * 5, 60)
    drawn = intervals.medians_of_edits(given, times=37)
    assert len(drawn) == 37 and np.isfinite(drawn).all()
    assert drawn.mean() == pytest.approx(np.median(given.mean(1)), abs=0.05)
