"""Which studies a report and a ledger of claims ask of a network, and on how many images.

Both ask here, so that what the one has measured the other finds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from resnet_probe.claims import flows
from resnet_probe.claims.controls import RENEWED
from resnet_probe.claims.identities import BILLIONS, ORIGINAL
from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared
from resnet_probe.loading.request import Request
from resnet_probe.loading.training_images import Recalibration
from resnet_probe.runs.catalogue import row
from resnet_probe.runs.job import Job
from resnet_probe.settings import Settings

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
TAUS = (0.99, 0.98, 0.95, 0.91, 0.87, 0.8, 0.75, 0.7)
DOUBLED = (1, 5, 10)
DRAWS = 40
"""Of each number of edits, or each τ: enough for the rules on draws to pass where they should."""
FEW = 200
"""Images, where many random edits are made of each."""
SEEDS = 5
"""Initial weights."""
STATISTICS = 500
"""Training images that statistics are re-estimated on."""
FRESH_IMAGES = 100
"""Of which what changes with the initial weights is seen."""
SOME, MORE = 500, 1000
"""Images, for what takes several times as long as a lesion, and for what takes about as long."""
LONG = ("lesion-counts", "lesion-permute-tau", "lesion-ranges", "greedy", "gates", "influence",
        "interactions")  # fmt: skip
"""What a report asks only in full."""
STRUCTURES = (
    *(f"resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202)),
    "resnet50",
    *(f"resnet{depth}{ORIGINAL}" for depth in BILLIONS),
)
PARTS = {
    "bottleneck/weights": ("resnet50", "layer1.1"),
    "bottleneck/weights/plain": ("resnet34", "layer3.1"),
}
"""Blocks of torchvision's networks on 256 channels: a bottleneck, and two 3×3 layers."""


CHECKPOINTS = {"resnet20-12fca82f.th": "resnet20", "resnet56-4bfd9763.th": "resnet56"}
"""Published weights for CIFAR-10 (Idelbayev, "Proper ResNet implementation for CIFAR10/CIFAR100 in
PyTorch"), by the name of their file, which ends in the first digits of its SHA-256."""


@dataclass(frozen=True, eq=False)
class Ask:
    """One study: what its result is called, its row, its settings, and how many images at most.

    `weight` is about how long it takes beside the others; `initial` says that it is of networks
    before training, and how many; `recalibrate` that batch-norm statistics are re-estimated, and on
    how many training images, where the network has batch norm and they are at hand.
    """

    study: str
    row: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    weight: float = 1.0
    initial: int = 0
    recalibrate: int | None = None

    def jobs(self, request: Request, ready: Prepared, *, seed: int = 0) -> Iterator[Job]:
        """The jobs, most often one; raises `ProbeError` for what the study refuses."""
        study = row(self.row).study
        named = [each.name for each in study.settings.options()]
        given = {**self.settings, **({"seed": seed} if "seed" in named else {})}
        given = {name: _fitting(name, value, ready) for name, value in given.items()}
        for place in range(self.initial):
            fresh = replace(
                request.fresh(seed + place), data=_data(request, ready), normalize=ready.normalize
            )
            network = first_images(fresh.prepared(), self.images)
            settings = study.settings.of({**given, "init": True})
            yield Job.of(row(self.row), settings, [fresh], networks=[network])
        if not self.initial:
            yield self._job(request, first_images(ready, self.images), study.settings.of(given))

    def _job(self, request: Request, network: Prepared, settings: Settings) -> Job:
        """With re-estimated statistics beside its own where they can be had."""
        asked = self.recalibration(network)
        made = partial(Job.of, row(self.row), settings, [request], networks=[network])
        try:
            return made(recalibration=asked)
        except ProbeError:
            if asked is None or self.study == RENEWED:
                raise
            return made()

    def recalibration(self, ready: Prepared) -> Recalibration | None:
        """None where statistics are not asked for, or cannot be re-estimated."""
        from resnet_probe import data
        from resnet_probe.engine.recalibrate import has_batch_norm

        source = data.beside(ready.image_set.name)
        if self.recalibrate is None or source is None or not has_batch_norm(ready.chain):
            return None
        own = None if source == ready.image_set.name else source
        return Recalibration(recalibrate=self.recalibrate, recalibrate_data=own)


