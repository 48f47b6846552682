"""Means and variances of what passes by once, in float64, merged exactly.

Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
variances": counts, means and sums of squared deviations of parts give those of the whole, so it
does not matter in which batches, in which order or on which device the parts were seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resnet_probe.stats.intervals import t_interval

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """`count`, `mean` and `m2`, the sum of squared deviations from it: arrays of one shape."""

    count: Floats
    mean: Floats
    m2: Floats

    @classmethod
    def of(cls, values: Tensor, dims: Sequence[int]) -> Moments:
        """The moments of a tensor over `dims`; their shape is that of the other axes."""
        import torch

        with torch.no_grad():
            variance, mean = torch.var_mean(values.double(), dim=tuple(dims), correction=0)
        elements = float(np.prod([values.shape[axis] for axis in dims]))
        means, m2 = mean.cpu().numpy(), variance.cpu().numpy() * elements
        return cls(np.full(means.shape, elements), means, m2)

    @classmethod
    def over(cls, values: ArrayLike, axis: int = 0) -> Moments:
        """The moments of an array along an axis; NaN counts for nothing."""
        x = np.asarray(values, dtype=np.float64)
        known = ~np.isnan(x)
        single = cls(known.astype(np.float64), np.where(known, x, 0.0), np.zeros_like(x))
        return single.pooled(axis)

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Moments:
        """Nothing seen yet."""
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape))

    def pooled(self, axis: int = 0) -> Moments:
        """The moments of all parts along an axis together."""
        count = self.count.sum(axis)
        mean = (self.count * self.mean).sum(axis) / np.maximum(count, 1)
        apart = self.count * (self.mean - np.expand_dims(mean, axis)) ** 2
        return Moments(count, mean, self.m2.sum(axis) + apart.sum(axis))

    def merge(self, other: Moments) -> Moments:
        """Both together."""
        return Moments.stack([self, other]).pooled()

    @classmethod
    def stack(cls, parts: Sequence[Moments]) -> Moments:
        """Moments of one shape beside each other, along a new first axis."""
        return cls(*(np.stack([getattr(p, name) for p in parts]) for name in FIELDS))

    def in_groups(self, groups: NDArray[np.intp], number: int) -> Moments:
        """Rows pooled by group: row i belongs to group `groups[i]` of 0 … number − 1."""
        rows = [self[groups == group].pooled() for group in range(number)]
        return Moments.stack(rows)

    def left_out(self) -> Moments:
        """Row g holds all rows but row g together: what a jackknife needs."""
        rows = np.arange(len(self.count))
        return Moments.stack([self[rows != row].pooled() for row in rows])

    def __getitem__(self, index: Any) -> Moments:
        return Moments(self.count[index], self.mean[index], self.m2[index])

    @property
    def variance(self) -> Floats:
        """Over all that was seen (divided by the count); NaN where nothing was."""
        return np.where(self.count > 0, self.m2 / np.maximum(self.count, 1), np.nan)

    @property
    def std(self) -> Floats:
        return np.sqrt(self.variance)

    @property
    def error(self) -> Floats:
        """The standard error of the mean of independent values; NaN for fewer than two."""
        spread = self.m2 / np.maximum(self.count - 1, 1) / np.maximum(self.count, 1)
        return np.where(self.count > 1, np.sqrt(spread), np.nan)

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """`(low, high)` of the mean of independent values: Student's t."""
        return t_interval(self.mean, self.error, self.count, confidence)

    def of_changes(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """As `interval` of changes from one network to another; NaN where all are alike.

        That no image changed is no proof that none would: there is nothing to tell an error from.
        """
        alike = self.m2 <= 1e-18 * self.count * np.square(self.mean)
        return t_interval(self.mean, np.where(alike, np.nan, self.error), self.count, confidence)

    def named(self, name: str) -> dict[str, Floats]:
        """As arrays `NAME.count`, `NAME.mean` and `NAME.m2`, which `of_name` reads back."""
        return {f"{name}.{field}": getattr(self, field) for field in FIELDS}

    @classmethod
    def of_name(cls, name: str, arrays: Mapping[str, Any]) -> Moments:
        """Those of a name among arrays."""
        return cls(*(arrays[f"{name}.{field}"] for field in FIELDS))

    def to_json(self) -> dict[str, Any]:
        """As lists of numbers that `from_json` reads back to the last digit."""
        return {name: getattr(self, name).tolist() for name in FIELDS}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Moments:
        return cls(*(np.asarray(record[name], dtype=np.float64) for name in FIELDS))


FIELDS = ("count", "mean", "m2")
