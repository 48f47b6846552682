"""What claims ask of tables of paths: the gradient by path length, and its two terms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from resnet_probe.claims.evidence import Chosen, Exhibit, NotHere
from resnet_probe.stats import Estimate, Floats, path_lengths, wilson
from resnet_probe.stats import bootstrap as intervals

MASS = 0.9
"""Of count × norm: what the effective paths carry."""


def decay_factor(chosen: Chosen, confidence: float) -> Estimate:
    """By what the norm of a sampled path is multiplied with every further block."""
    return _of_norms(chosen.first, lambda logs: np.exp(_fit(logs)[0]), confidence)


def decay_r2(chosen: Chosen, confidence: float) -> Estimate:
    """R² of the straight line through the log norms of sampled paths by length."""
    return _of_norms(chosen.first, lambda logs: _fit(logs)[1], confidence)


def peak(chosen: Chosen, confidence: float) -> Estimate:
    """The length at which count × norm is largest, in blocks."""
    return _of_carried(chosen.first, lambda w: w.argmax(axis=1).astype(float), confidence)


def carried_between(first: int, last: int) -> Callable[[Chosen, float], Estimate]:
    """A measure: percent of count × norm in lengths `first` to `last`."""

    def measure(chosen: Chosen, confidence: float) -> Estimate:
        return _of_carried(
            chosen.first, lambda w: 100 * w[:, first : last + 1].sum(axis=1), confidence
        )

    return measure


def carried_below_average(chosen: Chosen, confidence: float) -> Estimate:
    """Percent of count × norm in paths shorter than the average path, N/2 blocks."""
    exhibit = chosen.first
    short = np.arange(exhibit.blocks + 1) < exhibit.blocks / 2
    return _of_carried(exhibit, lambda w: 100 * w[:, short].sum(axis=1), confidence)


def effective_share(chosen: Chosen, confidence: float) -> Estimate:
    """Percent of all paths inside the narrowest lengths that hold `MASS` of count × norm."""
    exhibit = chosen.first
    share = np.concatenate([[0.0], np.cumsum(path_lengths.share_of_paths(exhibit.blocks))])

    def of(weights: Floats) -> Floats:
        first, width = windows(weights, MASS)
        return np.asarray(100 * (share[first + width] - share[first]), dtype=np.float64)

    return _of_carried(exhibit, of, confidence)


def windows(weights: Floats, share: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(first length, how many) of `path_lengths.window`, for each row of `[times, lengths]`."""
    rows = np.arange(len(weights))
    sums = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    sums = np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
    first, width = np.zeros(len(sums), dtype=np.intp), np.zeros(len(sums), dtype=np.intp)
    for size in range(1, sums.shape[1]):
        held = sums[:, size:] - sums[:, :-size]
        best = held.argmax(axis=1)
        new = (width == 0) & (held[rows, best] >= share - 1e-12)
        first[new], width[new] = best[new], size
        if width.all():
            break
    return first, width


def not_cancelled(chosen: Chosen, confidence: float) -> Estimate:
    """Percent of images whose second factor is not within 0.5 of −1, at the worst block."""
    table = chosen.first.table
    rows = table[(table["quantity"] == "near_cancellation") & table["value"].notna()]
    if rows.empty:
        raise NotHere("needs paths --method exact")
    images = rows["images"].to_numpy()
    free = images - np.rint(rows["value"] * images)
    low, _ = wilson(free, images, confidence)
    _, high = wilson(free, images, intervals.joint(confidence, len(rows)))
    return Estimate(
        100 * float((free / images).min()), 100 * float(low.min()), 100 * float(high.min())
    )


def _of_norms(
    exhibit: Exhibit, statistic: Callable[[Floats], Floats], confidence: float
) -> Estimate:
    """A statistic `[times, lengths] -> [times]` of the log norms of sampled paths."""
    rows = path_lengths.by_length(exhibit.table, "sample", "mean_norm")
    rows = rows[rows["relative"] > 0]
    if len(rows) < 3:
        raise NotHere("needs paths --method sample")
    logs, errors = _logs(rows, float(rows["draws"].max()) - 1)
    return intervals.perturbed(logs, errors, statistic, confidence)


def _of_carried(
    exhibit: Exhibit, statistic: Callable[[Floats], Floats], confidence: float
) -> Estimate:
    """The same of the share that each length has in count × norm."""
    counts = np.log(10) * path_lengths.log10_paths(exhibit.blocks)

    def of(logs: Floats) -> Floats:
        total = logs + counts[: logs.shape[1]]
        weights = np.exp(total - total.max(axis=1, keepdims=True))
        return statistic(weights / weights.sum(axis=1, keepdims=True))

    return _of_norms(exhibit, of, confidence)


def _fit(logs: Floats) -> tuple[Floats, Floats]:
    """(slope, R²) of the line through each row."""
    place = np.arange(logs.shape[1]) - (logs.shape[1] - 1) / 2
    centred = logs - logs.mean(axis=1, keepdims=True)
    slope = centred @ place / (place @ place)
    rest = centred - slope[:, None] * place
    with np.errstate(invalid="ignore", divide="ignore"):  # R² of a constant is not defined
        return slope, 1 - (rest**2).sum(axis=1) / (centred**2).sum(axis=1)


def _logs(rows: pd.DataFrame, freedom: float) -> tuple[Floats, Floats]:
    """Log means and their standard errors, from intervals that are symmetric on that scale."""
    width = np.log(rows["relative_high"]) - np.log(rows["relative_low"])
    error = width.to_numpy() / 2 / stats.t.ppf(0.975, freedom)
    return np.log(rows["relative"].to_numpy(dtype=np.float64)), error
