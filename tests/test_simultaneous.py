"""Many edits at once: against brute force, single tests, and simulated studies."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from resnet_probe.errors import ProbeError
from resnet_probe.stats import mcnemar, paired_difference
from resnet_probe.stats.simultaneous import FLIPS, SignFlips


def differences(lost, gained, images: int, *, shared: float = 0.5, seed: int = 0) -> np.ndarray:
    """Edits that lose and gain with these chances, on images that are hard for all alike."""
    random = np.random.default_rng(seed)
    own = np.sqrt(1 - shared) * random.standard_normal((len(lost), images))
    chance = scipy_stats.norm.cdf(np.sqrt(shared) * random.standard_normal(images) + own)
    lost, gained = np.asarray(lost)[:, None], np.asarray(gained)[:, None]
    return (chance < lost).astype(np.int8) - (chance > 1 - gained).astype(np.int8)


def test_one_edit_has_mcnemar_s_p_value_and_its_own_interval() -> None:
    given = differences([0.04], [0.015], 500)
    lost, gained = int((given > 0).sum()), int((given < 0).sum())
    flips = SignFlips.of(given, flips=40_000)
    assert flips.p_values()[0] == pytest.approx(mcnemar(lost, gained), abs=0.004)
    expected = paired_difference(lost, gained, 500)
    assert np.ravel(flips.interval()) == pytest.approx(np.array(expected), abs=4e-4)


def test_p_values_are_those_of_all_signs() -> None:
    """Nine images, four edits: every sign vector, and the steps down one by one."""
    given = np.random.default_rng(3).normal(0.3, 1, (4, 9))
    size = np.sqrt((given**2).sum(1))
    found = np.abs(given.sum(1)) / size
    every = np.array(list(product([-1, 1], repeat=9)))
    drawn = np.abs(every @ given.T) / size
    expected, least = np.empty(4), 0.0
    left = list(np.argsort(-found))
    while left:
        least = max(least, (drawn[:, left].max(1) >= found[left[0]] - 1e-9).mean())
        expected[left.pop(0)] = least
    p_values = SignFlips.of(given, flips=60_000).p_values()
    np.testing.assert_allclose(p_values, expected, atol=0.01)


def test_twins_count_once_and_strangers_each_for_itself() -> None:
    one = differences([0.05], [0.05], 4000)
    single = SignFlips.of(one).interval()
    twins = SignFlips.of(np.repeat(one, 40, axis=0)).interval()
    np.testing.assert_allclose(np.array(twins)[:, 7], np.ravel(single), atol=9e-4)
    strangers = differences([0.05] * 40, [0.05] * 40, 4000, shared=0.0)
    low, high = SignFlips.of(strangers).interval()
    counts = (strangers > 0).sum(1), (strangers < 0).sum(1)
    below, above = paired_difference(*counts, 4000, 0.95 ** (1 / 40))
    np.testing.assert_allclose(high - low, above - below, rtol=0.03)


def test_an_edit_with_which_no_image_differs_has_an_interval_of_its_own() -> None:
    given = np.vstack([differences([0.05], [0.02], 1000), np.zeros((1, 1000), np.int8)])
    flips = SignFlips.of(given)
    low, high = flips.interval()
    assert high[1] == -low[1] > 2 * np.sqrt(2) / 1002
    assert flips.p_values()[1] == 1.0
    assert flips.inside(0.01).tolist() == [False, True]
    alike = SignFlips.of(np.vstack([given[0] * 1.5, np.full(1000, 0.1)]))
    assert np.isnan(alike.interval()[0]).tolist() == [False, True]
    assert alike.inside(1.0).tolist() == [True, False]


SPREAD = np.geomspace(0.002, 0.6, 20)


@pytest.mark.parametrize(
    ("lost", "gained", "images", "shared"),
    [
        (SPREAD, np.minimum(SPREAD, 0.03) / 2, 1000, 0.7),
        (SPREAD, np.minimum(SPREAD, 0.03) / 2, 1000, 0.0),
        (np.geomspace(0.0005, 0.01, 54), np.geomspace(0.0001, 0.002, 54), 1000, 0.5),
    ],
    ids=["dependent", "independent", "rare"],
)
def test_all_intervals_together_cover_the_truth(lost, gained, images, shared) -> None:
    covered = []
    for seed in range(250):
        given = differences(lost, gained, images, shared=shared, seed=seed)
        low, high = SignFlips.of(given, flips=400, seed=seed).interval()
        covered.append(((low <= lost - gained) & (lost - gained <= high)).all())
    assert np.mean(covered) >= 0.93


def test_of_losses_too() -> None:
    """Means of skewed, dependent numbers."""
    covered = []
    for seed in range(250):
        random = np.random.default_rng(seed)
        both = random.exponential(size=400) + random.exponential(size=(15, 400))
        low, high = SignFlips.of(both, flips=400, seed=seed).interval()
        covered.append(((low <= 2) & (high >= 2)).all())
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.many(2)
@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_how_often_anything_passes_that_should_not(shared) -> None:
    """No edit differs, or all lie on the margin: one study in twenty may say otherwise."""
    rejected, passed = [], []
    for seed in range(250):
        null = differences([0.02] * 20, [0.02] * 20, 2000, shared=shared, seed=seed)
        rejected.append((SignFlips.of(null, flips=400, seed=seed).p_values() < 0.05).any())
        edge = differences([0.03] * 20, [0.02] * 20, 4000, shared=shared, seed=seed)
        passed.append(SignFlips.of(edge, flips=400, seed=seed).inside(0.01).any())
    assert np.mean(rejected) < 0.085
    assert np.mean(passed) < 0.085


def test_what_is_shown_one_by_one_is_not_yet_shown_together() -> None:
    given = differences(np.geomspace(0.002, 0.03, 30), np.geomspace(0.002, 0.03, 30), 10_000)
    counts = (given > 0).sum(1), (given < 0).sum(1)
    low, high = paired_difference(*counts, 10_000, 0.9)
    alone = (low > -0.005) & (high < 0.005)
    together = SignFlips.of(given).inside(0.005)
    assert 0 < together.sum() < alone.sum() and not (together & ~alone).any()


def test_the_same_seed_gives_the_same_numbers_in_any_pieces(monkeypatch) -> None:
    given = differences([0.05, 0.01], [0.01, 0.01], 333)
    first, other = SignFlips.of(given, seed=5), SignFlips.of(given, seed=6)
    monkeypatch.setattr("resnet_probe.stats.simultaneous.AT_ONCE", 333 * 7)
    again = SignFlips.of(given, seed=5)
    assert (
        np.array_equal(first.sums, again.sums) and first.interval()[0][0] == again.interval()[0][0]
    )
    assert not np.array_equal(first.sums, other.sums)
    assert first.sums.shape == first.normal.shape == (FLIPS, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(5, np.int8), r"found shape \[5\]"),
        (np.zeros((3, 1), np.int8), r"of at least 2 images, found shape \[3, 1\]"),
        (np.full((2, 4), 2), "in whole numbers are −1, 0 and 1"),
        (np.array([[0.5, np.nan]]), "finite numbers"),
    ],
)
def test_what_cannot_be_flipped_is_refused(given, message) -> None:
    with pytest.raises(ProbeError, match=message):
        SignFlips.of(given)


def test_options_out_of_range_are_refused() -> None:
    given = np.eye(4, dtype=np.int8)
    with pytest.raises(ProbeError, match="10 flips are too few"):
        SignFlips.of(given, flips=10)
    flips = SignFlips.of(given)
    for margin in (0.0, -1.0, 1.5):
        with pytest.raises(ProbeError, match="margin is"):
            flips.inside(margin)
    with pytest.raises(ProbeError, match="between 0 and 1, not at 95"):
        flips.interval(95)


def test_equivalence_reaches_as_far_as_the_farther_of_both_sides() -> None:
    """Each side has a quantile of its own, and the wider one is taken: edit by edit, by loops."""

    def naive(flips: SignFlips, margin: float) -> list[bool]:
        signed = np.array(flips._deviations())
        shown = [False] * len(flips.total)
        while not all(shown):
            left = [edit for edit, done in enumerate(shown) if not done]
            one = sorted(max(row[edit] for edit in left) for row in signed)
            way = [-1 if total < 0 else 1 for total in flips.total]
            two = sorted(max(row[edit] * way[edit] for edit in left) for row in signed)
            place = int(np.ceil(0.95 * (len(one) - 1)))
            middle, half = flips._laid_out(max(one[place], two[place]))
            more = [
                e for e in left if -margin < middle[e] - half[e] and middle[e] + half[e] < margin
            ]
            if not more:
                break
            for edit in more:
                shown[edit] = True
        return shown

    seen = set()
    for seed in range(6):
        lost = np.random.default_rng(seed).uniform(0, 0.03, 5)
        flips = SignFlips.of(differences(lost, 0.03 - lost, 400, seed=seed), flips=200, seed=seed)
        for margin in np.linspace(0.005, 0.06, 60):
            expected = naive(flips, margin)
            assert flips.inside(margin).tolist() == expected
            seen.add(tuple(expected))
    assert len(seen) > 10


@pytest.mark.parametrize("count", [2, 4, 12])
def test_few_texts_do_not_make_their_losses_sure(count) -> None:
    """Of 2 images there are two signs, which cannot tell one in twenty."""
    random = np.random.default_rng(count)
    missed = 0
    for seed in range(150):
        losses = random.standard_normal((5, count))
        low, high = SignFlips.of(losses, flips=200, seed=seed).interval()
        missed += bool(((low > 0) | (high < 0)).any())
    assert missed <= 15  # 5 % are 7.5
    own = scipy_stats.t.interval(
        0.95, count - 1, losses[0].mean(), scipy_stats.sem(losses[0])
    )  # fmt: skip
    low, high = SignFlips.of(losses[:1], flips=200).interval()
    assert low[0] <= own[0] + 1e-9 and high[0] >= own[1] - 1e-9
