"""Every claim on every network that can test it: our number, its interval, rule and verdict."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import pandas as pd

from resnet_probe import published
from resnet_probe.claims import appended, controls, flows, identities, mechanisms, veit2016
from resnet_probe.claims.beyond import BEYOND
from resnet_probe.claims.claim import Beyond, Claim
from resnet_probe.claims.evidence import Chosen, Evidence, Exhibit, NotHere, same_images
from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.findings.verdict import FAILS, HOLDS, NOT_HERE, UNDECIDED, VERDICTS
from resnet_probe.results import Result
from resnet_probe.stats import Estimate
from resnet_probe.stats.bootstrap import joint

CLAIMS: tuple[Claim, ...] = (
    *veit2016.CLAIMS, *controls.CLAIMS, *mechanisms.CLAIMS, *flows.CLAIMS, *appended.CLAIMS,
    *identities.CLAIMS,
)  # fmt: skip
CONFIDENCE = 0.95
SEPARATOR = "; "
"""Between the networks that one verdict is about."""
GAPS = dict.fromkeys(
    ("value", "ci_low", "ci_high", "bound_low", "bound_high", "passes_true", "passes_false",
     "twin_value", "twin_low", "twin_high"),
    math.nan,
)  # fmt: skip
COLUMNS: dict[str, str] = {
    "claim": "its name: source, then what it is about",
    "source": "where it was published",
    "statement": "the claim in a sentence",
    "kind": "exact, shape or number: what it takes to test it; exact ones are identities, which "
    "cannot fail: they are checked, and are no evidence",
    "published": "what the source shows",
    "rule": "what is measured, over what its interval is, what the claim asks of it, and how often "
    "the rule passes where it should and where it should not",
    "bound": "the same as an inequality",
    "bound_low": "lower end of what the claim asks for, minus infinity where there is none",
    "bound_high": "upper end",
    "unit": "of value, interval and bound",
    "value": "ours",
    "ci_low": "lower end of its 95 % interval",
    "ci_high": "upper end",
    "verdict": "holds: the whole interval keeps the bound; fails: none of it does; undecided: "
    "the interval straddles the bound; not testable here: see `why`",
    "joint_verdict": "the verdict at the level at which all intervals that one network has a part "
    "in hold together (Bonferroni)",
    "twin": "the verdict on the untrained twin, on fewer images: what holds there too is no result "
    "of training; empty where it was not measured, or means nothing",
    "twin_value": "the untrained twin's",
    "twin_low": "lower end of its 95 % interval",
    "twin_high": "upper end",
    "networks": "ours",
    "data": "our images",
    "images": "how many",
    "differs": "in what our networks and images are others than the source's",
    "why": "why it cannot be tested here",
    "on": "which networks on which images the verdict is about",
    "command": "what measures it again, a line a study",
    "passes_true": "percent of simulated studies in which the rule passes where the claim is true",
    "passes_false": "the same where it is false",
    "summary": "of the claim: on how many networks, or sets of networks, it holds and fails",
}


def chosen(names: Sequence[str] | None) -> tuple[Claim, ...]:
    """The claims of those names, all of them for None; raises `ProbeError` with the nearest name.

    A name stands for all claims that begin with it and a slash: `veit2016` for that paper's.
    """
    if names is None:
        return CLAIMS
    for name in names:
        if untested := [each for each in BEYOND if each.name == name]:
            raise ProbeError(f"{name} cannot be tested here: {untested[0].why}")
        if not any(_called(claim, name) for claim in CLAIMS):
            hint = did_you_mean(name, [claim.name for claim in CLAIMS])
            raise ProbeError(f"there is no claim {name!r}: claims --rules lists them{hint}")
    return tuple(claim for claim in CLAIMS if any(_called(claim, name) for name in names))


def _called(claim: Claim, name: str) -> bool:
    return claim.name == name or claim.name.startswith(f"{name}/")


def judge(
    results: Iterable[Result],
    *,
    claims: Sequence[Claim] | None = None,
    beyond: Sequence[Beyond] | None = None,
) -> pd.DataFrame:
    """The matrix of claims and networks in long form, in the columns of `COLUMNS`.

    One row a claim and network, or set of networks where the claim compares several; one row for a
    claim that none can test.  `by_claim` reduces it to one row a claim.  Every verdict of a sampled
    quantity stands twice: at 95 %, and at the level that all such verdicts on one network need to
    hold together.  `claims` are those that are judged, by default all that are published here;
    `beyond` those that no result can test.  A `number` is only judged on the data (and network,
    where the claim names one) that it was published for.  Raises `ProbeError` for a result without
    provenance.
    """
    evidence = Evidence.of(results)
    claims, beyond = CLAIMS if claims is None else claims, BEYOND if beyond is None else beyond
    found = [(claim, chosen, why) for claim in claims for chosen, why in _chosen(claim, evidence)]
    rows = [
        _row(claim, chosen, why, CONFIDENCE) | _twin(claim, chosen, evidence)
        for claim, chosen, why in found
    ]
    level = joint(CONFIDENCE, _most_of_one_network(rows))
    for (claim, chosen, why), row in zip(found, rows, strict=True):
        again = row if row["verdict"] == NOT_HERE else _row(claim, chosen, why, level)
        row["joint_verdict"] = again["verdict"]
    rows += [_beyond(claim) for claim in beyond]
    given: list[dict[str, Any]] = [dict.fromkeys(COLUMNS, "") | GAPS | row for row in rows]
    table = pd.DataFrame(given, columns=list(COLUMNS)).astype(dict.fromkeys(GAPS, "float64"))
    said = {name: summary_of(rows) for name, rows in table.groupby("claim", sort=False)}
    return table.assign(summary=table["claim"].map(said).astype(object))


def by_claim(matrix: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: on the network nearest to the source's of those that can test it.

    That is one that differs least from what the claim names; of several the first.
    """
    away = matrix["differs"].map(lambda said: len(str(said).split("; ")) if said else 0)
    order = matrix.assign(there=matrix["verdict"] == NOT_HERE, away=away, place=range(len(matrix)))
    kept = order.sort_values(["there", "away", "place"]).drop_duplicates("claim")["place"]
    return matrix.iloc[sorted(kept)].reset_index(drop=True)


