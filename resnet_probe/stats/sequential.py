"""Intervals that may be watched while images come in, and tests that may stop at any time.

A fixed-size interval is wrong for who looks again and again and stops when it pleases.  A
confidence sequence holds at all times at once.  Here it is a bet: against each possible mean
difference a capital is staked that cannot be expected to grow if that difference is the true one,
so that 1/α times the stake is reached with a chance of at most α (Ville's inequality).  What has
lost that bet is left out for good.  Waudby-Smith & Ramdas 2020, "Confidence sequences for sampling
without replacement" (NeurIPS), section 4, and 2023, "Estimating means of bounded random variables
by betting" (JRSS-B), sections 4 and 5.
"""

from __future__ import annotations

from math import ceil, log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from resnet_probe.errors import ProbeError
from resnet_probe.stats.intervals import Floats, checked_confidence

LOOK = 32
"""Images after which the bets are set anew and what has lost is left out."""
STAKE = 0.6
"""Of a capital, the most that one image can lose."""
FINE, COARSE = 20, 0.01
"""Possible means lie in cells of 1/20 of the precision, or of 1 % of the mean if that is more."""


class ConfidenceSequence:
    """The mean of each edit's paired differences, −1 … 1, known better with every image.

    The images are a random order of the `population` images that the question is about, each comes
    once; or independent draws where that is None.  `precision` is half the width of interval that
    the bets are made for: any other is valid, too, and is reached later.

    The state depends on what was seen alone, not on how it was divided over calls of `update`: who
    wants to go on after an interruption hands in what was seen before.
    """

    def __init__(
        self,
        edits: int,
        population: int | None,
        *,
        precision: float = 0.01,
        confidence: float = 0.95,
    ) -> None:
        """Raises ProbeError for no edits, no images, and shares out of range."""
        if edits < 1 or (population is not None and population < 1):
            raise ProbeError(
                f"a sequence needs edits and images, found {edits} and a population of {population}"
            )
        if not 0 < precision < 1:
            raise ProbeError(f"a precision is a share between 0 and 1, not {precision}")
        self.population, self.precision = population, precision
        self._limit = -log(1 - checked_confidence(confidence))
        ends = _cells(precision)
        self._edit = np.repeat(np.arange(edits), len(ends) - 1)
        self._left, self._right = np.tile(ends[:-1], edits), np.tile(ends[1:], edits)
        # The log capital of the bets that the mean lies above and below, cell by cell: those
        # above at its right end and those below at its left, where they are worth least.
        self._above, self._below = np.zeros(len(self._edit)), np.zeros(len(self._edit))
        self.seen = np.zeros(edits, dtype=np.int64)
        self.total, self.squares = np.zeros(edits), np.zeros(edits)
        self._stakes = self._bets()

    def update(self, differences: ArrayLike, edits: ArrayLike | None = None) -> None:
        """Take the next images: `[edits, n]`, or of some edits alone, by their places from 0.

        1 where the edit loses the image, −1 where it gains it, else 0; or any numbers between.
        Raises ProbeError for other numbers or shapes, for edits that have not seen the same
        images, and for more images than there are.
        """
        places = np.arange(len(self.seen)) if edits is None else np.asarray(edits, dtype=np.int64)
        given = self._checked(np.asarray(differences, dtype=np.float64), places)
        which = np.isin(self._edit, places)
        row = np.zeros(len(self.seen), dtype=np.int64)
        row[places] = np.arange(len(places))
        for column in given.T:
            seen = int(self.seen[places[0]])
            self._take(which, column[row[self._edit[which]]], seen)
            self.seen[places] += 1
            self.total[places] += column
            self.squares[places] += column**2
            if (seen + 1) % LOOK == 0 or seen + 1 == self.population:
                which = which[self._leave_out(which)]
                self._stakes = self._bets()

    @property
    def interval(self) -> tuple[Floats, Floats]:
        """``(low, high)`` of each mean `[edits]`; all of them so far hold at once, edit by edit.

        As of the last full `LOOK` images, or of all of the population.
        """
        low, high = np.ones(len(self.seen)), -np.ones(len(self.seen))
        np.minimum.at(low, self._edit, self._left)
        np.maximum.at(high, self._edit, self._right)
        if self.population is None:
            return low, high
        images = self.population
        rest = images - self.seen
        # Only whole images can be lost, and those not seen yet can change so much at most.
        least, most = (self.total - rest) / images, (self.total + rest) / images
        low, high = np.maximum(low, least), np.minimum(high, most)
        if np.all(self.total == np.rint(self.total)):
            low, high = (
                np.ceil(low * images - 1e-6) / images,
                np.floor(high * images + 1e-6) / images,
            )
        wrong = low > high
        return np.where(wrong, least, low), np.where(wrong, most, high)

    @property
    def precise(self) -> NDArray[np.bool_]:
        """Which intervals `[edits]` are no wider than ± `precision`."""
        low, high = self.interval
        return high - low <= 2 * self.precision + 1e-12

    def _take(self, which: NDArray[np.bool_], x: Floats, seen: int) -> None:
        """Settle the bets of these cells on one image."""
        part, before = 1.0, np.zeros(1)
        if self.population is not None:  # the mean of what is left, if the cell holds the mean
            part = self.population / (self.population - seen)
            before = self.total[self._edit[which]] / (self.population - seen)
        above, below = (bets[which] for bets in self._stakes)
        mean = self._right[which] * part - before
        bet = np.minimum(above, STAKE / (1 + np.clip(mean, -0.999, 1)))
        self._above[which] += np.log(np.maximum(1 + bet * (x - mean), 1e-300))
        mean = self._left[which] * part - before
        bet = np.minimum(below, STAKE / (1 - np.clip(mean, -1, 0.999)))
        self._below[which] += np.log(np.maximum(1 - bet * (x - mean), 1e-300))

    def _leave_out(self, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Drop the cells whose bets are lost; which cells have stayed.

        The stake is halved between the two bets.  If all cells of an edit lost, all would stay.
        """
        capital = np.logaddexp(self._above, self._below) - log(2)
        stays = ~which | (capital < self._limit)
        left = np.bincount(self._edit[stays], minlength=len(self.seen)) > 0
        stays |= ~left[self._edit]
        for name in ("_edit", "_left", "_right", "_above", "_below"):
            setattr(self, name, getattr(self, name)[stays])
        return stays

    def _bets(self) -> tuple[Floats, Floats]:
        """What to bet on a mean above and below each cell, from the images so far.

        distance / (variance + distance²) lets a capital grow fastest; the distance is at least the
        precision, since that is how far from the mean a cell is to be told apart.  The variance is
        taken a standard error too large, as few images that differ say little about how many will.
        """
        mean = self.total / (self.seen + 10)
        spread = (self.squares + np.sqrt(self.squares) + 1) / (self.seen + 10) - mean**2
        spread = np.maximum(spread, 1e-4)[self._edit]
        away = mean[self._edit] - (self._left + self._right) / 2
        above, below = np.maximum(away, self.precision), np.maximum(-away, self.precision)
        return above / (spread + above**2), below / (spread + below**2)

    def _checked(self, given: Floats, places: NDArray[np.int64]) -> Floats:
        if given.ndim != 2 or len(given) != len(places) or len(places) == 0:
            raise ProbeError(
                f"differences of {len(places)} edits are [{len(places)}, images], found shape "
                f"{list(given.shape)}"
            )
        if not (np.abs(given) <= 1).all():
            raise ProbeError("differences of a sequence lie between −1 and 1")
        seen = np.unique(self.seen[places])
        if len(seen) > 1:
            raise ProbeError(f"these edits have seen {seen[0]} to {seen[-1]} images: not the same")
        if self.population is not None and seen[0] + given.shape[1] > self.population:
            raise ProbeError(
                f"{seen[0] + given.shape[1]} images are more than the population of "
                f"{self.population}"
            )
        return given


def log_e_value(lost: ArrayLike, gained: ArrayLike) -> Floats:
    """log E against "an image that differs is as likely lost as gained".

    E = 2^(b + c) · B(b + 1, c + 1), the likelihood ratio of all chances mixed evenly to one half:
    reject where it is log(1/α) at any time, as often as one likes to look.  Ville 1939; Robbins
    1970, "Statistical methods related to the law of the iterated logarithm".  Without replacement
    from a set where as many are lost as gained it grows less still.  Counts broadcast together.
    """
    b, c = np.broadcast_arrays(np.asarray(lost, float), np.asarray(gained, float))
    if np.any(b < 0) or np.any(c < 0):
        raise ProbeError("an E-value needs counts that are not negative")
    return np.asarray((b + c) * log(2) + special.betaln(b + 1, c + 1), dtype=np.float64)


def _cells(precision: float) -> Floats:
    """The ends of the cells from −1 to 1, 0 among them."""
    fine = precision / FINE
    ends = [*(fine * np.arange(ceil(1 / COARSE) + 1))]
    while ends[-1] < 1:
        ends.append(ends[-1] * (1 + COARSE))
    upper = np.array([end for end in ends if end < 1] + [1.0])
    return np.concatenate([-upper[:0:-1], upper])
