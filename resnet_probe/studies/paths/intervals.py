"""Means over images or draws with their intervals, collected batch by batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from resnet_probe.stats import t_interval
from resnet_probe.stats.moments import Floats, Moments


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
        found = Moments.over(values.cpu().numpy(), axis=-1)
        self[name] = self[name].merge(found) if name in self else found

    def interval(self, name: str, *, positive: bool = False) -> Interval:
        """The means and their intervals, as `spread` lays them out."""
        found = self[name]
        mean = np.where(found.count > 0, found.mean, np.nan)
        return spread(mean, found.error, found.count, positive=positive)


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
