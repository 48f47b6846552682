"""Which studies a report and a ledger of claims ask of a network, and on how many images.

Both ask here, so that what the one has measured the other finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from resnet_probe.claims import Piece, needed
from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared
from resnet_probe.loading.request import Request
from resnet_probe.results import Result
from resnet_probe.runs.catalogue import row
from resnet_probe.runs.job import Job

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
TAUS = (0.99, 0.98, 0.95, 0.91, 0.87, 0.8, 0.75, 0.7)
DOUBLED = (1, 5, 10)
DRAWS = 30
FEW = 200
"""Images, where many random edits are made of each."""
SEEDS = 5
"""Initial weights."""
STRUCTURES = (*(f"resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202)), "resnet50")
PARTS = {
    "bottleneck/weights": ("resnet50", "layer1.1"),
    "bottleneck/weights/plain": ("resnet34", "layer3.1"),
}
"""Blocks of torchvision's networks on 256 channels: a bottleneck, and two 3×3 layers."""


@dataclass(frozen=True, eq=False)
class Ask:
    """One study: what its result is called, its row, its settings, and how many images at most.

    `weight` is about how long it takes beside the others; `initial` says that it is of networks
    before training, and how many.
    """

    study: str
    row: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    weight: float = 1.0
    initial: int = 0

    def jobs(self, request: Request, ready: Prepared, *, seed: int = 0) -> Iterator[Job]:
        """The jobs, most often one; raises `ProbeError` for what the study refuses."""
        study = row(self.row).study
        named = [each.name for each in study.settings.options()]
        given = {**self.settings, **({"seed": seed} if "seed" in named else {})}
        given = {name: _fitting(name, value, ready) for name, value in given.items()}
        for place in range(self.initial):
            fresh = replace(request.fresh(seed + place), data=_data(request, ready))
            network = first_images(fresh.prepared(), self.images)
            settings = study.settings.of({**given, "init": True})
            yield Job.of(row(self.row), settings, [fresh], networks=[network])
        if not self.initial:
            network = first_images(ready, self.images)
            yield Job.of(row(self.row), study.settings.of(given), [request], networks=[network])


def report_asks(*, full: bool) -> tuple[Ask, ...]:
    """What a report is made of: in minutes, or in full."""
    images, paths, shares = (None, 512, 256) if full else (1000, 64, 64)
    asks = (
        Ask("lesion", "lesion", {}, images, 1.0),
        Ask("lesion-counts", "lesion", {"counts": COUNTS, "draws": DRAWS}, images, 12.0),
        Ask("lesion-permute-tau", "lesion", _orders(), images, 10.0),
        Ask("paths", "paths", {"signs": 8, "samples": 200}, paths, 4.0),
        Ask("responses", "responses", {}, images, 1.0),
        Ask("lens", "lens", {}, images, 0.3),
        Ask("attribute", "attribute", {}, shares, 4.0),
    )
    return tuple(ask for ask in asks if full or not ask.study.startswith("lesion-"))


def claim_asks() -> tuple[Ask, ...]:
    """What the claims are judged on."""
    return (
        Ask("lesion", "lesion"),
        Ask("lesion-counts", "lesion", {"counts": COUNTS, "draws": DRAWS}, FEW),
        Ask("lesion-permute-tau", "lesion", _orders(), FEW),
        Ask("lesion-duplicate", "lesion",
            {"edit": "duplicate", "counts": DOUBLED, "draws": DRAWS}, FEW),
        Ask("paths", "paths", {"signs": 8, "samples": 200}, 64),
        Ask("responses", "responses"),
        Ask("responses-init", "responses", {}, FEW, initial=SEEDS),
    )  # fmt: skip


def fitting_jobs(
    asks: Sequence[Ask], request: Request, ready: Prepared, *, seed: int = 0
) -> tuple[dict[Ask, list[Job]], dict[str, str]]:
    """The jobs of each ask, and the reasons of those that the network does not suit, by study."""
    jobs, absent = {}, {}
    for ask in asks:
        try:
            jobs[ask] = list(ask.jobs(request, ready, seed=seed))
        except ProbeError as error:  # what a study refuses, it refuses before it runs
            absent[ask.study] = f"Not measured: {error}."
    return jobs, absent


def needed_jobs(requests: Sequence[Request], *, seed: int = 0) -> list[Job]:
    """The studies of some networks that a claim would choose, and no others."""
    candidates: list[tuple[Piece, Job]] = []
    for request in requests:
        ready = request.prepared()
        asks = [ask for ask in claim_asks() if _says_something(ask, ready)]
        for ask, jobs in fitting_jobs(asks, request, ready, seed=seed)[0].items():
            candidates += [(_piece(ask.study, job.networks[0]), job) for job in jobs]
    wanted = needed(piece for piece, _ in candidates)
    return [job for piece, job in candidates if any(_alike(piece, one) for one in wanted)]


def _says_something(ask: Ask, ready: Prepared) -> bool:
    """Whether a claim could be about such a study of such a network."""
    chain, family = ready.chain, ready.network.arch.family
    if ask.study == "lesion-permute-tau" and min(map(len, chain.stages)) < 4:
        return False
    if ask.study in ("lesion-counts", "lesion-duplicate") and len(chain) < max(COUNTS):
        return False
    if ask.initial and family != "preresnet":
        return False
    return chain.residual or ask.study in ("lesion", "responses")


def _piece(study: str, ready: Prepared) -> Piece:
    return Piece(
        study=study,
        arch=ready.network.arch.spec,
        table=pd.DataFrame(),
        blocks=len(ready.chain),
        residual=ready.chain.residual,
        data=ready.image_set.name,
    )


def _alike(one: Piece, other: Piece) -> bool:
    return (one.study, one.arch) == (other.study, other.arch)


def first_images(prepared: Prepared, count: int | None) -> Prepared:
    """The same on the first images only."""
    if count is None or count >= len(prepared.images):
        return prepared
    return replace(
        prepared,
        image_set=prepared.image_set.take(count),
        images=prepared.images[:count],
        labels=prepared.labels[:count],
    )


def _orders() -> dict[str, Any]:
    return {"edit": "permute", "tau": TAUS, "draws": DRAWS}


def _fitting(name: str, value: Any, ready: Prepared) -> Any:
    """Of several counts or values of τ, those that the network can have; the first at least."""
    from resnet_probe.studies.plan import reachable_taus

    if name == "counts":
        most = sum(block.keeps_shape for block in ready.chain)
        return tuple(count for count in value if count < most) or value[:1]
    if name == "tau":
        return reachable_taus(ready.chain, value) or value[:1]
    return value


def _data(request: Request, ready: Prepared) -> str | None:
    """The images of a network that knows its own, for one that does not."""
    return request.data or ready.image_set.name


def structures(names: Sequence[str]) -> Iterator[Result]:
    """One result a network, or a part of one, by name."""
    for name in names:
        row = _weights_of(*PARTS[name]) if name in PARTS else _count(name)
        identity = {"study": "structure", "arch": name}
        yield Result("structure", pd.DataFrame([{"arch": name, **row}]), {"identity": identity})


def _count(name: str) -> dict[str, int]:
    from resnet_probe.models import paper_tables

    size = paper_tables.size(name)
    return {"parameters": size.parameters, "multiply_adds": size.multiply_adds}


def _weights_of(name: str, part: str) -> dict[str, int]:
    """The convolution weights of one block."""
    import torch

    from resnet_probe import models

    with torch.device("meta"):
        block = models.architecture(name).build(seed=0).get_submodule(part)
    return {"parameters": sum(w.numel() for w in block.parameters() if w.dim() == 4)}
