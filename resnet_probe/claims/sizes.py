"""What claims ask of tables of responses: how large residuals are, and which way they point."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from resnet_probe.claims.evidence import Chosen, Exhibit, NotHere
from resnet_probe.claims.lesions import smallest
from resnet_probe.stats import Estimate, Floats, mean_interval
from resnet_probe.stats import bootstrap as intervals

GROUPS = 20
"""Of images, that `responses` takes its jackknife over."""
ENOUGH = 4
"""Blocks of a stage from which an order within it means something."""


def std_falls(chosen: Chosen, confidence: float) -> Estimate:
    """The smallest fall of the mean response from one depth to the next deeper."""

    def falls(level: float) -> list[Estimate]:
        found = [_response(exhibit, level) for exhibit in chosen.exhibits]
        return [intervals.difference(one, other) for one, other in pairwise(found)]

    return smallest(falls, len(chosen.exhibits) - 1, confidence)


def std_below_plain(chosen: Chosen, confidence: float) -> Estimate:
    """Mean response of the plain network less that of the residual one of the same depth."""
    residual, plain = (_response(exhibit, confidence) for exhibit in chosen.exhibits)
    return intervals.difference(plain, residual)


def largest_cosine(chosen: Chosen, confidence: float) -> Estimate:
    """The mean cosine between F(h) and the loss gradient at h, at the block where it is largest."""
    values, errors, freedom = _of(chosen.first, "cosine_gradient")
    return intervals.greatest(values["value"], errors, freedom, confidence)


def last_cosine(chosen: Chosen, confidence: float) -> Estimate:
    """The same at the last block."""
    values, errors, freedom = _of(chosen.first, "cosine_gradient")
    return intervals.greatest(values["value"][-1:], errors[-1:], freedom, confidence)


def ratio_trend(chosen: Chosen, confidence: float) -> Estimate:
    """Spearman's ρ of ‖F‖/‖shortcut‖ with the place in the stage, the largest over the stages."""
    return _largest_trend(chosen.first, "ratio", confidence)


def deviation_trend(chosen: Chosen, confidence: float) -> Estimate:
    """Spearman's ρ of the distance to the stage's end with the place, the largest over the stages.

    The last block of a stage is its end, and is left out.
    """
    return _largest_trend(chosen.first, "stage_deviation", confidence, without_last=True)


def ratio_falls(chosen: Chosen, confidence: float) -> Estimate:
    """By what the mean ‖F‖/‖shortcut‖ shrinks from one depth to the next, the least log factor."""

    def falls(level: float) -> list[Estimate]:
        found = [_log_mean_ratio(exhibit, level) for exhibit in chosen.exhibits]
        return [intervals.difference(one, other) for one, other in pairwise(found)]

    return smallest(falls, len(chosen.exhibits) - 1, confidence)


def ratio_exponent(chosen: Chosen, confidence: float) -> Estimate:
    """p in mean ‖F‖/‖shortcut‖ ∝ N^p, N the number of blocks, over several depths.

    The interval is over networks: Student's, from how far they lie off the line.
    """
    places = np.log([exhibit.blocks for exhibit in chosen.exhibits])
    logs = np.array([_log_mean_ratio(exhibit, confidence).value for exhibit in chosen.exhibits])
    slope, centred = float(_slope(logs[None], places)[0]), places - places.mean()
    off = logs - logs.mean() - slope * centred
    error = np.sqrt((off @ off) / (len(logs) - 2) / (centred @ centred))
    half = float(stats.t.ppf(0.5 + confidence / 2, len(logs) - 2) * error)
    return Estimate(slope, slope - half, slope + half)


def median_ratio_inside(chosen: Chosen, confidence: float) -> Estimate:
    """Median ‖F‖/‖shortcut‖ of the blocks that are not the first of their stage."""
    rows, errors, _ = _of(chosen.first, "ratio")
    inside = rows["stage"].duplicated().to_numpy()
    if not inside.any():
        raise NotHere("needs a stage of at least 2 blocks")
    return intervals.perturbed(
        rows["value"][inside], errors[inside], lambda drawn: np.median(drawn, axis=1), confidence
    )


def first_above_rest(chosen: Chosen, confidence: float) -> Estimate:
    """‖F‖/‖shortcut‖ of a stage's first block less the median of its others, least of all."""
    rows, errors, _ = _of(chosen.first, "ratio")
    stages = _stages(rows, 2)

    def smallest(drawn: NDArray[np.float64]) -> Floats:
        found = [drawn[:, p[0]] - np.median(drawn[:, p[1:]], axis=1) for p in stages]
        return np.asarray(np.min(found, axis=0), dtype=np.float64)

    return intervals.perturbed(rows["value"], errors, smallest, confidence)


