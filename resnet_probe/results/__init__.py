"""The outcome of a study, the folder that keeps it, and the journal of an unfinished one."""

from resnet_probe.results.journal import Journal
from resnet_probe.results.result import (
    FORMATS,
    Drawn,
    Result,
    load,
    refuse_other,
    save_figure,
    unless_refused,
)

__all__ = [
    "FORMATS",
    "Drawn",
    "Journal",
    "Result",
    "load",
    "refuse_other",
    "save_figure",
    "unless_refused",
]
