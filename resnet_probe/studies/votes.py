"""Several networks on the same images: where they are wrong together, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnet_probe.stats import jackknife
from resnet_probe.stats.moments import Floats

GROUPS = 20
"""Of images, for the jackknife: image i belongs to group i modulo their number."""


@dataclass(frozen=True, eq=False)
class Votes:
    """Counts of M networks by group of images, or over all of them.

    `images` `[…]`; `wrong` `[…, M]`; `both_wrong` and `same` (answer) `[…, M, M]`.
    """

    images: Floats
    wrong: Floats
    both_wrong: Floats
    same: Floats

    @classmethod
    def of(cls, answers: NDArray[np.int64], labels: NDArray[np.int64]) -> Votes:
        """From the answers `[M, n]` of the networks, by group."""
        number = min(GROUPS, len(labels))
        group = np.arange(len(labels)) % number
        parts = [_count(answers[:, group == g], labels[group == g]) for g in range(number)]
        return cls(*(np.stack(column) for column in zip(*parts, strict=True)))

    @property
    def whole(self) -> Votes:
        return Votes(*(getattr(self, name).sum(0) for name in FIELDS))

    @property
    def left_out(self) -> Votes:
        """In row g all groups but g."""
        return Votes(*(getattr(self, name).sum(0) - getattr(self, name) for name in FIELDS))

    @property
    def error_pct(self) -> Floats:
        """Of each network, `[…, M]`."""
        return 100 * self.wrong / self.images[..., None]

    @property
    def disagreement_pct(self) -> Floats:
        """Of each two networks, `[…, M, M]`."""
        return 100 * (1 - self.same / self.images[..., None, None])

    @property
    def error_correlation(self) -> Floats:
        """φ of being wrong, `[…, M, M]`; NaN with a network always wrong or always right."""
        n, one = self.images[..., None, None], self.wrong[..., None]
        other = np.swapaxes(one, -1, -2)
        spread = one * (n - one) * other * (n - other)
        return (n * self.both_wrong - one * other) / np.sqrt(np.where(spread > 0, spread, np.nan))


FIELDS = ("images", "wrong", "both_wrong", "same")
Interval = tuple[Floats, Floats, Floats]


def over_networks(votes: Votes, quantity: str) -> tuple[float, float, float]:
    """The mean of a quantity over networks, or over pairs of them, with its jackknife interval.

    Pairs for which it is not defined on all images count for nothing.
    """
    value, without = getattr(votes.whole, quantity), getattr(votes.left_out, quantity)
    if quantity != "error_pct":
        above = np.triu_indices(value.shape[-1], 1)
        value, without = value[above], without[(..., *above)]
    known = ~np.isnan(value)
    if not known.any():
        return np.nan, np.nan, np.nan
    mean = value[known].mean()
    low, high = jackknife(mean, without[..., known].mean(-1))
    return float(mean), float(low), float(high)


def of_pairs(votes: Votes, quantity: str) -> Interval:
    """The quantity of each two networks, `[M, M]`, and the ends of its jackknife interval."""
    value = getattr(votes.whole, quantity)
    return value, *jackknife(value, getattr(votes.left_out, quantity))


def _count(
    answers: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats, Floats]:
    wrong = (answers != labels).astype(np.float64)
    same = np.stack([(answers == one).sum(1) for one in answers])
    return np.array(float(len(labels))), wrong.sum(1), wrong @ wrong.T, same.astype(np.float64)
