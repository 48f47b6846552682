"""Intervals, tests and path lengths, in numpy and scipy."""

from resnet_probe.stats.intervals import (
    Estimate,
    Floats,
    jackknife,
    mean_interval,
    median_interval,
    rank_correlation,
    t_interval,
    wilson,
)
from resnet_probe.stats.paired import equivalent, mcnemar, paired_difference
from resnet_probe.stats.simultaneous import SignFlips

__all__ = [
    "Estimate",
    "Floats",
    "SignFlips",
    "equivalent",
    "jackknife",
    "mcnemar",
    "mean_interval",
    "median_interval",
    "paired_difference",
    "rank_correlation",
    "t_interval",
    "wilson",
]
