"""Intervals that are watched: whether they hold when one stops as one likes, and how soon."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy import stats as scipy_stats

from resnet_probe.errors import ProbeError
from resnet_probe.stats.sequential import LOOK, ConfidenceSequence, log_e_value

MARGIN = 0.005


def studies(number: int, images: int, lost, gained, seed: int = 0) -> np.ndarray:
    """So many studies `[number, images]`, each of the whole set in an order of its own."""
    random = np.random.default_rng(seed)
    lost, gained = (np.broadcast_to(part, number) for part in (lost, gained))
    sets = np.zeros((number, images), dtype=np.int8)
    for row, b, c in zip(sets, lost, gained, strict=True):
        row[: round(b * images)] = 1
        row[round(b * images) : round(b * images) + round(c * images)] = -1
    return random.permuted(sets, axis=1)


def watched(sets: np.ndarray, decided, batch: int = 64, **options) -> tuple[np.ndarray, ...]:
    """Each study until `decided(low, high)`: the interval it stops with, the images it has seen."""
    sequence = ConfidenceSequence(len(sets), sets.shape[1], **options)
    running = np.arange(len(sets))
    for start in range(0, sets.shape[1], batch):
        sequence.update(sets[running, start : start + batch], running)
        low, high = sequence.interval
        running = np.flatnonzero(~(decided(low, high) | (sequence.seen == sets.shape[1])))
        if len(running) == 0:
            break
    return *sequence.interval, sequence.seen


def as_asked(low, high):
    """Narrower than ± 1 point, or on one side of 0 and of the margin."""
    beyond = (low > MARGIN) | (high < -MARGIN)
    return beyond | (high - low <= 0.02)


def test_intervals_hold_at_their_stopping_times(images: int = 1500) -> None:
    """A thousand studies of edits that lose from 0.1 to 50 % of the images."""
    random = np.random.default_rng(1)
    lost = np.exp(random.uniform(log(0.001), log(0.5), 1000))
    gained = lost * random.uniform(0, 1, 1000) * 0.5
    sets = studies(1000, images, lost, gained)
    low, high, seen = watched(sets, as_asked)
    truth = sets.mean(axis=1)
    assert ((low <= truth + 1e-12) & (truth <= high + 1e-12)).mean() >= 0.95
    assert np.median(seen) < images


def test_stopping_at_the_worst_moment_does_not_help() -> None:
    """Who watches until the interval misses the truth waits in vain four times in five."""
    sets = studies(500, 600, 0.25, 0.1)
    missed = np.zeros(500, dtype=bool)
    sequence = ConfidenceSequence(500, 600, precision=0.05, confidence=0.8)
    for start in range(0, 600, 32):
        sequence.update(sets[:, start : start + 32])
        low, high = sequence.interval
        missed |= (low > 0.15 + 1e-9) | (high < 0.15 - 1e-9)
    assert 0.01 < missed.mean() <= 0.2


@pytest.mark.parametrize(
    ("images", "apart", "most"),
    [(50_000, 0.01, 1150), (50_000, 0.035, 3350), (50_000, 0.05, 5100), (10_000, 0.05, 3700)],
)
def test_a_point_either_side_is_reached_early(images, apart, most) -> None:
    sets = studies(12, images, apart * 0.7, apart * 0.3)
    *_, seen = watched(sets, lambda low, high: high - low <= 0.02)
    assert np.median(seen) <= most
    fixed = 1.96**2 * apart / 0.01**2
    assert np.median(seen) > 1.2 * fixed / (1 + fixed / images)


def test_harm_alone_needs_few_images() -> None:
    sets = studies(40, 10_000, 0.9, 0.01)
    low, _, seen = watched(sets, lambda low, high: low > MARGIN, batch=32)
    assert (low > MARGIN).all() and seen.max() <= 64


def test_independent_draws_need_no_population() -> None:
    random = np.random.default_rng(3)
    drawn = random.choice([-1, 0, 1], p=[0.02, 0.9, 0.08], size=(300, 1200))
    sequence = ConfidenceSequence(300, None, precision=0.02)
    sequence.update(drawn)
    low, high = sequence.interval
    assert ((low <= 0.06) & (high >= 0.06)).mean() >= 0.95
    assert np.median(high - low) < 0.06


def test_all_of_the_set_is_known_exactly() -> None:
    sets = studies(6, 70, [0, 0.1, 0.5, 1, 0, 0.3], [0, 0, 0.5, 0, 1, 0.1])
    sequence = ConfidenceSequence(6, 70)
    sequence.update(sets)
    low, high = sequence.interval
    np.testing.assert_allclose(low, sets.mean(1))
    np.testing.assert_allclose(high, sets.mean(1))
    assert sequence.precise.all()


def test_intervals_only_shrink_and_begin_with_everything() -> None:
    sets = studies(8, 2000, 0.2, 0.1)
    sequence = ConfidenceSequence(8, 2000)
    before = sequence.interval
    assert (before[0] == -1).all() and (before[1] == 1).all()
    for start in range(0, 2000, 100):
        sequence.update(sets[:, start : start + 100])
        low, high = sequence.interval
        assert (low >= before[0]).all() and (high <= before[1]).all()
        before = low, high


def test_the_batches_and_the_company_change_nothing() -> None:
    sets = studies(5, 1000, [0.01, 0.05, 0.2, 0.5, 0.9], 0.02)
    ends = []
    for batch in (1, 7, 500):
        sequence = ConfidenceSequence(5, 1000)
        for start in range(0, 500, batch):
            sequence.update(sets[:, start : min(start + batch, 500)])
        ends.append(np.array(sequence.interval))
    assert (ends[0] == ends[1]).all() and (ends[0] == ends[2]).all()
    alone = ConfidenceSequence(1, 1000)
    alone.update(sets[3:4, :500])
    assert (np.ravel(alone.interval) == ends[0][:, 3]).all()


def test_it_is_known_better_after_every_so_many_images_only() -> None:
    """And tells it from the images so far, however many of them came since."""
    sets = studies(3, 100, [0.9, 0.3, 0.05], 0.0)
    sequence, ends = ConfidenceSequence(3, None), []
    for image in sets.T:
        sequence.update(image[:, None])
        ends.append(sequence.interval[0][0])
    looks = 1 + np.flatnonzero(np.diff([-1.0, *ends]))
    assert looks.tolist() == [LOOK, 2 * LOOK, 3 * LOOK]


def test_edits_that_are_decided_stay_as_they_are() -> None:
    sets = studies(3, 1000, [0.9, 0.01, 0.05], 0.0)
    sequence = ConfidenceSequence(3, 1000)
    sequence.update(sets[:, :64])
    first = np.array(sequence.interval)[:, 0]
    sequence.update(sets[[2, 1], 64:640], [2, 1])
    assert (np.array(sequence.interval)[:, 0] == first).all()
    assert sequence.seen.tolist() == [64, 640, 640]
    whole = ConfidenceSequence(3, 1000)
    whole.update(sets[:, :640])
    assert (np.array(whole.interval)[:, 1:] == np.array(sequence.interval)[:, 1:]).all()


def test_the_e_value_is_a_mixture_of_likelihood_ratios() -> None:
    for lost, gained in ((0, 0), (7, 0), (9, 4)):
        chances = (np.arange(100_000) + 0.5) / 100_000
        expected = np.mean((2 * chances) ** lost * (2 * (1 - chances)) ** gained)
        assert log_e_value(lost, gained) == pytest.approx(log(expected), abs=1e-8)
    assert log_e_value([[3], [0]], [3, 0, 10_000]).shape == (2, 3)


@pytest.mark.parametrize(("share", "median"), [(0.9, 15), (0.45, 31), (0.12, 122)])
def test_how_many_images_the_e_value_takes_to_decide(share, median) -> None:
    """Of 100 images an edit loses `share` and gains 2."""
    random = np.random.default_rng(5)
    drawn = random.choice([1, -1, 0], p=[share, 0.02, 0.98 - share], size=(400, 1000))
    log_e = log_e_value((drawn > 0).cumsum(1), (drawn < 0).cumsum(1))
    found = 1 + np.argmax(log_e >= log(20), axis=1)
    assert abs(np.median(found) - median) <= 0.75 * median


def test_the_e_value_seldom_decides_where_nothing_is_to_be_decided() -> None:
    """At any of two thousand looks, drawn anew or until the set is empty."""
    random = np.random.default_rng(6)
    drawn = random.choice([1, -1], size=(2000, 2000))
    for given in (drawn, studies(2000, 2000, 0.5, 0.5)):
        log_e = log_e_value((given > 0).cumsum(1), (given < 0).cumsum(1))
        assert (log_e.max(axis=1) >= log(20)).mean() <= 0.05
    assert scipy_stats.binomtest(int((drawn > 0).sum()), drawn.size).pvalue > 0.001


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: s.update(np.zeros((3, 4))),
            r"of 2 edits are \[2, images\], found shape \[3, 4\]",
        ),
        (lambda s: s.update(np.full((2, 4), 1.5)), "between −1 and 1"),
        (lambda s: s.update(np.full((2, 4), np.nan)), "between −1 and 1"),
        (lambda s: s.update(np.zeros((2, 101))), "101 images are more than the population of 100"),
        (lambda s: (s.update(np.zeros((1, 4)), [1]), s.update(np.zeros((2, 4)))), "seen 0 to 4"),
        (lambda s: ConfidenceSequence(0, 10), "found 0 and a population of 10"),
        (lambda s: ConfidenceSequence(1, 10, precision=1.0), "a precision is a share"),
        (lambda s: ConfidenceSequence(1, 10, confidence=95), "between 0 and 1, not at 95"),
        (lambda s: log_e_value(-1, 0), "not negative"),
    ],
)
def test_what_cannot_be_is_refused(call, message) -> None:
    with pytest.raises(ProbeError, match=message):
        call(ConfidenceSequence(2, 100))