def report_asks(*, full: bool) -> tuple[Ask, ...]:
    """What a report is made of: in minutes, or in full."""
    images, paths, shares = (None, 512, 256) if full else (1000, 64, 64)
    asks = (
        Ask("lesion", "lesion", {}, images, 2.0, recalibrate=STATISTICS),
        Ask("control", "control", {}, None if full else SOME, 4.0 if full else 2.0),
        Ask("lesion-counts", "lesion", {"counts": COUNTS, "draws": DRAWS}, images, 12.0),
        Ask("lesion-permute-tau", "lesion", _orders(), images, 10.0),
        Ask("lesion-ranges", "lesion", {"edit": "ranges"}, FEW, 8.0),
        Ask("greedy", "greedy", {}, SOME, 10.0),
        Ask("gates", "gates", {}, SOME, 6.0),
        Ask("influence", "influence", {}, FEW, 2.0),
        Ask("interactions", "interactions", {}, FEW, 6.0),
        Ask("paths", "paths", {"signs": 8, "samples": 200}, paths, 4.0),
        Ask("responses", "responses", {}, images, 1.0),
        Ask("lens", "lens", {}, images, 0.3),
        Ask("attribute", "attribute", {}, shares, 4.0),
    )
    return tuple(ask for ask in asks if full or ask.study not in LONG)


def claim_asks() -> tuple[Ask, ...]:
    """What the claims are judged on."""
    return (
        Ask("lesion", "lesion"),
        Ask(RENEWED, "lesion", {}, MORE, recalibrate=STATISTICS),
        Ask("control", "control", {}, SOME),
        Ask("lesion-counts", "lesion", {"counts": COUNTS, "draws": DRAWS}, FEW),
        Ask("lesion-permute-tau", "lesion", _orders(), FEW),
        Ask("lesion-duplicate", "lesion",
            {"edit": "duplicate", "counts": DOUBLED, "draws": DRAWS}, FEW),
        Ask("paths", "paths", {"signs": 8, "samples": 200}, 64),
        Ask("responses", "responses", {}, MORE),
        Ask("responses-init", "responses", {}, FEW, initial=SEEDS),
        Ask("flow", "flow", {}, FEW),
        Ask("append", "append", {}, 64),
    )  # fmt: skip


def twin_asks() -> tuple[Ask, ...]:
    """What the untrained twins are judged on beside them."""
    return (
        Ask("lesion", "lesion", {}, FEW),
        Ask("control", "control", {}, FEW),
        Ask("paths", "paths", {"signs": 8, "samples": 200}, 64),
        Ask("responses", "responses", {}, FEW),
        Ask("flow", "flow", {}, FEW),
    )


def fresh_asks() -> tuple[Ask, ...]:
    """What networks are asked that are looked at before training only."""
    return (Ask(flows.FRESH, "flow", {}, FRESH_IMAGES, initial=SEEDS),)


def fresh_requests() -> list[Request]:
    """Networks that claims about initial weights are about, on the digits."""
    halved = [f"resnet{depth}{option}" for depth in (20, 56, 110) for option in ("", flows.HALF)]
    return [
        Request(arch=arch, weights="initial:0", data="digits", normalize="none")
        for arch in (*halved, f"resnet56{flows.BEFORE}")
    ]


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


def checkpoints(
    folder: Path, data: str, *, say: Callable[[str], None] = print, **options: Any
) -> Iterator[Request]:
    """A request for each published checkpoint in a folder; `say` is told those that are not there.

    Raises `ProbeError` for a folder without any, and a file that is not what its name says.
    """
    there = [name for name in CHECKPOINTS if (folder / name).is_file()]
    if not there:
        raise ProbeError(
            f"checkpoints={folder}: none of {', '.join(CHECKPOINTS)} is in that folder"
        )
    for name, arch in CHECKPOINTS.items():
        if name not in there:
            say(f"Without the published {arch}: {name} is not in {folder}")
            continue
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if not digest.startswith(name.partition("-")[2].partition(".")[0]):
            raise ProbeError(f"{folder / name} is another file: its SHA-256 begins {digest[:8]}")
        weights = str(folder / name)
        yield Request(arch=arch, weights=weights, normalize="imagenet", data=data, **options)


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


def counts_of(name: str) -> dict[str, int]:
    """What is counted of a network, or of a part of one, by name."""
    from resnet_probe.models import paper_tables

    if name in PARTS:
        return _weights_of(*PARTS[name])
    size = paper_tables.size(name)
    return {"parameters": size.parameters, "multiply_adds": size.multiply_adds}


def _weights_of(name: str, part: str) -> dict[str, int]:
    """The convolution weights of one block."""
    import torch

    from resnet_probe import models

    with torch.device("meta"):
        block = models.architecture(name).build(seed=0).get_submodule(part)
    return {"parameters": sum(w.numel() for w in block.parameters() if w.dim() == 4)}
