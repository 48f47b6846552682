"""The command of a study: its options are those of its settings, its words those of the study."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.output import Output, add_output
from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import Request
from resnet_probe.loading.training_images import Recalibration
from resnet_probe.published import comparison
from resnet_probe.runs.catalogue import Row
from resnet_probe.runs.progress import progress_bar
from resnet_probe.studies.parts import Portion
from resnet_probe.studies.study import Resources

if TYPE_CHECKING:
    from resnet_probe.runs.job import Job, Obtained
    from resnet_probe.training import Team


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
        shared.add_network(parser, several=("arch", "weights"))
        shared.add_data(parser)
        shared.add(parser, study.settings)
        if study.training:
            shared.add(parser, Recalibration)
        seeded = any(each.name == "seed" for each in study.settings.options())
        shared.add(parser, Portion)
        shared.add_run(parser, seed=not seeded)
        add_output(parser)
        if study.compared:
            parser.add_argument(
                "--compare",
                choices=study.compared,
                help="draw the published curve of as many blocks beside ours",
            )
        parser.set_defaults(run=self.run, limit=study.limit)

    def jobs(self, options: Namespace) -> list[Job]:
        """What a command line asks for: one study of each network, or one of all together."""
        from resnet_probe.runs.job import Job

        study = self.row.study
        settings = shared.read(study.settings, options)
        asked = shared.read(Recalibration, options) if study.training else Recalibration()
        requests = requests_of(options)
        return [
            Job.of(self.row, settings, some, recalibration=asked, part=options.part)
            for some in ([requests] if study.several else [[one] for one in requests])
        ]

    def run(self, options: Namespace) -> int:
        """One process, or as many as are asked for, or as torchrun has started."""
        from resnet_probe import training
        from resnet_probe.loading import find_device

        started = training.processes_started()
        portion = shared.read(Portion, options)
        if portion.part is not None and (started > 1 or portion.processes):
            raise ProbeError(
                f"part={portion.part} is measured by one process: several share all images"
            )
        if options.dry_run and (portion.part or portion.processes or started > 1):
            raise ProbeError(
                "a dry run tries all images in one process: leave out part= and processes="
            )
        if portion.processes and started == 1 < portion.processes:
            words = [sys.executable, "-m", "resnet_probe", *options.given]
            return training.launched(words, portion.processes)
        with training.joined(find_device(options.device)) as (team, _):
            try:
                self._run(options, team)
            except ProbeError:
                if team.leads:
                    raise  # said once is enough
                return 2
        return 0

    def _run(self, options: Namespace, team: Team) -> None:
        from resnet_probe.runs.job import Look

        out = Output.of(options)
        resources = shared.read(Resources, options)
        jobs = self.jobs(options)
        several = options.out and len(jobs) > 1
        places = [options.out or job.folder() for job in jobs]
        places = [at / job.stem if several else at for job, at in zip(jobs, places, strict=True)]
        if options.dry_run:
            with out.aside():
                _announce(jobs)
            rehearse(list(zip(jobs, places, strict=True)), resources, out)
            return
        look = Look(getattr(options, "compare", None), options.columns, options.format)
        if look.compare is not None:
            for job in jobs:  # a depth without published numbers is refused before it is measured
                comparison(look.compare, job.study, len(job.networks[0].chain))
        for job, folder in zip(jobs, places, strict=True):
            with out.aside():
                _announce([job] if team.leads else [])
                given: dict[str, Any] = {"resources": resources, "look": look}
                bar = progress_bar(job.study, quiet=out.quiet) if team.leads else nullcontext()
                with bar as given["progress"]:
                    obtained = (
                        job.obtain(folder, **given)
                        if team.size == 1
                        else job.obtain_with(team, folder, **given)
                    )
            if obtained is not None:
                tell(job, obtained, out)


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


def _announce(jobs: Sequence[Job]) -> None:
    from resnet_probe.runs.job import announcement

    for job in jobs:
        for network in job.networks:
            print(announcement(network), end="\n\n", flush=True)


def rehearse(jobs: Iterable[tuple[Job, Path]], resources: Resources, out: Output) -> int:
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


def tell(job: Job, obtained: Obtained, out: Output | None = None) -> None:
    """What was found, and where it lies."""
    result, folder, found = obtained
    if job.part is not None:
        ready = job.networks[0]
        said = (
            f"part {job.part}: {int(result.table['images'].iloc[0]):,} of "
            f"{len(ready.images):,} {ready.inputs}; `merge` puts the parts together"
        )
    else:
        said = job.row.summarize(result)
    note = " (measured before; remove the folder to measure again)" if found else ""
    (out or Output()).tell(
        said, folder.resolve(), note=note,
        study=result.study, command=job.command, measured_before=found,
    )  # fmt: skip
