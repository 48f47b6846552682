"""All claims that some network can test, and which tables they would be judged on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from resnet_probe.claims import he, mechanisms, veit2016, veit2016_paths
from resnet_probe.claims.claim import Claim
from resnet_probe.claims.evidence import Evidence, NotHere, Piece

CLAIMS: tuple[Claim, ...] = (
    *veit2016.CLAIMS,
    *veit2016_paths.CLAIMS,
    *he.CLAIMS,
    *mechanisms.CLAIMS,
)


def needed(candidates: Iterable[Piece], claims: Sequence[Claim] = CLAIMS) -> list[Piece]:
    """Those of the candidates that a claim would choose; their tables may still be empty."""
    evidence = Evidence(tuple(candidates))
    chosen: list[Piece] = []
    for claim in claims:
        try:
            chosen += claim.choose(evidence).pieces
        except NotHere:
            continue
    return [piece for piece in evidence.pieces if any(piece is other for other in chosen)]


def rules_sha256(claims: Sequence[Claim] = CLAIMS) -> str:
    """A fingerprint of what is asked: a rule that was changed afterwards shows in the ledger."""
    digest = hashlib.sha256()
    for claim in claims:
        parts = (claim.name, claim.kind, claim.statement, claim.rule, claim.unit, str(claim.bound))
        digest.update("\n".join(parts).encode())
    return digest.hexdigest()
