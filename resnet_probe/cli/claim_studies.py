"""The studies that claims are judged on: their options, what identifies a run, how each is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resnet_probe.loading import Prepared

if TYPE_CHECKING:
    from resnet_probe.results import Result

Loader = Callable[..., Prepared]

FEW = 200
"""Images, where a study has many random edits or initial weights."""
SEEDS = 5
"""Initial weights."""
COUNTS = (1, 5, 10, 15, 20)
DOUBLED = (5, 10)
TAUS = (0.99, 0.95, 0.91, 0.87)
DRAWS = 20
STRUCTURES = (*(f"resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202)), "resnet50")
PARTS = {
    "bottleneck/weights": ("resnet50", "layer1.1"),
    "bottleneck/weights/plain": ("resnet34", "layer3.1"),
}
"""Blocks of torchvision's networks on 256 channels: a bottleneck, and two 3×3 layers."""


@dataclass(frozen=True)
class Kind:
    """A study as the claims ask for it; `settings` are those of its command, `limit` on images.

    `fresh` networks are freshly initialised ones, of which several are measured.
    """

    study: str
    settings: dict[str, Any]
    limit: int | None = None
    only_residual: bool = False
    fresh: bool = False

    @property
    def command(self) -> str:
        """What the study is called in its own provenance."""
        return "responses" if self.fresh else self.study

    def fits(self, network: Prepared) -> bool:
        """Whether it can be made of such a network."""
        chain, family = network.chain, network.network.arch.family
        if self.study == "lesion-permute-tau" and min(map(len, chain.stages)) < 4:
            return False
        if self.study in ("lesion-counts", "lesion-duplicate") and len(chain) < max(COUNTS):
            return False
        return (chain.residual or not self.only_residual) and (
            not self.fresh or family == "preresnet"
        )

    def identity(self, network: Prepared, seed: int) -> dict[str, Any]:
        """What determines the table: the same entries as those of the study's own command."""
        seeded = {} if self.study == "responses" else {"seed": seed}
        return {"study": self.command, **network.identity, **self.settings, **seeded}

    def run(self, network: Prepared, load: Loader, seed: int, options: dict[str, Any]) -> Result:
        """Make the study; `options` are `batch`, `memory` and `progress`."""
        if self.fresh:
            return _fresh(network, load, seed, options)
        parts: tuple[Any, Any, Any] = network.chain, network.images, network.labels
        if self.study == "responses":
            from resnet_probe.studies.responses import responses

            return responses(*parts, **options)
        if self.study == "paths":
            from resnet_probe.studies.paths import paths

            return paths(*parts, **{**self.settings, "seed": seed, **options})
        from resnet_probe.studies.lesion import lesion

        return lesion(*parts, **{**self.settings, "seed": seed, **options})


def _lesion(study: str, *, limit: int | None = None, **settings: Any) -> Kind:
    given = {"edit": "delete", "counts": None, "draws": DRAWS, "tau": None, **settings}
    return Kind(study, {**given, "exact": False}, limit, study != "lesion")


KINDS = (
    _lesion("lesion", draws=60),
    _lesion("lesion-counts", counts=list(COUNTS), limit=FEW),
    _lesion("lesion-permute-tau", edit="permute", tau=list(TAUS), limit=FEW),
    _lesion("lesion-duplicate", edit="duplicate", counts=list(DOUBLED), limit=FEW),
    Kind(
        "paths",
        {"method": "every", "signs": 2, "samples": 200, "images_per_path": 4, "max_length": None,
         "at": "input", "precision": "float32"},
        limit=32,
        only_residual=True,
    ),
    Kind("responses", {"init": False}),
    Kind("responses-init", {"init": True, "seeds": SEEDS}, FEW, only_residual=True, fresh=True),
)  # fmt: skip


def _fresh(network: Prepared, load: Loader, seed: int, options: dict[str, Any]) -> Result:
    """`responses` of several fresh networks, their batch-norm statistics those of the images."""
    import pandas as pd

    from resnet_probe.engine.recalibrate import recalibrated
    from resnet_probe.studies.responses import responses

    found, tables = None, []
    progress = options.get("progress") or (lambda done, total: None)
    rest = {key: value for key, value in options.items() if key != "progress"}
    for place in range(SEEDS):
        fresh = load(network.network.arch.spec, seed=seed + place)
        chain = recalibrated(fresh.chain, fresh.images, memory=options["memory"])
        found = responses(chain, fresh.images, fresh.labels, **rest)
        tables.append(found.table.assign(seed=seed + place))
        progress(place + 1, SEEDS)
    assert found is not None
    return replace(found, table=pd.concat(tables, ignore_index=True))


def structures(names: Sequence[str]) -> Iterator[Result]:
    """Parameters and multiply-adds of architectures by name, counted without weights or images."""
    import pandas as pd

    from resnet_probe.results import Result

    for name in names:
        row = _weights_of(*PARTS[name]) if name in PARTS else _count(name)
        identity = {"study": "structure", "arch": name}
        yield Result("structure", pd.DataFrame([{"arch": name, **row}]), {"identity": identity})


def _count(name: str) -> dict[str, int]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from resnet_probe import models

    arch = models.architecture(name)
    with torch.device("meta"), torch.no_grad():  # shapes are enough
        model = arch.build(seed=0).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, *arch.input_shape))
    parameters = sum(weight.numel() for weight in model.parameters())
    return {"parameters": parameters, "multiply_adds": counter.get_total_flops() // 2}


def _weights_of(name: str, part: str) -> dict[str, int]:
    """The convolution weights of one block."""
    import torch

    from resnet_probe import models

    with torch.device("meta"):
        block = models.architecture(name).build(seed=0).get_submodule(part)
    return {"parameters": sum(w.numel() for w in block.parameters() if w.dim() == 4)}
