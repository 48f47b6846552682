"""The words of a judgement, its thresholds and its rules: one vocabulary for everything that
states something: the terminal, a report's sentences, figures, and the ledger of claims.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resnet_probe.errors import ProbeError
from resnet_probe.stats import Estimate

HOLDS, FAILS, UNDECIDED, NOT_HERE = "holds", "fails", "undecided", "not testable here"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_HERE)
"""Of a claim; the last where the results at hand cannot test it."""

HARMFUL, HELPFUL, HARMLESS, NEGLIGIBLE = "harmful", "helpful", "harmless", "negligible"
CHANGES = (HARMFUL, NEGLIGIBLE, HARMLESS, HELPFUL, UNDECIDED)
"""Of what an edit does to the error: `changes` says when."""

BARELY = 1.0
"""Percent of the way from the whole network's error to guessing: about twice what the median
deletion takes of it in the published 110-layer network (Veit et al. 2016, figure 3)."""
ALIKE = 0.5
"""Points of error by which two costs may be apart and still be called alike: the margin inside
which a deletion is called harmless."""
SMALL = 0.5
"""‖F‖ at half of ‖shortcut‖ lengthens what it is added to by 12 % where the two are orthogonal."""


def at_most(found: Estimate, most: float) -> str:
    """`HOLDS` where the whole interval is at most so much, `FAILS` where it lies above.

    `UNDECIDED` where it reaches to both sides, or where there is no interval: no verdict without
    one.
    """
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return UNDECIDED
    return HOLDS if found.high <= most else FAILS if found.low > most else UNDECIDED


def at_least(found: Estimate, least: float) -> str:
    """`HOLDS` where the whole interval is at least so much, `FAILS` where it lies below."""
    return at_most(Estimate(-found.value, -found.high, -found.low), -least)


def within(found: Estimate, margin: float) -> str:
    """`HOLDS` where the whole interval lies inside ± so much, `FAILS` where it lies outside."""
    if FAILS in (at_most(found, margin), at_least(found, -margin)):
        return FAILS
    both = at_most(found, margin) == at_least(found, -margin) == HOLDS
    return HOLDS if both else UNDECIDED


def one_of(verdict: str, holds: str, fails: str, undecided: str) -> str:
    """The words that go with a verdict."""
    return {HOLDS: holds, FAILS: fails, UNDECIDED: undecided}[verdict]


def changes(table: pd.DataFrame, *, joint: bool = True) -> NDArray[np.str_]:
    """What each edit of a lesion's table does to the error, a word of `CHANGES` a row.

    harmful: its interval lies above 0; helpful: below; harmless: two one-sided tests show a change
    inside the margin; negligible: harmful or helpful, and inside the margin; undecided: none of
    them.  With `joint` the statements hold for all rows together, else, and where each edit stopped
    when it was decided, each row by itself.  The baseline's is empty.  Raises `ProbeError` for a
    table without intervals.
    """
    joint = joint and "stopped" not in table
    kind = "joint" if joint else "delta"
    within = "joint_inside_margin" if joint else "inside_margin"
    if within not in table:
        raise ProbeError(
            "this table of a lesion has no intervals of the change in error: measure it again"
        )
    low, high = (table[f"{kind}_{end}_pct"].to_numpy(float) for end in ("low", "high"))
    inside = table[within].to_numpy(float) == 1
    moved = (low > 0) | (high < 0)
    words = np.select(
        [moved & inside, low > 0, high < 0, inside],
        [NEGLIGIBLE, HARMFUL, HELPFUL, HARMLESS],
        UNDECIDED,
    )
    return np.where(table["kind"].to_numpy() == "baseline", "", words)