def summary_of(rows: pd.DataFrame) -> str:
    """`holds in 4 of 6, fails in 1, undecided in 1`, from the rows of one claim."""
    counts = Counter(rows["verdict"])
    judged = sum(counts[verdict] for verdict in VERDICTS if verdict != NOT_HERE)
    if not judged:
        return NOT_HERE
    parts = [f"{word} in {counts[word]}" for word in (HOLDS, FAILS, UNDECIDED) if counts[word]]
    first, *rest = parts
    return ", ".join([f"{first} of {judged}", *rest])


def needed(candidates: Iterable[Exhibit], claims: Sequence[Claim] = CLAIMS) -> list[Exhibit]:
    """Those of the candidates that a claim would be judged on; their tables may still be empty."""
    evidence = Evidence(tuple(candidates))
    wanted = {
        id(exhibit)
        for claim in claims
        for chosen, _ in _chosen(claim, evidence)
        if chosen is not None
        for exhibit in (*chosen.exhibits, *_exhibits(evidence.twins(chosen)))
    }
    return [exhibit for exhibit in evidence.exhibits if id(exhibit) in wanted]


def rules_sha256(claims: Sequence[Claim] = CLAIMS) -> str:
    """A fingerprint of what is asked: a rule that was changed afterwards shows in the ledger."""
    digest = hashlib.sha256()
    for claim in claims:
        parts = (claim.name, claim.kind, claim.statement, claim.rule, claim.unit, str(claim.bound))
        digest.update("\n".join(parts).encode())
    return digest.hexdigest()


def shown(claim: Claim | Beyond) -> str:
    """What the source shows: the claim's wording with the published values."""
    values = _published()
    unknown = [name for name in claim.published if name not in values]
    if unknown:
        raise ProbeError(f"claim {claim.name}: no published value {unknown[0]!r}")
    return claim.wording.format(*(values[name] for name in claim.published))


@cache
def _published() -> dict[str, float]:
    table = published.load("claims")
    return dict(zip(table["claim"], table["value"], strict=True))


def _exhibits(chosen: Chosen | None) -> tuple[Exhibit, ...]:
    return () if chosen is None else chosen.exhibits


def _chosen(claim: Claim, evidence: Evidence) -> list[tuple[Chosen | None, str]]:
    """What a claim is judged on, or that there is nothing, with the reason."""
    try:
        return [(chosen, "") for chosen in claim.choose(evidence)]
    except NotHere as reason:
        return [(None, str(reason))]


