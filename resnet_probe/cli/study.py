"""The command of a study: its options are those of its settings, its words those of the study."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import Request
from resnet_probe.loading.training_images import Recalibration
from resnet_probe.runs.catalogue import Row
from resnet_probe.runs.progress import progress_bar
from resnet_probe.studies.study import Resources

if TYPE_CHECKING:
    from resnet_probe.runs.job import Job, Obtained


@dataclass(frozen=True)
class StudyCommand:
    """A row of the catalogue as a command."""

    row: Row

    @property
    def NAME(self) -> str:
        return self.row.name

    @property
    def HELP(self) -> str:
        return self.row.help

    def add_parser(self, commands: Any) -> None:
        study = self.row.study
        lines = (f"  python -m resnet_probe {self.row.name} {one}" for one in study.examples)
        examples = "\n".join(["examples:", *lines])
        parser = shared.command(commands, self.row.name, self.row.help, study.description, examples)
        shared.add_network(parser, several=("arch", "weights") if study.several else ())
        shared.add_data(parser)
        shared.add(parser, study.settings)
        if study.training:
            shared.add(parser, Recalibration)
        seeded = any(each.name == "seed" for each in study.settings.options())
        shared.add_run(parser, seed=not seeded)
        if study.compared:
            parser.add_argument(
                "--compare", choices=study.compared, help="draw the published curve beside ours"
            )
        parser.set_defaults(run=self.run, limit=study.limit)

    def job(self, options: Namespace) -> Job:
        """What a command line asks for."""
        from resnet_probe.runs.job import Job

        study = self.row.study
        settings = shared.read(study.settings, options)
        asked = shared.read(Recalibration, options) if study.training else Recalibration()
        return Job.of(self.row, settings, requests_of(options), recalibration=asked)

    def run(self, options: Namespace) -> int:
        from resnet_probe.runs.job import announcement

        resources = shared.read(Resources, options)
        job = self.job(options)
        folder = options.out or job.folder()
        there = job.found(folder)
        for network in job.networks:
            print(announcement(network), end="\n\n")
        with progress_bar(job.study) as progress:
            compare = getattr(options, "compare", None)
            obtained = there or job.obtain(
                folder, resources=resources, progress=progress, compare=compare
            )
        _tell(self.row, obtained)
        return 0


def requests_of(options: Namespace) -> list[Request]:
    """A request for each architecture that is asked for, with the weights in the same order."""
    several = isinstance(options.arch, list) or isinstance(options.weights, list)
    if not several and not getattr(options, "init", False):
        return [shared.read(Request, options)]
    names = options.arch if isinstance(options.arch, list) else [options.arch]
    if len(names) == 1 and isinstance(options.weights, list):
        names = names * len(options.weights)  # several trainings of one architecture
    weights = _weights(options, names)
    if len(set(zip(names, weights, strict=True))) < len(names):
        raise ProbeError(f"arch='{' '.join(map(str, names))}': each network once")
    return [
        shared.read(Request, options, arch=name, weights=given)
        for name, given in zip(names, weights, strict=True)
    ]


def _weights(options: Namespace, names: Sequence[str | None]) -> list[str | None]:
    if getattr(options, "init", False):
        if options.weights:
            raise ProbeError("init= is of networks without weights: leave out weights=")
        return [f"initial:{options.seed}"] * len(names)
    given = options.weights if isinstance(options.weights, list) else [options.weights]
    if given == ["pretrained"] or given == [None]:
        return given * len(names)
    if len(given) != len(names):
        raise ProbeError(
            f"{len(names)} architectures and {len(given)} weights: give one for each, in order"
        )
    return given


def _tell(row: Row, obtained: Obtained) -> None:
    """What was found, and where it lies."""
    result, folder, found = obtained
    print(row.summarize(result))
    files = sorted(path.name for path in folder.iterdir())
    first = [name for name in ("table.csv", "provenance.json") if name in files]
    listed = ", ".join([*first, *(name for name in files if name not in first)])
    again = " (measured before; remove the folder to measure again)" if found else ""
    print(f"\n{folder.resolve()}: {listed}{again}")
