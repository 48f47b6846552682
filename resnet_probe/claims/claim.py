"""A published claim with the rule that judges it, and how an interval becomes a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from resnet_probe.claims.evidence import Chosen, Evidence
from resnet_probe.errors import ProbeError
from resnet_probe.findings.verdict import FAILS, HOLDS, UNDECIDED
from resnet_probe.stats import Estimate

KINDS = {
    "exact": "arithmetic or a count: the same on any images",
    "shape": "an order, a sign or a form: any trained network of the right kind can test it",
    "number": "a number of one data set: only its own images can test it",
}


@dataclass(frozen=True)
class Bound:
    """What a claim says of its quantity: it lies between `low` and `high`.

    An `open` bound leaves its ends out: above 0 is not 0. `rounding` is half the last printed digit
    of a number that both ends stand around.
    """

    low: float = -math.inf
    high: float = math.inf
    open: bool = False
    rounding: float = 0.0

    def __str__(self) -> str:
        return self._text().replace("-", "−")

    def _text(self) -> str:
        if self.low == self.high:
            return f"= {self.low:,.10g}"
        if self.rounding:
            return f"= {(self.low + self.high) / 2:,.10g} ± {self.rounding:g}"
        if math.isinf(self.low):
            return f"{'<' if self.open else '≤'} {self.high:,.6g}"
        if math.isinf(self.high):
            return f"{'>' if self.open else '≥'} {self.low:,.6g}"
        return f"{self.low:,.8g} to {self.high:,.8g}"

    def verdict(self, found: Estimate) -> str:
        """Whole interval inside: holds; whole outside: fails; across an end, or none: undecided."""
        if math.isnan(found.value) or math.isnan(found.low) or math.isnan(found.high):
            return UNDECIDED
        if self.open:
            inside = self.low < found.low and found.high < self.high
            outside = found.high <= self.low or found.low >= self.high
        else:
            inside = self.low <= found.low and found.high <= self.high
            outside = found.high < self.low or found.low > self.high
        return HOLDS if inside else FAILS if outside else UNDECIDED


def at_most(value: float) -> Bound:
    return Bound(high=value)


def at_least(value: float) -> Bound:
    return Bound(low=value)


def above(value: float) -> Bound:
    return Bound(low=value, open=True)


def below(value: float) -> Bound:
    return Bound(high=value, open=True)


def between(low: float, high: float) -> Bound:
    return Bound(low, high)


def equal_to(value: float, *, rounding: float = 0.0) -> Bound:
    """Exactly that, or what a printed number rounded to ± `rounding` may stand for."""
    return Bound(value - rounding, value + rounding, rounding=rounding)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published claim that some network can test.

    `published` names rows of the published table `claims`, `wording` shows them with `{}` for each
    value, or says in words what the source shows; `rule` says what is measured, `bound` what the
    claim asks of it. `choose` picks the tables that it needs from the evidence and raises
    `NotHere` where they are not there; `measure` turns them into an estimate at a confidence.
    `network` and `data` are the source's own, so that a ledger can say where ours differ.
    """

    name: str
    source: str
    statement: str
    kind: str
    wording: str
    published: tuple[str, ...] = ()
    rule: str
    unit: str
    bound: Bound
    choose: Callable[[Evidence], Chosen] = field(repr=False)
    measure: Callable[[Chosen, float], Estimate] = field(repr=False)
    network: str = ""
    data: str = "cifar10"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ProbeError(f"claim {self.name}: no kind {self.kind!r}: there are {list(KINDS)}")


@dataclass(frozen=True, kw_only=True)
class Beyond:
    """A published claim that nothing which comes with this package can test; `why` says so."""

    name: str
    source: str
    statement: str
    wording: str
    published: tuple[str, ...] = ()
    why: str
