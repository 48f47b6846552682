"""Published claims about residual networks, the rules that judge them, and the judge.

The rules stand in tables, one claim an entry: what is measured, in which unit, and which bound the
claim puts on it. `judge` applies them to the results of studies, without torch.
"""

from resnet_probe.claims.beyond import BEYOND
from resnet_probe.claims.claim import Beyond, Bound, Claim
from resnet_probe.claims.evidence import Evidence, Exhibit
from resnet_probe.claims.ledger import (
    CLAIMS,
    COLUMNS,
    by_claim,
    chosen,
    judge,
    needed,
    rules_sha256,
)
from resnet_probe.findings.verdict import FAILS, HOLDS, NOT_HERE, UNDECIDED, VERDICTS

__all__ = [
    "BEYOND",
    "CLAIMS",
    "COLUMNS",
    "FAILS",
    "HOLDS",
    "NOT_HERE",
    "UNDECIDED",
    "VERDICTS",
    "Beyond",
    "Bound",
    "Claim",
    "Evidence",
    "Exhibit",
    "by_claim",
    "chosen",
    "judge",
    "needed",
    "rules_sha256",
]
