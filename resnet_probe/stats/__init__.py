"""Intervals, tests and path lengths, in numpy and scipy."""

from resnet_probe.stats.intervals import (
    Estimate,
    Floats,
    holm,
    jackknife,
    mcnemar,
    mean_interval,
    median_interval,
    t_interval,
    wilson,
)

__all__ = [
    "Estimate",
    "Floats",
    "holm",
    "jackknife",
    "mcnemar",
    "mean_interval",
    "median_interval",
    "t_interval",
    "wilson",
]
