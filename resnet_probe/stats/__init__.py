"""Intervals, tests and path lengths, in numpy and scipy."""

from resnet_probe.stats.intervals import (
    Estimate,
    Floats,
    holm,
    jackknife,
    mean_interval,
    median_interval,
    t_interval,
    wilson,
)
from resnet_probe.stats.paired import equivalent, mcnemar, paired_difference

__all__ = [
    "Estimate",
    "Floats",
    "equivalent",
    "holm",
    "jackknife",
    "mcnemar",
    "mean_interval",
    "median_interval",
    "paired_difference",
    "t_interval",
    "wilson",
]