def _most_of_one_network(rows: Sequence[dict[str, Any]]) -> int:
    """The most sampled verdicts that any one network on its images has a part in."""
    sampled = [row for row in rows if row["verdict"] != NOT_HERE and row["kind"] != "exact"]
    counts = Counter(name for row in sampled for name in row["on"].split(SEPARATOR))
    return max(counts.values(), default=0)


def _row(claim: Claim, chosen: Chosen | None, why: str, confidence: float) -> dict[str, Any]:
    right, wrong = claim.passes_true, claim.passes_false
    row = {
        "claim": claim.name, "source": claim.source, "statement": claim.statement,
        "kind": claim.kind, "published": shown(claim), "rule": claim.rule_in_full,
        "bound": str(claim.bound), "bound_low": claim.bound.low, "bound_high": claim.bound.high,
        "unit": claim.unit, "verdict": NOT_HERE, "images": 0,
        "passes_true": right.pct if right else math.nan,
        "passes_false": wrong.pct if wrong else math.nan,
    }  # fmt: skip
    if chosen is None:
        return row | {"why": why}
    row |= _ours(claim, chosen)
    try:
        found = Estimate(*map(float, claim.measure(chosen, confidence)))
    except (NotHere, ProbeError) as reason:
        return row | {"why": str(reason)}
    row |= dict(zip(("value", "ci_low", "ci_high"), found, strict=True))
    other = _other(claim, chosen)
    if claim.kind == "number" and other:
        return row | {"why": f"a number of {_own(claim)}: {other}"}
    return row | {"verdict": claim.bound.verdict(found)}


def _twin(claim: Claim, chosen: Chosen | None, evidence: Evidence) -> dict[str, Any]:
    """What the same rule says of the untrained twins."""
    twins = None if chosen is None else evidence.twins(chosen)
    if twins is None or claim.kind == "exact":
        return {}
    try:
        found = Estimate(*map(float, claim.measure(twins, CONFIDENCE)))
    except (NotHere, ProbeError):  # an untrained network is at chance: no way to lose
        return {}
    ends = dict(zip(("twin_value", "twin_low", "twin_high"), found, strict=True))
    return {"twin": claim.bound.verdict(found), **ends}


def _beyond(claim: Beyond) -> dict[str, Any]:
    return {
        "claim": claim.name, "source": claim.source, "statement": claim.statement,
        "published": shown(claim), "verdict": NOT_HERE, "joint_verdict": NOT_HERE,
        "images": 0, "why": claim.why,
    }  # fmt: skip


def _ours(claim: Claim, chosen: Chosen) -> dict[str, Any]:
    """Whose numbers these are, and in what that differs from the source."""
    exact, exhibits = claim.kind == "exact", chosen.exhibits
    counted = [exhibit for exhibit in exhibits if exhibit.data]
    commands = [str(exhibit.facts.get("command") or "") for exhibit in counted]
    return {
        "networks": _listed(exhibit.network for exhibit in exhibits),
        "data": _listed(exhibit.images_called for exhibit in counted),
        "images": min((exhibit.images for exhibit in counted), default=0),
        "differs": "; ".join(filter(None, [chosen.note, "" if exact else _other(claim, chosen)])),
        "command": "\n".join(dict.fromkeys(filter(None, commands))),
        "on": SEPARATOR.join(dict.fromkeys(exhibit.on for exhibit in counted)),
    }


def _other(claim: Claim, chosen: Chosen) -> str:
    """`digits instead of cifar10; resnet110 instead of preresnet110`, as far as it is so."""
    found, exhibits = [], chosen.exhibits
    strange = [exhibit for exhibit in exhibits if not same_images(exhibit, claim.data)]
    if strange:
        found.append(f"{strange[0].images_called} instead of {claim.data}")
    own = set(re.findall(r"\w+", claim.network))
    if own and not all({exhibit.arch, exhibit.family} & own for exhibit in exhibits):
        found.append(f"{_listed(e.arch for e in exhibits)} instead of {claim.network}")
    return "; ".join(found)


def _own(claim: Claim) -> str:
    return f"{claim.network} on {claim.data}" if claim.network else claim.data


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
