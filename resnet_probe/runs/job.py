"""One study of one network, or of several together: found where it lies, or measured and kept.

Commands, reports, ledgers and scripts all ask through `Job`, so that what one of them has measured
the others find: the same settings have the same identity and the same folder.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_probe.errors import ProbeError
from resnet_probe.findings.sentence import counted
from resnet_probe.loading import Prepared
from resnet_probe.loading.request import Request
from resnet_probe.loading.training_images import Recalibration, Training, training_images
from resnet_probe.results import FORMATS, Journal, Result, provenance, refuse_other, unless_refused
from resnet_probe.runs.catalogue import Row, row
from resnet_probe.runs.parts import PART, Parts, gathered
from resnet_probe.settings import as_file_name
from resnet_probe.studies.parts import Part, share_of
from resnet_probe.studies.study import (
    Arrays,
    Calibration,
    Progress,
    Resources,
    Run,
    Subject,
    Together,
)

if TYPE_CHECKING:
    from resnet_probe.settings import Settings
    from resnet_probe.training import Team

RUNS = Path("runs")
LIBRARIES = ("resnet-probe", "torch", "torchvision", "numpy", "pandas", "scipy")
NO_TRAINING = Training(None, {})


class Obtained(NamedTuple):
    """A result, the folder that holds it, and whether it was there already."""

    result: Result
    folder: Path
    found: bool


class Look(NamedTuple):
    """How figures are drawn: published results beside, columns of a paper, formats of the files.

    No formats at all, `()`, draw none.
    """

    compare: str | None = None
    columns: int | None = None
    formats: Sequence[str] | None = None

    def save(self, result: Result, folder: Path) -> None:
        """The result with its figures; raises `ProbeError` as `Result.save` does."""
        formats = FORMATS if self.formats is None else self.formats
        result.save(folder, figures=_drawn(result, self) if formats else None, formats=formats)

    def missing(self, folder: Path) -> bool:
        """Whether a folder lacks figures that are wanted."""
        wanted = self.formats is None or len(self.formats) > 0
        return wanted and (any(self) or not any(folder.glob("*.[ps][nvd][gf]")))


@dataclass(frozen=True)
class Job:
    """A row of the catalogue with its settings, fitted to networks that are ready.

    With `part` the result is what is gathered of a part of the images, for `whole` to put together.
    Raises `ProbeError` for what the study refuses, before anything is run or written.
    """

    row: Row
    asked: Settings
    networks: tuple[Prepared, ...] = field(repr=False)
    requests: tuple[Request, ...]
    training: Training = field(repr=False, default=NO_TRAINING)
    recalibration: Recalibration = field(default_factory=Recalibration)
    part: Part | None = None

    def __post_init__(self) -> None:
        asked = self.recalibration
        for name in ("recalibrate", "calibrate"):
            if getattr(asked, name) is not None and not self.row.study.training:
                raise ProbeError(f"{name}= is not for {self.row.name}")
        if len(self.networks) > 1 and not self.row.study.several:
            raise ProbeError(f"{self.row.name} measures one network at a time")
        names = [network.network.arch.spec for network in self.networks]
        if self.row.study.several == "apart" and len(set(names)) < len(names):
            raise ProbeError(f"arch='{' '.join(names)}': {self.row.name} takes each network once")
        if self.part is not None:
            if len(self.networks) > 1 and self.row.study.several == "together":
                raise ProbeError(f"part={self.part}: {self.row.name} of several networks is whole")
            for network in self.networks:
                share_of(self.row.study, self.asked, self.part, len(network.images))
        _ = self.settings

    @classmethod
    def of(
        cls,
        row: Row,
        settings: Settings,
        requests: Sequence[Request],
        *,
        recalibration: Recalibration | None = None,
        networks: Sequence[Prepared] | None = None,
        part: Part | None = None,
    ) -> Job:
        """Prepare the networks, where they are not at hand, and the training images."""
        asked = recalibration or Recalibration()
        ready = tuple(networks or (request.prepared() for request in requests))
        training = training_images(ready[0], requests[0], asked)
        return cls(row, settings, ready, tuple(requests), training, asked, part)

    @cached_property
    def settings(self) -> Settings:
        """As they are for these networks: what determines the table."""
        for subject in self.subjects:
            self.row.study.check(subject)
        fitted = [self.row.study.fit(subject, self.asked) for subject in self.subjects]
        return fitted[0]

    @property
    def subjects(self) -> list[Subject]:
        """What is measured one by one: each network, or the first with the others beside it."""
        from resnet_probe.studies.checks import fitted

        training, given = self.training.images, self.training.calibration
        values = None if given is None else Calibration(*given)
        found = [
            Subject(*fitted(n.chain, n.images, n.labels), training, values) for n in self.networks
        ]
        if len(found) > 1 and self.row.study.several == "together":
            return [Together.of(found[0], found[1:])]
        return found

    @property
    def study(self) -> str:
        """What the result is called."""
        return self.row.study.called(self.settings)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What determines the table: the same identity, the same numbers."""
        return {
            "study": self.study,
            **_together(self.networks),
            **self.settings.values,
            **self.training.identity,
            **({} if self.part is None else {PART: str(self.part)}),
        }

    @property
    def command(self) -> str:
        """What measures the same again, from the same working folder."""
        words = [*_network_words(self.requests), *self._limit_words(), *self.asked.words()]
        words += self.recalibration.words()
        words += [] if self.part is None else ["--part", str(self.part)]
        return shlex.join(["python", "-m", "resnet_probe", self.row.name, *words])

    def _limit_words(self) -> list[str]:
        limit, images = self.requests[0].limit, len(self.networks[0].images)
        return [] if limit == self.row.study.limit else ["--limit", str(images)]

    @property
    def stem(self) -> str:
        """`STUDY-NETWORK-DATA`."""
        from resnet_probe.data import slug

        marks = ["layers"] if self.settings.values.get("unit") == "layer" else []
        marks += ["recalibrated"] if self.training.images is not None else []
        specs = [network.network.arch.spec for network in self.networks]
        names = "+".join(map(as_file_name, dict.fromkeys(specs)))
        marks += [f"of-{len(specs)}"] if len(set(specs)) < len(specs) else []
        name = "-".join([self.study, *marks, names, slug(self.networks[0].image_set.name)])
        return name if self.part is None else named_part(name, self.part)

    def folder(self, root: Path | None = None) -> Path:
        """Where its result is, or goes to: `root/STUDY-NETWORK-DATA`, or apart from that."""
        return place_apart((RUNS if root is None else root) / self.stem, self.identity)

    def found(self, folder: Path, *, say: Callable[[str], None] | None = None) -> Obtained | None:
        """The result of an earlier run in `folder` that is whole and has this identity."""
        try:
            result = Result.load(folder)
        except ProbeError as error:
            if say is not None and folder.exists():
                say(f"{self.study}: {error}")
            return None
        differs = provenance.difference(self.identity, result.identity)
        return None if differs else Obtained(result, folder.resolve(), True)

    def obtain(
        self,
        folder: Path,
        *,
        resources: Resources | None = None,
        progress: Progress | None = None,
        look: Look | None = None,
        say: Callable[[str], None] = print,
        parts: Parts | None = None,
    ) -> Obtained:
        """The result in `folder`: as it is there, else measured, or of `parts`, and saved.

        A `look` is of the figures, which are drawn again for it.
        What is there and cannot be used is said, and made again; an interrupted measurement goes on
        where it was.  Raises `ProbeError` for a folder that
        holds something else or cannot be written, and what the study raises while it runs.
        """
        there = self.found(folder, say=say)
        if there is not None:
            if look is not None and look.missing(folder) and self.part is None:
                look.save(there.result, folder)
            with suppress(ProbeError):  # what another study has begun there is its own
                Journal(folder, self.identity).finish()
            return there
        with unless_refused(folder):
            refuse_other(folder, self.identity)
            with Journal(folder, self.identity) as journal:
                try:
                    run = Run(resources or Resources(), journal, progress)
                    result = self.measure(run, parts)
                    if self.part is not None:
                        result.save(folder)
                    else:
                        (look or Look()).save(result, folder)
                except KeyboardInterrupt:
                    raise KeyboardInterrupt(_how_on(folder, journal)) from None
                journal.discard()
        return Obtained(result, folder.resolve(), False)

    def obtain_with(
        self,
        team: Team,
        folder: Path,
        *,
        resources: Resources | None = None,
        progress: Progress | None = None,
        look: Look | None = None,
    ) -> Obtained | None:
        """What `obtain` gives, each process of a team measuring its part; None but to the first.

        Every part lies in a folder of its own until all of them are there and have been put
        together; so what has been measured is found again, whoever was stopped.
        """
        there = self.found(folder) if team.leads else None
        if team.agreed(int(there is not None)):
            return there
        parts = [Part(rank + 1, team.size) for rank in range(team.size)]
        places = [folder.with_name(named_part(folder.name, part)) for part in parts]
        mine = replace(self, part=parts[team.rank])
        mine.obtain(places[team.rank], resources=resources, progress=progress)
        team.agreed(0)  # until every part is there
        if not team.leads:
            return None
        obtained = self.obtain(folder, parts=Parts.of(places), look=look)
        for place in places:
            shutil.rmtree(place)
        return obtained

    def measure(self, run: Run, parts: Parts | None = None) -> Result:
        """The result, or that of its part, with what a reader has to know to make it again.

        From `parts`, where they are given: raises `ProbeError` where they are not those of this.
        """
        study, count = self.row.study, len(self.subjects)
        runs = [_named(run, place, count) for place in range(count)]
        if self.part is not None:
            began = time.perf_counter()
            result = gathered(study, self.subjects, self.settings, self.part, runs)
            return self._recorded(result, {"seconds": time.perf_counter() - began})
        arrays = [None] * count if parts is None else self._arrays(parts)
        results = [
            study.run(subject, self.settings, one, gathered=given)
            for subject, one, given in zip(self.subjects, runs, arrays, strict=True)
        ]
        result = results[0] if count == 1 else _put_together(results)
        return self._recorded(result, {} if parts is None else parts.facts)

    def _recorded(self, result: Result, more: Mapping[str, Any]) -> Result:
        record = {**self.facts, **result.provenance, **more, "identity": self.identity}
        return replace(result, provenance=record)

    def _arrays(self, parts: Parts) -> list[Arrays]:
        differs = provenance.difference(self.identity, parts.identity)
        if differs:
            raise ProbeError(f"the parts are of another run: {differs}")
        return parts.arrays(self.row.study, self.subjects, self.settings)

    @property
    def facts(self) -> dict[str, Any]:
        """The command, versions and machine of a run."""
        return {
            "command": self.command,
            **machine(),
            "device": device_name(self.networks[0].chain.device),
            "known_error_pct": self.networks[0].network.known_error_pct,
            "classes": self.networks[0].chain.classes,
        }


