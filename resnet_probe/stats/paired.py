"""Two classifiers on the same images: by how much their error rates differ, and whether they do.

Of the images, `lost` are right only with the first and `gained` only with the second, so that the
error rises by (lost − gained) / images.  All functions take counts that broadcast together: a table
of many edits is one call.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from resnet_probe.errors import ProbeError
from resnet_probe.stats.intervals import Floats, normal_quantile


def mcnemar(only_a: ArrayLike, only_b: ArrayLike) -> Floats:
    """McNemar's exact two-sided p-value for two classifiers on the same images.

    ``only_a`` and ``only_b`` count the images that only the one, or only the other, has right;
    they broadcast together. Where the two never differ the p-value is 1. McNemar 1947, "Note
    on the sampling error of the difference between correlated proportions or percentages".
    """
    a, b = np.broadcast_arrays(np.asarray(only_a), np.asarray(only_b))
    if np.any(a < 0) or np.any(b < 0):
        raise ProbeError("McNemar's test needs counts that are not negative")
    tail = stats.binom.cdf(np.minimum(a, b), a + b, 0.5)
    return np.minimum(1.0, 2.0 * np.asarray(tail, dtype=np.float64))


def paired_difference(
    lost: ArrayLike, gained: ArrayLike, images: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """``(low, high)`` of the rise of the error rate, (lost − gained) / images, as shares.

    Bonett & Price 2012, "Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data", doi 10.3102/1076998611411915: one image is added to each of
    the two cells that differ, so that an interval is left where no image does. Above 95.4 % the
    cells get z²/4 images, which is 1 there (see `adjusted`). Raises ProbeError for counts that
    cannot be.
    """
    z = normal_quantile(confidence)
    middle, error = adjusted(lost, gained, images, z)
    return np.maximum(middle - z * error, -1), np.minimum(middle + z * error, 1)


def equivalent(
    lost: ArrayLike,
    gained: ArrayLike,
    images: ArrayLike,
    margin: float,
    confidence: float = 0.95,
) -> np.ndarray:
    """Whether the two error rates are shown to differ by less than `margin`, a share: bool.

    Two one-sided tests, each at 1 − `confidence`: the interval at 2 · `confidence` − 1 (90 % for
    95 %) lies inside ± margin. Schuirmann 1987, doi 10.1007/BF01068419. Of differences that lie
    on the margin 5 % pass, and 6 to 8 % where every image that differs is lost. Raises ProbeError
    for a margin outside 0 … 1, a confidence of at most one half, and counts that cannot be.
    """
    checked_margin(margin)
    if not confidence > 0.5:
        raise ProbeError(f"equivalence needs a confidence above 0.5, not {confidence}")
    low, high = paired_difference(lost, gained, images, 2 * confidence - 1)
    return (low > -margin) & (high < margin)


def adjusted(
    lost: ArrayLike, gained: ArrayLike, images: ArrayLike, z: float
) -> tuple[Floats, Floats]:
    """The adjusted difference and its standard error, for an interval of ± `z` of them.

    Bonett & Price add 1 to each cell. At a high level that is too little: with nothing seen, the
    interval reaches to √2·z/n while a rate of that size stays unseen with probability e^(−√2·z),
    more than a level of 99.9 % allows. z²/4 for each (as z²/2 in Agresti & Coull 1998) keeps
    pace; the two are equal at z = 2.
    """
    b, c, n = np.broadcast_arrays(*(np.asarray(part, float) for part in (lost, gained, images)))
    if np.any(b < 0) or np.any(c < 0) or np.any(b + c > n) or np.any(n < 1):
        raise ProbeError(
            "a paired difference needs 0 ≤ lost, 0 ≤ gained, lost + gained ≤ images and images ≥ 1"
        )
    more = max(1.0, z**2 / 4)
    p, q, size = (b + more) / (n + 2 * more), (c + more) / (n + 2 * more), n + 2 * more
    return p - q, np.sqrt((p + q - (p - q) ** 2) / size)


def checked_margin(margin: float) -> float:
    if not 0 < margin <= 1:
        raise ProbeError(f"a margin is a share above 0 and at most 1, not {margin}")
    return margin
