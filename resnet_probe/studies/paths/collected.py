"""What the methods of a study collect, each by its own way through the blocks."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_probe.studies.paths.exact import Exact
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.paths.sample import SampledPaths
from resnet_probe.studies.paths.signs import SignedSums
from resnet_probe.studies.study import Arrays


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

    @classmethod
    def from_arrays(cls, asked: Request, arrays: Arrays, images: int) -> Collected:
        """Filled with what `arrays` gave, of so many images in all."""
        found = cls.of(asked)
        if found.exact:
            found.exact.take(arrays)
        if found.signed:
            found.signed.take(arrays)
        if found.sampled:
            found.sampled.fill(arrays, images)
        return found

    def arrays(self) -> Arrays:
        """All that was collected, by names that say how parts of the images are put together."""
        found: Arrays = {}
        for each in (self.exact, self.signed, self.sampled):
            found |= each.arrays() if each else {}
        return found
