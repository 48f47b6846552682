"""One study of one network, or of several together: found where it lies, or measured and kept.

Commands, reports, ledgers and scripts all ask through `Job`, so that what one of them has measured
the others find: the same settings have the same identity and the same folder.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared
from resnet_probe.loading.request import Request
from resnet_probe.loading.training_images import Recalibration, Training, training_images
from resnet_probe.results import FORMATS, Journal, Result, provenance, refuse_other
from resnet_probe.runs.catalogue import Row, row
from resnet_probe.studies.study import Progress, Resources, Run, Subject

if TYPE_CHECKING:
    from resnet_probe.settings import Settings

RUNS = Path("runs")
LIBRARIES = ("resnet-probe", "torch", "torchvision", "numpy", "pandas", "scipy")
NO_TRAINING = Training(None, {})


class Obtained(NamedTuple):
    """A result, the folder that holds it, and whether it was there already."""

    result: Result
    folder: Path
    found: bool


@dataclass(frozen=True)
class Job:
    """A row of the catalogue with its settings, fitted to networks that are ready.

    Raises `ProbeError` for what the study refuses, before anything is run or written.
    """

    row: Row
    asked: Settings
    networks: tuple[Prepared, ...] = field(repr=False)
    requests: tuple[Request, ...]
    training: Training = field(repr=False, default=NO_TRAINING)
    recalibration: Recalibration = field(default_factory=Recalibration)

    def __post_init__(self) -> None:
        if self.recalibration.recalibrate is not None and not self.row.study.training:
            raise ProbeError(f"recalibrate= is not for {self.row.name}")
        if len(self.networks) > 1 and not self.row.study.several:
            raise ProbeError(f"{self.row.name} measures one network at a time")
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
    ) -> Job:
        """Prepare the networks, where they are not at hand, and the training images."""
        asked = recalibration or Recalibration()
        ready = tuple(networks or (request.prepared() for request in requests))
        training = training_images(ready[0], requests[0], asked)
        return cls(row, settings, ready, tuple(requests), training, asked)

    @cached_property
    def settings(self) -> Settings:
        """As they are for these networks: what determines the table."""
        from resnet_probe.studies.checks import check_data

        for subject in self.subjects:
            check_data(subject.chain, subject.images, subject.labels)
        fitted = [self.row.study.fit(subject, self.asked) for subject in self.subjects]
        return fitted[0]

    @property
    def subjects(self) -> list[Subject]:
        return [Subject(n.chain, n.images, n.labels, self.training.images) for n in self.networks]

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
        }

    @property
    def command(self) -> str:
        """What measures the same again, from the same working folder."""
        words = [*_network_words(self.requests), *self._limit_words(), *self.asked.words()]
        words += self.recalibration.words()
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
        names = "+".join(slug_of(network.network.arch.spec) for network in self.networks)
        return "-".join([self.study, *marks, names, slug(self.networks[0].image_set.name)])

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
        compare: str | None = None,
        columns: int | None = None,
        formats: Sequence[str] | None = None,
        say: Callable[[str], None] = print,
    ) -> Obtained:
        """The result in `folder`: as it is there, else measured and saved.

        `compare`, `columns` and `formats` are of the figures, which are drawn again for them.

        What is there and cannot be used is said, and made again; an interrupted measurement goes on
        where it was.  Raises `ProbeError` for a folder that
        holds something else or cannot be written, and what the study raises while it runs.
        """
        there = self.found(folder, say=say)
        if there is not None:
            if compare or columns or formats:
                _save(there.result, folder, compare, columns, formats)
            return there
        refuse_other(folder, self.identity)
        journal = Journal(folder, self.identity)
        with journal:
            try:
                result = self.measure(Run(resources or Resources(), journal, progress))
                _save(result, folder, compare, columns, formats)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(_how_on(folder, journal)) from None
            journal.discard()
        return Obtained(result, folder.resolve(), False)

    def measure(self, run: Run) -> Result:
        """The result, with what a reader has to know to make it again."""
        study, count = self.row.study, len(self.networks)
        results = [
            study.run(subject, self.settings, _named(run, place, count))
            for place, subject in enumerate(self.subjects)
        ]
        result = results[0] if count == 1 else _put_together(results)
        record = {**self.facts, **result.provenance, "identity": self.identity}
        return replace(result, provenance=record)

    @property
    def facts(self) -> dict[str, Any]:
        """The command, versions and machine of a run."""
        return {
            "command": self.command,
            "versions": {"python": platform.python_version(), **versions()},
            "device": device_name(self.networks[0].chain.device),
            "platform": platform.platform(),
            "known_error_pct": self.networks[0].network.known_error_pct,
            "classes": self.networks[0].chain.classes,
        }


def obtained(
    name: str,
    *requests: Request,
    root: Path | None = None,
    folder: Path | None = None,
    compare: str | None = None,
    **settings: Any,
) -> Obtained:
    """The study of that name: as it lies in `folder`, else measured and kept there.

    By default the folder is that of the command, under `root` (`runs`), so that either finds what
    the other has measured.  `settings` are the study's own, as `counts=(1, 2, 3)`; `compare` is
    drawn beside.  Raises `ProbeError` for unknown names, and what `Job.obtain` does.
    """
    chosen = row(name)
    job = Job.of(chosen, chosen.study.settings(**settings), requests)
    return job.obtain(folder or job.folder(root), compare=compare)


def announcement(prepared: Prepared) -> str:
    """What is about to be measured, so that a wrong choice is seen at once."""
    network, chain = prepared.network, prepared.chain
    known = network.known_error_pct
    where = f" on {network.card.images_called}" if network.card else ""
    error = f", known error {known:.2f} %{where}" if known is not None else ""
    note = f" ({prepared.image_set.note})" if prepared.image_set.note else ""
    lines = [
        f"{network.arch.spec}: {len(chain)} {chain.unit}s, weights: {network.source}{error}",
        f"{len(prepared.images):,} images of {prepared.image_set.name}{note}",
        *prepared.remarks,
    ]
    return "\n".join(lines)


def versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # run from a checkout that was not installed
    return found


def device_name(device: Any) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def _save(
    result: Result,
    folder: Path,
    compare: str | None,
    columns: int | None,
    formats: Sequence[str] | None,
) -> None:
    from resnet_probe import figures

    drawn = figures.draw_all(result, compare=compare, columns=columns or 2)
    result.save(folder, figures=drawn, formats=formats or FORMATS)


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
    names = ["--arch", *(str(request.arch) for request in requests)]
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


def slug_of(spec: str) -> str:
    """A network's name for use in the name of a folder."""
    return re.sub(r"[^\w.+]+", "-", spec).strip("-.")


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
