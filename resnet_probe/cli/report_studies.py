"""Which studies a report runs on a network, on how many images, and how each is run alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.lesion import identity_of
from resnet_probe.cli.report_command import command_of
from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared

if TYPE_CHECKING:
    from resnet_probe.results import Result

COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
TAUS = (0.98, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
DRAWS = 30


@dataclass(frozen=True)
class Size:
    """How many images at most, for the studies of errors and for the two that take longest."""

    images: int | None
    paths: int
    signs: int
    samples: int
    attribute: int


QUICK = Size(images=1000, paths=128, signs=8, samples=200, attribute=64)
FULL = Size(images=None, paths=512, signs=8, samples=400, attribute=256)


@dataclass(frozen=True)
class Planned:
    """One study of a report: what determines it, how to run it, and the command that does so.

    `weight` is about how long it takes beside the others; `journaled` ones go on where they were.
    """

    study: str
    prepared: Prepared
    identity: dict[str, Any] = field(repr=False)
    measure: Callable[..., Result] = field(repr=False)
    command: str
    weight: float
    journaled: bool = False


def plan_studies(prepared: Prepared, options: Namespace) -> tuple[list[Planned], dict[str, str]]:
    """The studies of a report in their order, and why those that do not apply are left out.

    Raises `ProbeError` for fewer than two images, on which nothing has a spread.
    """
    from resnet_probe.studies.checks import check_spread

    check_spread(prepared.images, "report")
    size = FULL if options.full else QUICK
    all_images = _first(prepared, size.images)
    counted: dict[str, Any] = {"counts": _counts(prepared), "draws": DRAWS}
    ordered: dict[str, Any] = {"edit": "permute", "tau": _taus(prepared), "draws": DRAWS}
    parts: list[tuple[str, Callable[[], Planned]]] = [
        ("lesion", lambda: _lesion(all_images, options, weight=1.0)),
        ("lesion-counts", lambda: _lesion(all_images, options, weight=12.0, **counted)),
        ("lesion-permute-tau", lambda: _lesion(all_images, options, weight=10.0, **ordered)),
        ("paths", lambda: _paths(_first(prepared, size.paths), options, size)),
        ("responses", lambda: _responses(all_images, options)),
        ("lens", lambda: _lens(all_images, options)),
        ("attribute", lambda: _attribute(_first(prepared, size.attribute), options)),
    ]
    if not options.full:
        parts = [part for part in parts if not part[0].startswith("lesion-")]
    planned, absent = [], {}
    for study, part in parts:
        try:
            planned.append(part())
        except ProbeError as error:  # what a study refuses, it refuses before it runs
            absent[study] = f"Not measured: {error}."
    return planned, absent


def _first(prepared: Prepared, count: int | None) -> Prepared:
    """The same on the first images only."""
    if count is None or count >= len(prepared.images):
        return prepared
    return replace(
        prepared,
        image_set=prepared.image_set.take(count),
        images=prepared.images[:count],
        labels=prepared.labels[:count],
    )


def _counts(prepared: Prepared) -> list[int]:
    return [count for count in COUNTS if count < len(prepared.chain)]


def _taus(prepared: Prepared) -> list[float]:
    """Those that orders of these blocks inside their stages can have; at least the first is tried,
    so that a network without any says why."""
    from resnet_probe.studies.plan import plan

    found = []
    for tau in TAUS:
        try:
            plan(prepared.chain, "permute", tau=[tau], draws=1)
        except ProbeError:
            continue
        found.append(tau)
    return found or [TAUS[0]]


def _lesion(
    prepared: Prepared,
    options: Namespace,
    *,
    weight: float,
    edit: str = "delete",
    counts: list[int] | None = None,
    tau: list[float] | None = None,
    draws: int = 60,
) -> Planned:
    from resnet_probe.studies.lesion import lesion
    from resnet_probe.studies.plan import name_of, plan

    settings: dict[str, Any] = {
        "edit": edit, "counts": counts, "draws": draws, "tau": tau, "seed": options.seed,
        "unit": "block",
    }  # fmt: skip
    plan(prepared.chain, **settings)  # refuses what cannot be drawn
    study = name_of(edit, counts=counts, tau=tau)
    words: list[str] = [] if edit == "delete" else ["--edit", edit]
    for name, values in (("--counts", counts), ("--tau", tau)):
        words += [name, ",".join(map(str, values))] if values else []
    words += ["--draws", str(draws)] if counts or tau else []
    return Planned(
        study,
        prepared,
        identity_of(study, settings, prepared, exact=False),
        _on(lesion, prepared, options, **settings),
        command_of("lesion", prepared, options, words),
        weight,
        journaled=True,
    )


def _paths(prepared: Prepared, options: Namespace, size: Size) -> Planned:
    from resnet_probe.studies.paths import paths
    from resnet_probe.studies.paths.request import request

    settings: dict[str, Any] = {
        "method": "every", "signs": size.signs, "samples": size.samples, "images_per_path": 4,
        "max_length": None, "at": "input", "precision": "float32", "seed": options.seed,
    }  # fmt: skip
    asked = request(prepared.chain, **settings)
    words = ["--signs", str(size.signs), "--samples", str(size.samples)]
    words += ["--limit", str(len(prepared.images))]
    identity = {"study": "paths", **prepared.identity, **settings, "at": asked.at}
    measure = _on(paths, prepared, options, **settings)
    command = command_of("paths", prepared, options, words)
    return Planned("paths", prepared, identity, measure, command, weight=4.0)


def _responses(prepared: Prepared, options: Namespace) -> Planned:
    from resnet_probe.studies.responses import responses, together

    def measure(**given: Any) -> Result:
        return together([_on(responses, prepared, options)(**given)])

    identity = {"study": "responses", **prepared.identity, "init": False}
    command = command_of("responses", prepared, options, seeded=False)
    return Planned("responses", prepared, identity, measure, command, weight=1.0)


def _lens(prepared: Prepared, options: Namespace) -> Planned:
    from resnet_probe.studies.lens import lens

    identity = {"study": "lens", **prepared.identity}
    command = command_of("lens", prepared, options, seeded=False)
    return Planned(
        "lens", prepared, identity, _on(lens, prepared, options), command, weight=0.3
    )  # fmt: skip


def _attribute(prepared: Prepared, options: Namespace) -> Planned:
    from resnet_probe.studies.attribution import attribute
    from resnet_probe.studies.attribution.request import request

    settings: dict[str, Any] = {"methods": None, "permutations": None, "seed": options.seed}
    asked = request(prepared.chain, **settings)
    identity = {
        "study": "attribute", **prepared.identity, "methods": list(asked.methods),
        "permutations": asked.permutations, "seed": options.seed, "exact": False,
    }  # fmt: skip
    words = ["--limit", str(len(prepared.images))]
    measure = _on(attribute, prepared, options, **settings)
    command = command_of("attribute", prepared, options, words)
    return Planned("attribute", prepared, identity, measure, command, weight=4.0, journaled=True)


def _on(
    study: Callable[..., Result], prepared: Prepared, options: Namespace, **settings: Any
) -> Callable[..., Result]:
    return partial(
        study, prepared.chain, prepared.images, prepared.labels, **settings,
        **shared.run_options(options),
    )  # fmt: skip