def obtained(
    name: str,
    *requests: Request,
    root: Path | None = None,
    folder: Path | None = None,
    compare: str | None = None,
    recalibration: Recalibration | None = None,
    **settings: Any,
) -> Obtained:
    """The study of that name: as it lies in `folder`, else measured and kept there.

    By default the folder is that of the command, under `root` (`runs`), so that either finds what
    the other has measured.  `settings` are the study's own, as `counts=(1, 2, 3)`; `compare` is
    drawn beside; `recalibration` says on which training images statistics are re-estimated.  Raises
    `ProbeError` for unknown names, and what `Job.obtain` does.
    """
    chosen = row(name)
    asked = chosen.study.settings(**settings)
    job = Job.of(chosen, asked, requests, recalibration=recalibration)
    return job.obtain(folder or job.folder(root), look=Look(compare))


def _drawn(result: Result, look: Look) -> dict[str, Any]:
    from resnet_probe import figures

    return figures.draw_all(result, compare=look.compare, columns=look.columns or 2)


def announcement(prepared: Prepared) -> str:
    """What is about to be measured, so that a wrong choice is seen at once."""
    network, chain = prepared.network, prepared.chain
    known = network.known_error_pct
    where = f" on {network.card.images_called}" if network.card else ""
    error = f", known error {known:.2f} %{where}" if known is not None else ""
    note = f" ({prepared.image_set.note})" if prepared.image_set.note else ""
    blocks = f"{len(chain)} {chain.unit}{'s' if len(chain) > 1 else ''}"
    lines = [
        f"{network.arch.spec}: {blocks}, weights: {network.source}{error}",
        counted(f"{len(prepared.images):,} {prepared.inputs} of {prepared.image_set.name}")
        + _few_classes(prepared) + note,
        *prepared.remarks,
    ]  # fmt: skip
    return "\n".join(lines)


