"""The ledger: every published claim, our number with its interval, the rule, and the verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import PurePath
from typing import Any

import pandas as pd

from resnet_probe import published
from resnet_probe.claims.beyond import BEYOND
from resnet_probe.claims.claim import Beyond, Claim
from resnet_probe.claims.evidence import Chosen, Evidence, NotHere, Piece
from resnet_probe.claims.rules import CLAIMS
from resnet_probe.errors import ProbeError
from resnet_probe.findings.verdict import NOT_HERE
from resnet_probe.results import Result
from resnet_probe.stats import Estimate
from resnet_probe.stats.bootstrap import joint

CONFIDENCE = 0.95
GAPS = dict.fromkeys(("value", "ci_low", "ci_high", "bound_low", "bound_high"), math.nan)
COLUMNS: dict[str, str] = {
    "claim": "its name: source, then what it is about",
    "source": "where it was published",
    "statement": "the claim in a sentence",
    "kind": "exact, shape or number: what it takes to test it",
    "published": "what the source shows",
    "rule": "what is measured, and what the claim asks of it",
    "bound": "the same as an inequality",
    "bound_low": "lower end of what the claim asks for, minus infinity where there is none",
    "bound_high": "upper end",
    "unit": "of value, interval and bound",
    "value": "ours",
    "ci_low": "lower end of its 95 % interval",
    "ci_high": "upper end",
    "verdict": "holds: the whole interval keeps the bound; fails: none of it does; undecided: "
    "the interval straddles the bound; not testable here: see `why`",
    "joint_verdict": "the verdict at the level at which all intervals of the ledger hold together "
    "(Bonferroni)",
    "networks": "ours",
    "data": "our images",
    "images": "how many",
    "differs": "in what our networks and images are others than the source's",
    "why": "why it cannot be tested here",
}


def judge(
    results: Iterable[Result],
    *,
    claims: Sequence[Claim] = CLAIMS,
    beyond: Sequence[Beyond] = BEYOND,
) -> pd.DataFrame:
    """The ledger, one row a claim, in the columns of `COLUMNS`, from the results of studies.

    Every verdict of a sampled quantity stands twice: at 95 %, and at the level that all such
    verdicts need to hold together. A `number` is only judged on the data (and network, where the
    claim names one) that it was published for. Raises `ProbeError` for a result without provenance.
    """
    evidence = Evidence.of(results)
    rows = [_row(claim, evidence, CONFIDENCE) for claim in claims]
    sampled = sum(row["verdict"] != NOT_HERE and row["kind"] != "exact" for row in rows)
    level = joint(CONFIDENCE, sampled)
    for claim, row in zip(claims, rows, strict=True):
        row["joint_verdict"] = _row(claim, evidence, level)["verdict"]
    rows += [_beyond(claim) for claim in beyond]
    given: list[dict[str, Any]] = [dict.fromkeys(COLUMNS, "") | GAPS | row for row in rows]
    return pd.DataFrame(given, columns=list(COLUMNS)).astype(dict.fromkeys(GAPS, "float64"))


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


def _row(claim: Claim, evidence: Evidence, confidence: float) -> dict[str, Any]:
    row = {
        "claim": claim.name, "source": claim.source, "statement": claim.statement,
        "kind": claim.kind, "published": shown(claim), "rule": claim.rule,
        "bound": str(claim.bound), "bound_low": claim.bound.low, "bound_high": claim.bound.high,
        "unit": claim.unit, "verdict": NOT_HERE, "images": 0,
    }  # fmt: skip
    try:
        chosen = claim.choose(evidence)
        found = Estimate(*map(float, claim.measure(chosen, confidence)))
    except (NotHere, ProbeError) as reason:
        return row | {"why": str(reason)}
    row |= dict(zip(("value", "ci_low", "ci_high"), found, strict=True)) | _ours(claim, chosen)
    other = _other(claim, chosen)
    if claim.kind == "number" and other:
        return row | {"why": f"a number of {_own(claim)}: {other}"}
    return row | {"verdict": claim.bound.verdict(found)}


def _beyond(claim: Beyond) -> dict[str, Any]:
    return {
        "claim": claim.name, "source": claim.source, "statement": claim.statement,
        "published": shown(claim), "verdict": NOT_HERE, "joint_verdict": NOT_HERE,
        "images": 0, "why": claim.why,
    }  # fmt: skip


def _ours(claim: Claim, chosen: Chosen) -> dict[str, Any]:
    """Whose numbers these are, and in what that differs from the source."""
    exact = claim.kind == "exact"
    return {
        "networks": _listed(piece.arch for piece in chosen.pieces),
        "data": "" if exact else _listed(_images(piece) for piece in chosen.pieces),
        "images": 0 if exact else max(piece.images for piece in chosen.pieces),
        "differs": "; ".join(filter(None, [chosen.note, "" if exact else _other(claim, chosen)])),
    }


def _other(claim: Claim, chosen: Chosen) -> str:
    """`digits instead of cifar10; resnet110 instead of preresnet110`, as far as it is so."""
    found = []
    strange = [piece for piece in chosen.pieces if not _same_images(piece, claim.data)]
    if strange:
        found.append(f"{_images(strange[0])} instead of {claim.data}")
    archs = _listed(piece.arch for piece in chosen.pieces)
    own = set(re.findall(r"\w+", claim.network))
    if own and not all({piece.arch, piece.family} & own for piece in chosen.pieces):
        found.append(f"{archs} instead of {claim.network}")
    return "; ".join(found)


def _same_images(piece: Piece, data: str) -> bool:
    return piece.data == data and "JPEG" not in piece.note


def _images(piece: Piece) -> str:
    name = piece.data
    if ":" in name:  # a file or folder: its own name and its parent's are enough
        name = "/".join(PurePath(name.partition(":")[2]).parts[-2:])
    return name + (f" ({piece.note})" if piece.note else "")


def _own(claim: Claim) -> str:
    return f"{claim.network} on {claim.data}" if claim.network else claim.data


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
