"""What claims ask of tables of lesions: deletions, permutations and duplications of blocks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from resnet_probe.claims.evidence import Chosen, NotHere, Piece
from resnet_probe.stats import Estimate, Floats, paired_difference, wilson
from resnet_probe.stats import bootstrap as intervals

NEARLY_LOST = 0.9
"""Of the accuracy above chance, lost: a network is called "at chance" from here on."""


def median_delta(chosen: Chosen, confidence: float) -> Estimate:
    """Median over single deletions of the change in error, in points."""
    return _scaled(_median_delta(chosen.first, confidence), 100)


def median_delta_of_way(chosen: Chosen, confidence: float) -> Estimate:
    """The same in percent of the way from the whole network's error to chance."""
    piece = chosen.first
    return _scaled(_median_delta(piece, confidence), 100 / _way(piece))


def median_delta_falls(chosen: Chosen, confidence: float) -> Estimate:
    """The smallest fall of the median change from one network to the next, in points."""
    level = intervals.joint(confidence, len(chosen.pieces) - 1)
    found = [_median_delta(piece, level) for piece in chosen.pieces]
    steps = [intervals.difference(one, other) for one, other in pairwise(found)]
    return _scaled(intervals.least_of(steps), 100)


def plain_above_residual(chosen: Chosen, confidence: float) -> Estimate:
    """Median change in error of the plain network less that of the residual one, in points."""
    residual, plain = (_median_delta(piece, confidence) for piece in chosen.pieces)
    return _scaled(intervals.difference(plain, residual), 100)


def layers_at_chance(chosen: Chosen, confidence: float) -> Estimate:
    """Percent of the layers whose deletion takes at least `NEARLY_LOST` of the way to chance."""
    piece = chosen.first
    rows = _single(piece)
    level = intervals.joint(confidence, len(rows))
    way, base = _way(piece), float(_base(piece)["error_pct"]) / 100
    low, high = paired(rows, level)
    sure, maybe = ((end >= NEARLY_LOST * way) for end in (low, high))
    value = (rows["error_pct"] / 100 - base) >= NEARLY_LOST * way
    return _scaled(Estimate(value.mean(), sure.mean(), maybe.mean()), 100)


def worst_rank(chosen: Chosen, confidence: float) -> Estimate:
    """The rank of the least bad among block 1 and the first blocks of later stages, 1 the worst.

    In percent of all blocks; the intervals of all deletions hold together.
    """
    rows = _single(chosen.first)
    level = intervals.joint(confidence, len(rows))
    low, high = wilson(rows["correct"], rows["images"], level)
    rank, first, last = intervals.ranks(rows["error_pct"], 1 - high, 1 - low)
    special = ~rows["stage"].astype(str).duplicated().to_numpy()
    ends = (float(part[special].max()) for part in (rank, first, last))
    return _scaled(Estimate(*ends), 100 / len(rows))


def delete_rises(chosen: Chosen, confidence: float) -> Estimate:
    """The smallest step of the median error from one number of deletions to the next, in points."""
    return _smallest_step(_by(chosen.first, "edits"), confidence)


def permute_rises(chosen: Chosen, confidence: float) -> Estimate:
    """The smallest step of the median error from one Kendall τ to the next lower, in points."""
    groups = _by(chosen.first, "tau")
    return _smallest_step(dict(sorted(groups.items(), reverse=True)), confidence)


def duplicate_below_delete(chosen: Chosen, confidence: float) -> Estimate:
    """Median error with k deleted less that with k duplicated, least over k > 1, in points."""
    deleted, duplicated = (_by(piece, "edits") for piece in chosen.pieces)
    counts = sorted(k for k in set(deleted) & set(duplicated) if k > 1)
    if not counts:
        raise NotHere("needs deletions and duplications of the same numbers of blocks")
    groups = [deleted[k] for k in counts] + [duplicated[k] for k in counts]

    def smallest(drawn: list[Floats]) -> Floats:
        medians = [np.median(group, axis=1) for group in drawn]
        half = len(counts)
        return np.min([a - b for a, b in zip(medians[:half], medians[half:], strict=True)], axis=0)

    return intervals.resampled(groups, smallest, confidence)


def median_at(count: int) -> Callable[[Chosen, float], Estimate]:
    """A measure: the median error with `count` random edits, in percent."""

    def measure(chosen: Chosen, confidence: float) -> Estimate:
        groups = _by(chosen.first, "edits")
        if count not in groups:
            raise NotHere(f"needs {count} edits at once among those drawn")
        return intervals.resampled(
            [groups[count]], lambda drawn: np.median(drawn[0], axis=1), confidence
        )

    return measure


def paired(rows: pd.DataFrame, confidence: float) -> tuple[Floats, Floats]:
    """The interval of each row's change in error, paired with the baseline, as shares."""
    if {"lost", "gained"} <= set(rows.columns):
        lost, gained = rows["lost"], rows["gained"]
    else:  # a table without the pairs: as many differ as its errors allow
        apart = (rows["delta_pct"] * rows["images"] / 100).round()
        lost = (rows["images"] - rows["correct"]).clip(upper=rows["correct"] + apart)
        gained = lost - apart
    return paired_difference(lost, gained, rows["images"], confidence)


def _median_delta(piece: Piece, confidence: float) -> Estimate:
    """As a share, over all blocks of this network; the interval is over images.

    Its ends are the medians of the blocks' own ends: exact where all blocks err on the same images,
    too wide where their errors average out.
    """
    rows = _single(piece)
    low, high = paired(rows, confidence)
    value = float(rows["delta_pct"].median()) / 100
    return Estimate(value, min(float(np.median(low)), value), max(float(np.median(high)), value))


def _smallest_step(groups: dict[float, Floats], confidence: float) -> Estimate:
    if len(groups) < 2:
        raise NotHere("needs draws at two levels at least")

    def smallest(drawn: list[Floats]) -> Floats:
        medians = np.array([np.median(group, axis=1) for group in drawn])
        return np.asarray(np.diff(medians, axis=0).min(axis=0), dtype=np.float64)

    return intervals.resampled(list(groups.values()), smallest, confidence)


def _by(piece: Piece, column: str) -> dict[float, Floats]:
    """The errors of the draws at each number of edits, or each τ (rounded), ascending."""
    rows = piece.table[piece.table["kind"] != "baseline"]
    keys = pd.to_numeric(rows[column]).round(2)
    return {float(key): part.to_numpy() for key, part in rows["error_pct"].groupby(keys)}


def _single(piece: Piece) -> pd.DataFrame:
    return piece.table[piece.table["kind"] != "baseline"].reset_index(drop=True)


def _base(piece: Piece) -> pd.Series:
    return piece.table[piece.table["kind"] == "baseline"].iloc[0]


def _way(piece: Piece) -> float:
    """From the whole network's error to that of guessing, as a share."""
    if piece.classes is None:
        raise NotHere(f"needs the number of classes of {piece.data or 'the images'}")
    way = 1 - 1 / piece.classes - float(_base(piece)["error_pct"]) / 100
    if way <= 0:
        raise NotHere(f"{piece.arch} is no better than chance on these images, before any lesion")
    return way


def _scaled(found: Estimate, factor: float) -> Estimate:
    return Estimate(*(factor * float(part) for part in found))