def _few_classes(prepared: Prepared) -> str:
    """That some classes have no image, as of the first images of a set in the order of classes."""
    labels, classes = prepared.labels, prepared.chain.classes
    if labels.dim() > 1 or labels.is_floating_point() or len(labels) < classes:
        return ""
    there = len(labels.unique())
    return f", of {there} of {classes} classes" if there < classes else ""


def machine() -> dict[str, Any]:
    """What a run was made with, and on."""
    versioned = {"python": platform.python_version(), **versions()}
    return {"versions": versioned, "platform": platform.platform()}


def versions() -> dict[str, str]:
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Looked up on the disk once a process."""
    found = []
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # run from a checkout that was not installed
            found.append((name, version(name)))
    return tuple(found)


def device_name(device: Any) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def _put_together(results: Sequence[Result]) -> Result:
    from resnet_probe.studies.responses import together

    return together(results)


def _named(run: Run, place: int, count: int) -> Run:
    """The run of one of several networks: its own steps in the journal, its part of the bar."""
    if count == 1:
        return run
    journal = None if run.journal is None else _Named(run.journal, f"{place}.")
    part = run.part(1000 * place, 1000, 1000 * count)
    return replace(part, journal=journal)


@dataclass(frozen=True)
class _Named:
    """A journal whose keys begin with a name."""

    journal: Any
    name: str

    def get(self, key: str) -> Any:
        return self.journal.get(self.name + key)

    def put(self, key: str, arrays: Any) -> None:
        self.journal.put(self.name + key, arrays)


def _together(networks: Sequence[Prepared]) -> dict[str, Any]:
    """The identity of one network, or of several with what differs between them listed."""
    identities = [network.identity for network in networks]
    if len({identity["data_sha256"] for identity in identities}) > 1:
        raise ProbeError("networks that are measured together need the same images: give data=")
    return {key: _one([identity[key] for identity in identities]) for key in identities[0]}


def _one(values: list[Any]) -> Any:
    same = all(value == values[0] for value in values)
    return values[0] if same else ", ".join(map(str, values))


def _network_words(requests: Sequence[Request]) -> list[str]:
    """Of several networks the names and weights side by side, the rest once."""
    if len(requests) == 1:
        return requests[0].words()
    archs = [str(request.arch) for request in requests]
    names = ["--arch", *(archs if len(set(archs)) > 1 else archs[:1])]
    weights = [str(request.weights) for request in requests if request.weights is not None]
    rest = replace(requests[0], weights=None).words()[2:]
    return [*names, *(["--weights", *weights] if weights else []), *rest]


def place_apart(
    usual: Path,
    identity: Mapping[str, Any],
    identity_at: Callable[[Path], Any] | None = None,
    occupied: Callable[[Path], bool] | None = None,
) -> Path:
    """`usual`, or beside it, the first digits of the identity's hash behind its name.

    The one of them that holds this identity; else `usual` where nothing is there.
    """
    held = identity_at or _identity_at
    asked = provenance.plain(identity)
    digits = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
    apart = usual.with_name(f"{usual.name}-{digits}")
    for place in (usual, apart):
        if held(place) == asked:
            return place
    return apart if held(usual) is not None or (occupied or _occupied)(usual) else usual


def named_part(name: str, part: Part) -> str:
    """What the folder of a part is called beside that of the whole."""
    return f"{name}-part-{part.number}-of-{part.of}"


def _identity_at(folder: Path) -> Any:
    """The identity of what is in a folder, finished or begun; None where there is none."""
    with_identity = (folder / provenance.FILE, folder.with_name(f"{folder.name}.partial"))
    for path in (with_identity[0], with_identity[1] / "identity.json"):
        try:
            record = provenance.read(path)
        except ProbeError:
            continue
        return record.get("identity") if path.name == provenance.FILE else record
    return None


def _occupied(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _how_on(folder: Path, journal: Journal) -> str:
    if not journal.steps:
        return f"nothing was written to {folder}; run it again"
    return (
        f"nothing was written to {folder}; what was finished lies in {journal.place}, and the same "
        "command goes on from there"
    )
