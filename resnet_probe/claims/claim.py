"""A published claim with the rule that judges it, and how an interval becomes a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from resnet_probe import published
from resnet_probe.claims.evidence import Chosen, Evidence
from resnet_probe.errors import ProbeError
from resnet_probe.findings.verdict import FAILS, HOLDS, UNDECIDED
from resnet_probe.stats import Estimate

KINDS = {
    "exact": "an identity, arithmetic or a count: it cannot fail, and is checked but no evidence",
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


@dataclass(frozen=True)
class Passes:
    """How often a rule passes, in percent of simulated studies in which the truth is `case`."""

    pct: float
    case: str


@cache
def _operating() -> dict[tuple[str, str], Passes]:
    table = published.load("operating")
    keys = zip(table["claim"], table["truth"], strict=True)
    values = (Passes(*row) for row in zip(table["passes_pct"], table["case"], strict=True))
    return dict(zip(keys, values, strict=True))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published claim that some network can test.

    `published` names rows of the published table `claims`, `wording` shows them with `{}` for each
    value, or says in words what the source shows; `rule` says what is measured, and over what its
    interval is, `bound` what the claim asks of it.  `choose` picks what it is judged on from the
    evidence, once for each network or set of networks, and raises `NotHere` where there is none;
    `measure` turns that into an estimate at a confidence.  `network` and `data` are the source's
    own, so that a ledger can say where ours differ.
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
    choose: Callable[[Evidence], list[Chosen]] = field(repr=False)
    measure: Callable[[Chosen, float], Estimate] = field(repr=False)
    network: str = ""
    data: str = "cifar10"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ProbeError(f"claim {self.name}: no kind {self.kind!r}: there are {list(KINDS)}")

    @property
    def passes_true(self) -> Passes | None:
        """How often the rule passes where the claim is true; None for an identity."""
        return _operating().get((self.name, "true"))

    @property
    def passes_false(self) -> Passes | None:
        """How often it passes where the claim is false."""
        return _operating().get((self.name, "false"))

    @property
    def rule_in_full(self) -> str:
        """The rule, and how often it passes where it should and where it should not."""
        right, wrong = self.passes_true, self.passes_false
        if right is None or wrong is None:
            return self.rule
        return (
            f"{self.rule} Of simulated studies it passes {right.pct:g} % where the claim is true "
            f"({right.case}), {wrong.pct:g} % where it is false ({wrong.case})."
        )


@dataclass(frozen=True, kw_only=True)
class Beyond:
    """A published claim that nothing which comes with this package can test; `why` says so.

    `lacking` is what would make it testable: patterns of which none is found in the name or the
    training command of any bundled network.
    """

    name: str
    source: str
    statement: str
    wording: str
    published: tuple[str, ...] = ()
    why: str
    lacking: tuple[str, ...]
