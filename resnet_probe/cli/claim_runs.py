"""Which studies the claims need of some networks: found on disk where they are, made where not."""

from __future__ import annotations

import hashlib
import json
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from resnet_probe.claims import Piece, needed
from resnet_probe.cli.claim_studies import KINDS, Kind
from resnet_probe.cli.progress import progress_bar
from resnet_probe.cli.run_folder import default_folder, facts
from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared

if TYPE_CHECKING:
    from resnet_probe.results import Result

RUNS = Path("runs")
EVIDENCE = RUNS / "evidence"
"""Where studies go that are made for claims; those that lie in `runs` are used as well."""


@dataclass(frozen=True)
class Planned:
    """One study of one network that some claim needs."""

    kind: Kind
    network: Prepared = field(repr=False)
    identity: dict[str, Any] = field(repr=False)

    @property
    def title(self) -> str:
        return f"{self.kind.study} of {self.network.network.arch.spec}"

    @property
    def folder(self) -> Path:
        """Its own, named with the first digits of its identity's hash."""
        text = json.dumps(self.identity, sort_keys=True, default=str)
        return EVIDENCE / f"{self._usual.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def _usual(self) -> Path:
        """Where the study's own command writes to."""
        return default_folder(self.kind.study, self.network, Namespace(out=None))

    def found(self) -> tuple[Result, Path] | None:
        """The result of an earlier run that is whole and has this identity."""
        from resnet_probe.results import Result

        for folder in (self.folder, self._usual):
            try:
                result = Result.load(folder)
            except ProbeError:
                continue
            if all(_same(result.identity, key, value) for key, value in self.identity.items()):
                return self._named(result), folder
        return None

    def make(self, load: Callable[..., Prepared], seed: int, options: dict[str, Any]) -> Result:
        """Run the study, keep it, and return it."""
        with progress_bar(self.title) as progress:
            result = self.kind.run(self.network, load, seed, {**options, "progress": progress})
        record = {**facts(self.network), **result.provenance, "identity": self.identity}
        result = replace(result, provenance=record)
        result.save(self.folder)
        return self._named(result)

    def _named(self, result: Result) -> Result:
        """With what a claim has to know of the network."""
        chain = self.network.chain
        own = {"classes": chain.classes, "residual": chain.residual, "blocks": len(chain)}
        return replace(result, provenance={**result.provenance, **own})


def plan(
    loaders: Iterable[Callable[[int | None], Prepared]], seed: int, limit: int | None
) -> list[Planned]:
    """The studies that a claim would choose, of networks whose loaders take a limit on images."""
    candidates: list[tuple[Piece, Kind, Callable[[int | None], Prepared]]] = []
    for load in loaders:
        network = load(limit)
        for kind in KINDS:
            if kind.fits(network):
                candidates.append((_piece(kind, network), kind, load))
    wanted = needed(piece for piece, _, _ in candidates)
    planned = []
    for piece, kind, load in candidates:
        if any(piece is other for other in wanted):
            network = load(_smaller(limit, kind.limit))
            planned.append(Planned(kind, network, kind.identity(network, seed)))
    return planned


def _piece(kind: Kind, network: Prepared) -> Piece:
    chain = network.chain
    return Piece(
        study=kind.study,
        arch=network.network.arch.spec,
        table=pd.DataFrame(),
        blocks=len(chain),
        residual=chain.residual,
        data=network.image_set.name,
    )


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


def _same(identity: dict[str, Any], key: str, value: Any) -> bool:
    from resnet_probe.results.provenance import plain

    return key in identity and plain(identity[key]) == plain(value)
