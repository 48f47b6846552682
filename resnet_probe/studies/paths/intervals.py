"""Means over images or draws with their intervals, collected batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from resnet_probe.stats import t_interval
from resnet_probe.stats.moments import Floats, Moments
from resnet_probe.studies.study import Arrays

GROUPS = 20
"""Of images with all that was drawn on them: what is left out in turn for an interval."""


class Interval(NamedTuple):
    """Arrays of one shape: values and the ends of their 95 % intervals, NaN for those without."""

    value: Floats
    low: Floats
    high: Floats

    def at(self, place: int) -> Interval:
        """The intervals of one place, the first axis."""
        return Interval(*(part[place] for part in self))


class Means(dict[str, Moments]):
    """Moments by name."""

    def take(self, name: str, values: Tensor) -> None:
        """Add values `[…, n]`, independent along the last axis; NaN counts for nothing."""
        self.merge({name: Moments.over(values.cpu().numpy(), axis=-1)})

    def merge(self, other: Mapping[str, Moments]) -> None:
        for name, found in other.items():
            self[name] = self[name].merge(found) if name in self else found

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """As arrays that `from_arrays` reads back."""
        return {
            key: part for name, found in self.items() for key, part in found.named(name).items()
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Means:
        names = [key.removesuffix(".count") for key in arrays if key.endswith(".count")]
        return cls({name: Moments.of_name(name, arrays) for name in names})

    def interval(self, name: str, *, positive: bool = False) -> Interval:
        """The means and their intervals, as `spread` lays them out."""
        found = self[name]
        mean = np.where(found.count > 0, found.mean, np.nan)
        return spread(mean, found.error, found.count, positive=positive)


class GroupSums(NamedTuple):
    """Sums `[groups, lengths]` over so many images and draws, `counts` `[groups, 1]`.

    Groups share neither images nor draws, so that they are independent; within one all may hang
    together, and so may the lengths.
    """

    sums: Floats
    counts: Floats

    @classmethod
    def of(cls, values: Floats, counts: Floats, member: NDArray[np.int64]) -> GroupSums:
        """Rows `[rows, lengths]` and their counts `[rows, 1]` by the groups that they belong to.

        Groups without a member are left out.
        """
        sums, number = np.zeros((GROUPS, values.shape[1])), np.zeros((GROUPS, 1))
        np.add.at(sums, member, values)
        np.add.at(number, member, counts)
        there = np.isin(np.arange(GROUPS), member)
        return cls(sums[there], number[there])

    @property
    def mean(self) -> Floats:
        return np.asarray(self.sums.sum(0) / (self.counts.sum() or np.nan))

    def left_out(self) -> Floats:
        """The means `[groups, lengths]` without each group."""
        rest = self.counts.sum() - self.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.sums.sum(0) - self.sums) / np.where(rest > 0, rest, np.nan)

    def interval(self) -> Interval:
        """The means with the intervals of a jackknife over groups, on the log scale.

        Tukey 1958; Student's t with one degree of freedom less than there are groups.
        """
        groups, without = len(self.sums), self.left_out()
        apart = ((without - without.mean(0)) ** 2).sum(0)
        error = np.sqrt((groups - 1) / groups * apart)
        return spread(self.mean, error, groups, positive=True)


def spread(mean: Floats, error: Floats, count: ArrayLike, *, positive: bool) -> Interval:
    """The interval of a mean of `count` independent values with that standard error.

    Student's t; for a quantity that is `positive` by nature it is laid out on the log scale (the
    delta method), so that both ends are.
    """
    low, high = t_interval(mean, error, count)
    if not positive:
        return Interval(mean, low, high)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = np.where(high == mean, 1.0, np.exp((high - mean) / mean))
        return Interval(mean, mean / factor, mean * factor)


def grouped(values: Floats, images: NDArray[np.int64]) -> Floats:
    """Rows `[rows, lengths]` of these images added up by group, `[groups, lengths]`."""
    sums = np.zeros((GROUPS, values.shape[1]))
    np.add.at(sums, images % GROUPS, values)
    return sums[np.isin(np.arange(GROUPS), images % GROUPS)]


def ratio_of_sums(above: Floats, below: Floats) -> Interval:
    """Σ above / Σ below over groups, with a jackknife's interval on the log scale; NaN for 0/0.

    Groups share neither images nor draws.
    """
    groups = len(above)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = above.sum(0) / np.where(below.sum(0) > 0, below.sum(0), np.nan)
        without = (above.sum(0) - above) / (below.sum(0) - below)
        apart = ((without - without.mean(0)) ** 2).sum(0) if groups else np.nan
    error = np.sqrt((groups - 1) / max(groups, 1) * apart)
    return spread(value, error, groups, positive=True)
