"""What a study answers: a sentence, its interval, and a verdict by a rule that is written down."""

from __future__ import annotations

import math
from dataclasses import dataclass

from resnet_probe.findings.sentence import Sentence
from resnet_probe.stats import Estimate

HOLDS = "holds"
FAILS = "fails"
OPEN = "undecided"


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    `sentence` is the answer in full, `answer` in short where it belongs to the opening of a
    report.  `verdict` says whether `claim` holds by `rule`, judged by `estimate` in `unit`; a
    finding without a claim is a description and has none of the four.
    """

    sentence: Sentence
    answer: Sentence | None = None
    claim: str = ""
    rule: Sentence | None = None
    verdict: str = ""
    estimate: Estimate | None = None


def at_most(found: Estimate, most: float) -> str:
    """`HOLDS` where the whole interval is at most so much, `FAILS` where it lies above.

    `OPEN` where it reaches to both sides, or where there is no interval: no verdict without one.
    """
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return OPEN
    return HOLDS if found.high <= most else FAILS if found.low > most else OPEN


def at_least(found: Estimate, least: float) -> str:
    """`HOLDS` where the whole interval is at least so much, `FAILS` where it lies below."""
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return OPEN
    return HOLDS if found.low >= least else FAILS if found.high < least else OPEN


def one_of(verdict: str, holds: str, fails: str, undecided: str) -> str:
    """The words that go with a verdict."""
    return {HOLDS: holds, FAILS: fails, OPEN: undecided}[verdict]
