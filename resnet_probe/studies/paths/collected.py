"""What the methods of a study collect, each by its own way through the blocks."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_probe.studies.paths.exact import Exact
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.paths.sample import SampledPaths
from resnet_probe.studies.paths.signs import SignedSums


@dataclass(frozen=True)
class Collected:
    """The collectors of the methods that were asked for; None for the others."""

    exact: Exact | None
    signed: SignedSums | None
    sampled: SampledPaths | None

    @classmethod
    def of(cls, asked: Request) -> Collected:
        return cls(
            Exact(asked) if "exact" in asked.methods else None,
            SignedSums(asked) if "all" in asked.methods else None,
            SampledPaths(asked) if "sample" in asked.methods else None,
        )
