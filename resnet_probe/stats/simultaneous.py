"""Many edits of one network on the same images: intervals and tests that hold for all at once.

Edits err on the same images, so that their differences from the whole network go together.  Joint
sign flips keep that: the difference of an image is turned round for all edits at once, which leaves
alone what ties them and takes away what is asked about.  Westfall & Young 1993, "Resampling-based
multiple testing", for the largest statistic; Romano & Wolf 2005, doi 10.1198/016214504000000539,
for the steps down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from resnet_probe.errors import ProbeError
from resnet_probe.stats.intervals import Floats, checked_confidence
from resnet_probe.stats.paired import adjusted, checked_margin

FLIPS = 10_000
FEW = 20
"""Images below which there are too few signs for how far a sum of numbers may be off."""
AT_ONCE = 2**23
"""Signs that are held at a time."""


@dataclass(frozen=True, eq=False)
class SignFlips:
    """Paired differences `[edits, images]`, and their sums under random signs of the images.

    `counts` are images lost and gained, `[2, edits]`, where the differences are whole numbers
    (1: lost, −1: gained, 0: as before); None where they are any others, as losses.  `total` and
    `squares` `[edits]` are the sums of the differences and of their squares.  `sums`
    `[flips, edits]` are the totals under each draw of signs, `signs` `[flips]` those of the signs
    alone, `normal` `[flips, edits]` standard normal numbers.
    """

    images: int
    counts: Floats | None
    total: Floats
    squares: Floats
    sums: NDArray[np.float32]
    signs: Floats
    normal: NDArray[np.float32]

    @classmethod
    def of(cls, differences: ArrayLike, *, flips: int = FLIPS, seed: int = 0) -> SignFlips:
        """Draw the signs, the same for the same seed.

        `differences` is `[edits, images]`: integers −1, 0 and 1 or floats.  Raises ProbeError for
        another shape, other integers, numbers that are not finite, and fewer than 100 flips.
        """
        given = _checked(np.ascontiguousarray(differences))  # products round by their layout
        if flips < 100:
            raise ProbeError(f"{flips} flips are too few for an interval: give at least 100")
        random = np.random.default_rng(seed)
        sums, signs = _flipped(given, flips, random)
        exact = given.astype(np.float64)
        whole = np.issubdtype(given.dtype, np.integer)
        return cls(
            images=given.shape[1],
            counts=np.stack([(exact > 0).sum(1), (exact < 0).sum(1)]) if whole else None,
            total=exact.sum(1),
            squares=(exact**2).sum(1),
            sums=sums,
            signs=signs,
            normal=random.standard_normal(sums.shape, dtype=np.float32),
        )

    def p_values(self) -> Floats:
        """Two-sided p-values `[edits]` of no difference, adjusted for testing all edits.

        Under that hypothesis an image's difference is as likely as its opposite.  Rejecting below
        α keeps the chance of any false rejection at α.  Where no image differs it is 1.
        """
        scale = np.sqrt(np.where(self.squares > 0, self.squares, np.inf))
        found, drawn = np.abs(self.total) / scale, np.abs(self.sums) / scale
        order = np.argsort(-found, kind="stable")
        # The largest of this statistic and all smaller ones, edit by edit from the largest on.
        most = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
        above = (most >= found[order] - 1e-9).sum(axis=0)
        adjusted_p = np.empty(len(order))
        adjusted_p[order] = np.maximum.accumulate((1 + above) / (1 + len(drawn)))
        return adjusted_p

    def interval(self, confidence: float = 0.95) -> tuple[Floats, Floats]:
        """``(low, high)`` of each mean difference, `[edits]`: all hold together that often.

        As wide as the largest deviation of all is far.  Of lost and gained images they are those
        of `paired_difference` at that z, so that an edit with which no image differs has one,
        too; of other numbers they are Student's, of fewer than `FEW` images at Bonferroni's level,
        which asks for no more signs than there are, and NaN for an edit whose differences are all
        alike: there is nothing to tell an error from.
        """
        largest = np.abs(self._deviations()).max(axis=1)
        beyond = 1 - checked_confidence(confidence)
        z = max(_quantile(largest, confidence), self._at_least(beyond / 2, len(self.total)))
        middle, half = self._laid_out(z)
        return middle - half, middle + half

    def inside(self, margin: float, confidence: float = 0.95) -> NDArray[np.bool_]:
        """Which edits are shown to lie inside ± `margin`, all of them together: bool `[edits]`.

        Two one-sided tests each, as `equivalent`; the chance that any edit beyond the margin is
        among them is 1 − `confidence`.  Those that are shown leave, and the others are looked at
        again with what is left to err about.  Raises ProbeError for a margin that is not positive.
        """
        if not margin > 0:
            raise ProbeError(f"a margin is above 0, not {margin}")
        if self.counts is not None:
            checked_margin(margin)
        checked_confidence(confidence)
        signed = self._deviations()
        turned = signed * np.where(self.total < 0, -1, 1)
        shown = np.zeros(len(self.total), dtype=bool)
        while not shown.all():
            # One end can err for each edit: that on its own side of 0, or the upper for all.
            rest = (side[:, ~shown].max(axis=1) for side in (signed, turned))
            least = self._at_least(1 - confidence, int((~shown).sum()))
            middle, half = self._laid_out(max(least, *(_quantile(m, confidence) for m in rest)))
            more = (np.abs(middle) + half < margin) & ~shown
            if not more.any():
                break
            shown |= more
        return shown

    def _deviations(self) -> Floats:
        """Standardised deviations of the means `[flips, edits]`; 0 where there is no spread.

        The two images that `adjusted` adds to the cells of an edit know nothing of other edits:
        their part is drawn apart.  Where no image differs it is all there is, and the edit counts
        as a test of its own.
        """
        added = 0.0 if self.counts is None else 2.0
        spread = self._spread()
        centred = self.sums - self.signs[:, None] * (self.total / self.images)
        scale = np.sqrt(np.where(spread + added > 0, spread + added, np.inf))
        return np.asarray((centred + np.sqrt(added) * self.normal) / scale)

    def _at_least(self, beyond: float, tests: int) -> float:
        """The z that tests need whatever ties them (Bonferroni), where the signs of few images
        are no guide; of counts the two added images are."""
        few = self.counts is None and self.images < FEW
        return float(stats.norm.isf(beyond / tests)) if few else 0.0

    def _laid_out(self, z: float) -> tuple[Floats, Floats]:
        """The middle and half the width of each interval, for `z` standard errors."""
        if self.counts is not None:
            middle, error = adjusted(self.counts[0], self.counts[1], self.images, z)
            return middle, z * error
        mean, freedom = self.total / self.images, self.images - 1
        spread = self._spread()
        t = stats.t.isf(stats.norm.sf(z), freedom)
        error = np.sqrt(spread / freedom / self.images)
        return mean, np.where(spread > 0, t * error, np.nan)

    def _spread(self) -> Floats:
        """Sums of squared deviations `[edits]`, 0 where only rounding is left of them."""
        spread = self.squares - self.total**2 / self.images
        return np.where(spread > 1e-12 * self.squares, spread, 0.0)


def _quantile(drawn: Floats, confidence: float) -> float:
    return float(np.quantile(drawn, confidence, method="higher"))


def _flipped(
    given: NDArray[np.generic], flips: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], Floats]:
    """Σ ± differences `[flips, edits]` and Σ ± 1 `[flips]`, some flips at a time."""
    images = given.shape[1]
    with_ones = np.vstack([given, np.ones(images)]).astype(np.float32).T
    total = with_ones.sum(axis=0)
    parts, step = [], max(1, AT_ONCE // images)
    for start in range(0, flips, step):
        shape = (min(step, flips - start), -(-images // 64))
        drawn = random.integers(2**64, size=shape, dtype=np.uint64)
        kept = np.unpackbits(drawn.view(np.uint8), axis=1, count=images).astype(np.float32)
        parts.append(2 * (kept @ with_ones) - total)
    sums = np.concatenate(parts)
    return sums[:, :-1], sums[:, -1].astype(np.float64)


def _checked(given: NDArray[np.generic]) -> NDArray[np.generic]:
    if given.ndim != 2 or given.shape[0] < 1 or given.shape[1] < 2:
        raise ProbeError(
            f"joint sign flips need differences [edits, images] of at least 2 images, found shape "
            f"{list(given.shape)}"
        )
    if np.issubdtype(given.dtype, np.integer):
        if np.abs(given.astype(np.int64)).max() > 1:
            raise ProbeError(
                "differences in whole numbers are −1, 0 and 1: gained, as before, lost"
            )
        return given
    if not np.issubdtype(given.dtype, np.floating) or not np.isfinite(given).all():
        raise ProbeError("joint sign flips need differences that are finite numbers")
    return given
