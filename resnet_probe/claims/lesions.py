"""What claims ask of tables of lesions: deletions, permutations and duplications of blocks.

Where a measure is of single edits, its interval is over images: these blocks, on images like these.
Where it is of random draws, its interval is over draws: these images, other draws of blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from resnet_probe.claims.evidence import Chosen, Exhibit, NotHere
from resnet_probe.stats import Estimate, Floats, paired_difference
from resnet_probe.stats import bootstrap as intervals

NEARLY_LOST = 0.9
"""Of the accuracy above chance, lost: a network is called "at chance" from here on."""
COUNTS = (1, 5, 10, 15, 20)
TAUS = (0.99, 0.95, 0.91, 0.87)
TWICE = (5, 10)
"""The numbers of edits, and Kendall's τ, at which the rules are judged, whatever else was drawn."""
TIMES, MOST = 2000, 20_000
"""Weightings of the images for the interval of a median over edits: usually, and for the levels at
which many claims hold together."""
BEYOND_ENDS = 40
"""Of the weightings, so many at least lie beyond the two ends of an interval."""


def median_delta(chosen: Chosen, confidence: float) -> Estimate:
    """Median over single deletions of the change in error, in points."""
    return _scaled(_median_delta(chosen.first, confidence), 100)


def median_delta_of_way(chosen: Chosen, confidence: float) -> Estimate:
    """The same in percent of the way from the whole network's error to chance."""
    found = chosen.first
    return _scaled(_median_delta(found, confidence), 100 / _way(found))


def median_delta_falls(chosen: Chosen, confidence: float) -> Estimate:
    """The smallest fall of the median change from one network to the next, in points."""

    def steps(level: float) -> list[Estimate]:
        found = [_median_delta(exhibit, level) for exhibit in chosen.exhibits]
        return [intervals.difference(one, other) for one, other in pairwise(found)]

    return _scaled(smallest(steps, len(chosen.exhibits) - 1, confidence), 100)


def plain_above_residual(chosen: Chosen, confidence: float) -> Estimate:
    """Median change in error of the plain network less that of the residual one, in points."""
    residual, plain = (_median_delta(exhibit, confidence) for exhibit in chosen.exhibits)
    return _scaled(intervals.difference(plain, residual), 100)


def layers_at_chance(chosen: Chosen, confidence: float) -> Estimate:
    """Percent of the layers whose deletion takes at least `NEARLY_LOST` of the way to chance."""
    found = chosen.first
    rows, way = _single(found), _way(found)
    low, high = _paired(rows, intervals.joint(confidence, len(rows)))
    sure, maybe = ((end >= NEARLY_LOST * way) for end in (low, high))
    value = rows["delta_pct"] / 100 >= NEARLY_LOST * way
    return _scaled(Estimate(value.mean(), sure.mean(), maybe.mean()), 100)


def worst_rank(chosen: Chosen, confidence: float) -> Estimate:
    """The rank of the least bad among block 1 and the first blocks of later stages, 1 the worst.

    In percent of all blocks; the paired intervals of all deletions hold together.
    """
    rows = _single(chosen.first)
    low, high = _paired(rows, intervals.joint(confidence, len(rows)))
    rank, first, last = intervals.ranks(rows["delta_pct"] / 100, low, high)
    special = ~rows["stage"].astype(str).duplicated().to_numpy()
    ends = (float(part[special].max()) for part in (rank, first, last))
    return _scaled(Estimate(*ends), 100 / len(rows))


def restored(chosen: Chosen, confidence: float) -> Estimate:
    """Percent of the median cost of a deletion that re-estimated statistics take away.

    From the lesion as it stands and the one with statistics of its own; the ends of the interval
    are the extremes that both medians allow (Bonferroni).
    """
    level = intervals.joint(confidence, 2)
    stale, own = (_median_delta(exhibit, level) for exhibit in chosen.exhibits)
    if stale.low <= 0:
        raise NotHere(f"needs deletions that cost something: of {chosen.first.network} the median "
                      "one is not shown to")  # fmt: skip
    left = [a / b for a in (own.low, own.high) for b in (stale.low, stale.high)]
    value = 1 - own.value / stale.value
    return _scaled(Estimate(value, 1 - max(left), 1 - min(left)), 100)


def costs_more_than(control: str) -> Callable[[Chosen, float], Estimate]:
    """A measure: by how much a deletion costs more than that control, in points.

    The mean over blocks; the interval is Student's over images.
    """

    def measure(chosen: Chosen, confidence: float) -> Estimate:
        found = chosen.first
        against = found.facts.get("against") or {}
        if control not in against:
            raise NotHere(f"needs control with {control}: {found.network} has none")
        value, low, high = against[control]
        wider = stats.t.ppf(0.5 + confidence / 2, found.images - 1) / stats.t.ppf(
            0.975, found.images - 1
        )
        half = wider * (high - low) / 2
        return Estimate(value, value - half, value + half)

    return measure


def delete_rises(chosen: Chosen, confidence: float) -> Estimate:
    """The chance that more deletions err more, least over `COUNTS` and the next; ½: no order."""
    return _least_order(_by(chosen.first, "edits", COUNTS), confidence)


def permute_rises(chosen: Chosen, confidence: float) -> Estimate:
    """The chance that an order further away errs more, least over `TAUS` and the next."""
    return _least_order(_by(chosen.first, "tau", TAUS), confidence)


