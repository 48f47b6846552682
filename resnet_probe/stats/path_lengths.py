"""Path lengths: how many paths there are, and which lengths carry what.

A network of N residual blocks has C(N, k) paths of k branches (Veit et al. 2016, section 3).  The
counts are exact integers; products with them are taken as logarithms, so that 54 or 500 blocks
overflow nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from resnet_probe.errors import ProbeError

Floats = NDArray[np.float64]

NEEDED = (
    "method", "quantity", "block", "length", "paths_log10", "value", "ci_low", "ci_high",
    "relative", "relative_low", "relative_high",
)  # fmt: skip

PUBLISHED_BLOCKS, PUBLISHED_WINDOW = 54, (5, 17)
"""The effective lengths of the 54-block network, in Veit et al. 2016, figure 6."""


class Window(NamedTuple):
    """The lengths `first` to `last` carry `share` of the whole."""

    first: int
    last: int
    share: float


class Decay(NamedTuple):
    """norm ≈ constant · `factor` ** length; `r2` is the share of log norm's variance explained."""

    factor: float
    r2: float


def by_length(table: pd.DataFrame, method: str, quantity: str) -> pd.DataFrame:
    """The rows of one quantity by length, where the gradients were asked, in order of length.

    Empty where the table of the study has none; raises `ProbeError` for another study's table.
    """
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise ProbeError(f"the table has no column {missing[0]!r}: is it the table of paths?")
    rows = table[table["block"] == table["block"].min()]
    rows = rows[(rows["method"] == method) & (rows["quantity"] == quantity)]
    return rows.assign(length=rows["length"].astype(int)).sort_values("length", ignore_index=True)


@cache
def log10_paths(blocks: int) -> Floats:
    """log10 C(N, k) for k = 0 … N."""
    return _fixed(math.log10(math.comb(blocks, k)) for k in range(blocks + 1))


@cache
def share_of_paths(blocks: int) -> Floats:
    """C(N, k) / 2^N for k = 0 … N: the distribution of path lengths, Binomial(N, ½)."""
    return _fixed(math.comb(blocks, k) / 2**blocks for k in range(blocks + 1))


def _fixed(values: Iterable[float]) -> Floats:
    array = np.array(list(values))
    array.flags.writeable = False
    return array


def carried(norms: ArrayLike, blocks: int) -> Floats:
    """The share that each length has in Σ C(N, k) · norm, for norms of lengths 0, 1, ….

    This bounds, and is not, the norm of what the paths of a length add up to.
    """
    size = np.asarray(norms, dtype=np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log10(size) + log10_paths(blocks)[: len(size)]
    if not np.isfinite(logs).any():
        return np.zeros_like(size)
    weights = 10.0 ** (logs - logs.max())
    return weights / weights.sum()


def window(weights: ArrayLike, share: float) -> Window:
    """The fewest neighbouring lengths that hold at least `share` of all weight.

    Of equally many, those that hold most.  Raises `ProbeError` where there is no weight.
    """
    given = np.asarray(weights, dtype=np.float64)
    if not given.sum() > 0:
        raise ProbeError("no length carries any gradient: there is no window to find")
    sums = np.concatenate([[0.0], np.cumsum(given / given.sum())])
    for width in range(1, len(given) + 1):
        held = sums[width:] - sums[:-width]
        best = int(held.argmax())
        if held[best] >= share - 1e-12:
            return Window(best, best + width - 1, float(held[best]))
    raise AssertionError("all lengths together hold everything")


def share_within(weights: ArrayLike, first: int, last: int) -> float:
    """The share of all weight at the lengths `first` to `last`."""
    given = np.asarray(weights, dtype=np.float64)
    return float(given[first : last + 1].sum() / given.sum())


def decay(norms: ArrayLike) -> Decay:
    """The line through log(norm) against length, by least squares; NaN for fewer than two."""
    size = np.asarray(norms, dtype=np.float64)
    lengths = np.flatnonzero(size > 0)
    if len(lengths) < 2:
        return Decay(math.nan, math.nan)
    logs = np.log(size[lengths])
    slope, start = np.polyfit(lengths, logs, 1)
    rest = logs - (slope * lengths + start)
    spread = ((logs - logs.mean()) ** 2).sum()
    constant = spread <= 1e-20 * len(logs)  # all equal but for rounding
    return Decay(float(np.exp(slope)), 1.0 if constant else float(1 - (rest**2).sum() / spread))
