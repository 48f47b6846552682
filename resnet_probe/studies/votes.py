"""Several networks on the same images: where they are wrong together, and where they differ.

Of labels at several positions of an image, each position counts by one over how many it has, so
that every image counts alike; groups and intervals are those of whole images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resnet_probe.stats import jackknife
from resnet_probe.stats.moments import Floats, Moments

if TYPE_CHECKING:
    from torch import Tensor

GROUPS = 20
"""Of images, for the jackknife: image i belongs to group i modulo their number."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The right answers `[answers]`: of which image each is, and for how much of it it counts.

    `known`, of the labels' shape, says which of them count.
    """

    right: NDArray[np.int64]
    image: NDArray[np.int64]
    weight: Floats
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: NDArray[np.int64]) -> Truth:
        """From labels `[n]` or `[n, positions]`."""
        from resnet_probe.engine.task import IGNORED

        known = labels != IGNORED if labels.ndim > 1 else np.ones(len(labels), bool)
        per_image = known.reshape(len(labels), -1).sum(1)
        image = np.nonzero(known)[0]
        return cls(labels[known], image, 1.0 / per_image[image], known)

    def __len__(self) -> int:
        """How many images."""
        return len(self.known)

    def answers(self, found: NDArray[Any]) -> NDArray[np.int64]:
        """Of answers `[…, n]`, or `[…, positions, n]`, those that count: `[…, answers]`."""
        if self.known.ndim > 1:
            found = np.swapaxes(found, -1, -2)
        return found[..., self.known].astype(np.int64)

    def of_images(self, values: NDArray[Any]) -> Floats:
        """The mean over each image's answers, `[…, answers]` to `[…, n]`."""
        found = np.zeros((len(self), *values.shape[:-1]))
        np.add.at(found, self.image, np.moveaxis(self.weight * values, -1, 0))
        return np.moveaxis(found, 0, -1)


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
    def of(cls, answers: NDArray[np.int64], truth: Truth) -> Votes:
        """From the answers `[M, answers]` of the networks, by group of images."""
        number = min(GROUPS, len(truth))
        wrong = answers != truth.right
        parts = [
            _count(answers[:, mine], wrong[:, mine], truth.weight[mine])
            for mine in (truth.image % number == group for group in range(number))
        ]
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
SPANS = {"error_pct": (0, 100), "disagreement_pct": (0, 100), "error_correlation": (-1, 1)}
"""Between which numbers each lies, and the ends of its intervals."""
Interval = tuple[Floats, Floats, Floats]
Ends = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Spread:
    """Of M networks' softmax outputs p, by image `[n]`, means over the networks.

    `squared` is ‖p − y‖² from the true class, `ambiguity` ‖p − p̄‖² from their average: the squared
    error of the average is the one less the other (Krogh & Vedelsby 1995).
    """

    squared: Any
    ambiguity: Any

    def of(self, many: int, size: int) -> Spread:
        """What it is in the mean over all choices of `size` of the `many` networks."""
        factor = (size - 1) * many / (size * (many - 1))
        return Spread(self.squared, factor * self.ambiguity)

    def means(self) -> dict[str, Ends]:
        """Over images, with Student's intervals."""
        found = {}
        for name, values in (("squared_error", self.squared), ("ambiguity", self.ambiguity)):
            mean = Moments.over(values)
            low, high = mean.interval()
            found[name] = (float(mean.mean), float(low), float(high))
        return found


@dataclass(frozen=True, eq=False)
class Answers:
    """Of several networks: `[networks, answers]`, their averages' `[averages, answers]`, how far
    they spread, by image.

    One average is that of all; with several, each is of as many networks, others every time.
    """

    answers: NDArray[np.int64]
    averages: NDArray[np.int64]
    spread: Spread


def spread_of(chance: Tensor, labels: Tensor) -> Spread:
    """From outputs `[M, answers, classes]`, float64."""
    from torch.nn.functional import one_hot

    truth = one_hot(labels.to(chance.device), chance.shape[2])
    squared = (chance - truth).square().sum(2).mean(0)
    return Spread(squared, (chance - chance.mean(0)).square().sum(2).mean(0))


def gains(spread: Spread, votes: Votes, wrong: NDArray[Any]) -> dict[str, Ends]:
    """What the average gains, in % of what its members lose: see `agreement.QUANTITIES`.

    `wrong` `[averages, n]` says for how much of each image averages of these networks err;
    jackknife.
    """
    number = len(votes.images)
    ambiguous, squared = (by_group(part, number) for part in (spread.ambiguity, spread.squared))
    errs = votes.images * votes.error_pct.mean(-1) / 100
    averaged = by_group(wrong.mean(0), number)
    return {
        "ambiguity_pct": _share(ambiguous, squared),
        "removed_pct": _share(errs - averaged, errs),
    }


def mean_error(wrong: NDArray[Any]) -> Ends:
    """The error of several averages `[averages, n]`, in %, with the jackknife over images."""
    number = min(GROUPS, wrong.shape[1])
    return _share(by_group(wrong.mean(0), number), by_group(np.ones(wrong.shape[1]), number))


def by_group(values: Floats, number: int) -> Floats:
    """Sums of `[n]` by group of images, `[groups]`."""
    found = np.zeros(number)
    np.add.at(found, np.arange(len(values)) % number, values)
    return found


def _share(part: Floats, whole: Floats) -> Ends:
    """Σ part / Σ whole over groups, in %, with its jackknife; NaN where the whole is nought."""
    if not whole.sum() > 0:
        return np.nan, np.nan, np.nan
    value = 100 * part.sum() / whole.sum()
    rest = whole.sum() - whole
    without = 100 * (part.sum() - part) / np.where(rest > 0, rest, np.nan)
    low, high = np.minimum(jackknife(value, without), 100)  # no part is more than the whole
    return float(value), float(low), float(high)


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
    low, high = np.clip(jackknife(mean, without[..., known].mean(-1)), *SPANS[quantity])
    return float(mean), float(low), float(high)


def of_pairs(votes: Votes, quantity: str) -> Interval:
    """The quantity of each two networks, `[M, M]`, and the ends of its jackknife interval."""
    value = getattr(votes.whole, quantity)
    return value, *np.clip(jackknife(value, getattr(votes.left_out, quantity)), *SPANS[quantity])


def _count(
    answers: NDArray[np.int64], wrong: NDArray[np.bool_], weight: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    errs = wrong.astype(np.float64)
    same = np.stack([(answers == one) @ weight for one in answers])
    return np.array(weight.sum()), errs @ weight, (errs * weight) @ errs.T, same
