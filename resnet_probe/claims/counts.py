"""What claims ask of tables of structure: parameters, weights and multiply-adds, all counted."""

from __future__ import annotations

from collections.abc import Callable

from resnet_probe import published
from resnet_probe.claims.evidence import Chooser, Chosen, Evidence, NotHere
from resnet_probe.stats import Estimate
from resnet_probe.stats import bootstrap as intervals

STUDY = "structure"
PER = {"1": 1.0, "million": 1e6, "billion": 1e9}


def counted(*names: str) -> Chooser:
    """The structure of those of `names` that were counted."""

    def choose(evidence: Evidence) -> Chosen:
        found = tuple(piece for piece in evidence.all(STUDY) if piece.arch in names)
        if not found:
            raise NotHere(f"needs the structure of one of {', '.join(names)}")
        left = len(names) - len(found)
        return Chosen(found, f"{left} of {len(names)} not counted" if left else "")

    return choose


def largest_gap(column: str, key: str) -> Callable[[Chosen, float], Estimate]:
    """A measure: the largest |ours − published|, in the published unit.

    `key` names the row of the published table for an architecture, with `{arch}`.
    """

    def measure(chosen: Chosen, confidence: float) -> Estimate:
        table = published.load("claims").set_index("claim")
        gaps = []
        for piece in chosen.pieces:
            name = key.format(arch=piece.arch)
            ours = float(piece.table[column].iloc[0]) / PER[str(table["unit"][name])]
            gaps.append(abs(ours - float(table["value"][name])))
        return intervals.exact(max(gaps))

    return measure
