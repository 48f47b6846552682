"""The command of a study: its options are those of its settings, its words those of the study."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.output import Output, add_output
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
        parser = shared.command(
            commands, self.row.name, self.row.help, study.description, examples,
            usage=shared.OF_A_NETWORK,
        )  # fmt: skip
        shared.add_network(parser, several=("arch", "weights") if study.several else ())
        shared.add_data(parser)
        shared.add(parser, study.settings)
        if study.training:
            shared.add(parser, Recalibration)
        seeded = any(each.name == "seed" for each in study.settings.options())
        shared.add_run(parser, seed=not seeded)
        add_output(parser)
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

        out = Output.of(options)
        resources = shared.read(Resources, options)
        job = self.job(options)
        folder = options.out or job.folder()
        with out.aside():
            for network in job.networks:
                print(announcement(network), end="\n\n")
        if options.dry_run:
            return rehearse([(job, folder)], resources, out)
        with out.aside(), progress_bar(job.study, quiet=out.quiet) as progress:
            obtained = job.obtain(
                folder,
                resources=resources,
                progress=progress,
                compare=getattr(options, "compare", None),
                columns=options.columns,
                formats=options.format,
            )
        _tell(self.row, obtained, job, out)
        return 0


def requests_of(options: Namespace) -> list[Request]:
    """A request for each architecture that is asked for, with the weights in the same order."""
    several = isinstance(options.arch, list) or isinstance(options.weights, list)
    if not several and not getattr(options, "init", False):
        return [shared.read(Request, options)]
    names = options.arch if isinstance(options.arch, list) else [options.arch]
    if len(set(names)) < len(names):
        raise ProbeError(f"arch='{' '.join(names)}': each network once")
    weights = _weights(options, names)
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


def rehearse(jobs: Sequence[tuple[Job, Path]], resources: Resources, out: Output) -> int:
    """Say what each job would take, and of several all together."""
    from resnet_probe.runs.progress import duration
    from resnet_probe.runs.rehearsal import rehearse

    found = []
    for job, folder in jobs:
        found.append(rehearse(job, folder, resources))
        if not out.json:
            print(found[-1].sentence, flush=True)
    if out.json:
        rows = [{**each._asdict(), "folder": str(each.folder)} for each in found]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    elif len(found) > 1:
        print(f"all together: about {duration(sum(each.seconds for each in found))}")
    return 0


def _tell(row: Row, obtained: Obtained, job: Job, out: Output) -> None:
    """What was found, and where it lies."""
    result, folder, found = obtained
    note = " (measured before; remove the folder to measure again)" if found else ""
    out.tell(
        row.summarize(result), folder, note=note,
        study=result.study, command=job.command, measured_before=found,
    )  # fmt: skip