def variance_exponent(chosen: Chosen, confidence: float) -> Estimate:
    """p in Var(F)/Var(shortcut) ∝ l^p over the blocks l of the first stage; mean over seeds."""

    def exponent(rows: pd.DataFrame) -> float:
        stage = rows[rows["stage"] == rows["stage"].iloc[0]]
        logs = np.log(stage["value"].to_numpy(dtype=np.float64))
        return float(_slope(logs[None], np.log(np.arange(1, len(logs) + 1)))[0])

    return _over_seeds(chosen.first, exponent, confidence)


def variance_resets(chosen: Chosen, confidence: float) -> Estimate:
    """Var(F)/Var(shortcut) of a stage's first block over that of the block before, log, smallest.

    Mean over seeds.
    """

    def smallest(rows: pd.DataFrame) -> float:
        logs = np.log(rows["value"].to_numpy(dtype=np.float64))
        starts = np.flatnonzero(~rows["stage"].duplicated().to_numpy())[1:]
        return float(min(logs[start] - logs[start - 1] for start in starts))

    return _over_seeds(chosen.first, smallest, confidence)


def _log_mean_ratio(exhibit: Exhibit, confidence: float) -> Estimate:
    """log of the mean of ‖F‖/‖shortcut‖ over the blocks, with its interval over images."""
    rows, errors, _ = _of(exhibit, "ratio")

    def log_mean(drawn: NDArray[np.float64]) -> Floats:
        return np.asarray(np.log(np.maximum(drawn.mean(axis=1), 1e-12)), dtype=np.float64)

    return intervals.perturbed(rows["value"], errors, log_mean, confidence)


def _largest_trend(
    exhibit: Exhibit, quantity: str, confidence: float, *, without_last: bool = False
) -> Estimate:
    rows, errors, _ = _of(exhibit, quantity)
    stages = [places[: len(places) - without_last] for places in _stages(rows, ENOUGH)]

    def largest(drawn: NDArray[np.float64]) -> Floats:
        found = [intervals.spearman(drawn[:, places]) for places in stages]
        return np.asarray(np.max(found, axis=0), dtype=np.float64)

    return intervals.perturbed(rows["value"], errors, largest, confidence)


def _stages(rows: pd.DataFrame, enough: int) -> list[NDArray[np.intp]]:
    found = [np.flatnonzero(rows["stage"] == stage) for stage in dict.fromkeys(rows["stage"])]
    if min(len(places) for places in found) < enough:
        raise NotHere(f"needs stages of at least {enough} blocks")
    return found


def _of(exhibit: Exhibit, quantity: str) -> tuple[pd.DataFrame, Floats, float]:
    """(rows of a quantity that every image has, standard errors, degrees of freedom)."""
    table = exhibit.table
    rows = table[(table["quantity"] == quantity) & table["value"].notna()].reset_index(drop=True)
    if rows.empty:
        raise NotHere(f"needs {quantity} of a residual network: {exhibit.arch} has none")
    freedom = float(exhibit.images - 1)
    return rows, errors_of(rows, freedom), freedom


def _response(exhibit: Exhibit, confidence: float) -> Estimate:
    table = exhibit.table
    layers = table[table["place"] == "layer"]
    if not (layers["taken"] == "norm").all():
        raise NotHere(f"needs a batch norm behind every layer: {exhibit.arch} has not")
    row = table[table["place"] == "network"].reset_index(drop=True)
    freedom = float(min(GROUPS, exhibit.images) - 1)
    return intervals.greatest(row["value"], errors_of(row, freedom), freedom, confidence)


def errors_of(rows: pd.DataFrame, freedom: float) -> Floats:
    """Standard errors behind 95 % intervals of Student's t."""
    half = (rows["ci_high"] - rows["ci_low"]).to_numpy(dtype=np.float64) / 2
    return np.asarray(half / stats.t.ppf(0.975, freedom), dtype=np.float64)


def _over_seeds(
    exhibit: Exhibit, statistic: Callable[[pd.DataFrame], float], confidence: float
) -> Estimate:
    rows = exhibit.table[exhibit.table["quantity"] == "variance_ratio"]
    if "seed" not in rows:
        rows = rows.assign(seed=0)
    found = [statistic(part.reset_index(drop=True)) for _, part in rows.groupby("seed")]
    return mean_interval(found, confidence)


def _slope(logs: NDArray[np.float64], places: NDArray[np.float64]) -> Floats:
    """Of the line through each row of `[times, m]` against `[m]`."""
    centred = places - places.mean()
    return np.asarray(logs @ centred / (centred @ centred), dtype=np.float64)