def duplicate_below_delete(chosen: Chosen, confidence: float) -> Estimate:
    """The chance that k deletions err more than k duplications, least over `TWICE`."""
    deleted, duplicated = (_by(exhibit, "edits", TWICE) for exhibit in chosen.exhibits)

    def chances(level: float) -> list[Estimate]:
        return [order(a, b, level) for a, b in zip(duplicated, deleted, strict=True)]

    return smallest(chances, len(TWICE), confidence)


def median_at(count: int) -> Callable[[Chosen, float], Estimate]:
    """A measure: the median error with `count` random edits, in percent."""

    def measure(chosen: Chosen, confidence: float) -> Estimate:
        (errors,) = _by(chosen.first, "edits", (count,))
        return intervals.resampled([errors], lambda drawn: np.median(drawn[0], axis=1), confidence)

    return measure


def smallest(
    several: Callable[[float], Sequence[Estimate]], count: int, confidence: float
) -> Estimate:
    """The smallest of `count` estimates, which `several` makes at a confidence.

    That all of them lie above something is shown where each of them is: its lower end is the least
    lower end, as it stands (Berger 1982, "Multiparameter hypothesis testing and acceptance
    sampling", an intersection–union test).  That one lies below is one of several chances to be
    wrong: the upper end is the least of the ends that hold together (Bonferroni).
    """
    alone, joint = several(confidence), several(intervals.joint(confidence, count))
    return Estimate(
        min(found.value for found in alone),
        min(found.low for found in alone),
        min(found.high for found in joint),
    )


def order(few: Floats, many: Floats, confidence: float) -> Estimate:
    """The chance that a draw of `many` errs more than one of `few`, a tie counting half.

    Mann & Whitney 1947, "On a test of whether one of two random variables is stochastically
    larger"; the interval is Student's, with the variance of DeLong et al. 1988, doi
    10.2307/2531595, and the degrees of freedom of Welch.  Raises `NotHere` for fewer than ten
    draws on a side, which no rule on draws was tried with.
    """
    if min(len(few), len(many)) < 10:
        raise NotHere(f"needs 10 draws at each level, there are {min(len(few), len(many))}")
    above = (many[None, :] > few[:, None]) + 0.5 * (many[None, :] == few[:, None])
    parts = [above.mean(axis=axis) for axis in (1, 0)]
    errors = np.array([part.var(ddof=1) / len(part) for part in parts])
    total = errors.sum()
    free = np.array([len(part) - 1 for part in parts])
    freedom = total**2 / (errors**2 / free).sum() if total > 0 else np.inf
    value = float(above.mean())
    half = stats.t.ppf(0.5 + confidence / 2, freedom) * np.sqrt(total)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def _median_delta(exhibit: Exhibit, confidence: float) -> Estimate:
    """As a share, over all blocks of this network, these blocks; the interval is over images.

    From `TIMES` weightings of the images, or from `MOST` where fewer than some twenty of those lie
    beyond each end.
    """
    times = min(TIMES, MOST) if TIMES * (1 - confidence) >= BEYOND_ENDS else MOST
    if times not in exhibit.medians:
        exhibit.medians[times] = intervals.medians_of_edits(exhibit.differences, times=times)
    value = float(np.median(exhibit.differences.mean(axis=1)))
    return intervals.percentiles(value, exhibit.medians[times], confidence)


def _least_order(groups: Sequence[Floats], confidence: float) -> Estimate:
    def chances(level: float) -> list[Estimate]:
        return [order(few, many, level) for few, many in pairwise(groups)]

    return smallest(chances, len(groups) - 1, confidence)


def _by(exhibit: Exhibit, column: str, levels: Sequence[float]) -> list[Floats]:
    """The errors of the draws at each of these numbers of edits, or values of τ (rounded)."""
    rows = exhibit.table[exhibit.table["kind"] != "baseline"]
    keys = pd.to_numeric(rows[column]).round(2)
    missing = [f"{level:g}" for level in levels if not (keys == level).any()]
    if missing:
        what = "Kendall's τ" if column == "tau" else "edits at once"
        raise NotHere(f"needs draws at {', '.join(missing)} {what}: {exhibit.network} has none")
    return [rows["error_pct"][keys == level].to_numpy(dtype=np.float64) for level in levels]


def _paired(rows: pd.DataFrame, confidence: float) -> tuple[Floats, Floats]:
    """The interval of each row's change in error, paired with the baseline, as shares."""
    if not {"lost", "gained"} <= set(rows.columns):
        raise NotHere("needs the columns lost and gained, which this table has not")
    return paired_difference(rows["lost"], rows["gained"], rows["images"], confidence)


def _single(exhibit: Exhibit) -> pd.DataFrame:
    return exhibit.table[exhibit.table["kind"] != "baseline"].reset_index(drop=True)


def _way(exhibit: Exhibit) -> float:
    """From the whole network's error to that of guessing, as a share."""
    if exhibit.classes is None:
        raise NotHere(f"needs the number of classes of {exhibit.data or 'the images'}")
    base = exhibit.table[exhibit.table["kind"] == "baseline"].iloc[0]
    way = 1 - 1 / exhibit.classes - float(base["error_pct"]) / 100
    if way <= 0:
        raise NotHere(f"{exhibit.network} is no better than chance on these images, unedited")
    return way


def _scaled(found: Estimate, factor: float) -> Estimate:
    return Estimate(*(factor * float(part) for part in found))
