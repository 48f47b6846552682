"""`report`: every study of one network, and one page of what they found."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.output import Output, add_output
from resnet_probe.cli.study import rehearse
from resnet_probe.loading.request import Request
from resnet_probe.runs.progress import progress_bar
from resnet_probe.studies.study import Resources

if TYPE_CHECKING:
    from resnet_probe.report import Section

NAME = "report"
HELP = "run every study and write one page of what they found"
DESCRIPTION = """\
Measure one network with every study that applies to it, and write one page of what they found:
report.html, which needs nothing beside it, with figures/ (PDF, SVG, PNG) and tables/ (CSV).
Each study has the run folder that its own command writes to. One that is there already, whole and
of the same identity, is taken as it is. After an interruption the same command goes on."""
EXAMPLES = """\
examples:
  python -m resnet_probe report --arch resnet110
  python -m resnet_probe report --arch resnet56 --full --weights resnet56.th \\
      --normalize imagenet --data parquet:test.parquet"""


def add_parser(commands: Any) -> None:
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES, usage=shared.OF_A_NETWORK)
    shared.add_network(parser)
    shared.add_data(parser)
    size = parser.add_argument_group("how much").add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true",
        help="minutes: single deletions, and fewer images for paths and attribution (default)",
    )  # fmt: skip
    size.add_argument(
        "--full", action="store_true",
        help="all images, random deletions and other orders too",
    )  # fmt: skip
    shared.add_run(parser)
    add_output(parser, figures=False)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.claims import judge
    from resnet_probe.report.make import Report
    from resnet_probe.results import unless_refused
    from resnet_probe.runs.job import announcement

    resources = shared.read(Resources, options)  # refuses what cannot be before anything is loaded
    report = Report.of(shared.read(Request, options), full=options.full, seed=options.seed)
    folder = Path(os.path.realpath(options.out or report.folder))
    out = Output.of(options)
    with out.aside():
        print(announcement(report.ready), end="\n\n")
    if options.dry_run:
        jobs = [(job, job.folder()) for job in report.jobs.values()]
        return rehearse(jobs, resources, out)
    parts = (f"{ask.study} ({len(job.networks[0].images):,} images)" for ask, job in
             report.jobs.items())  # fmt: skip
    with (
        out.aside(),
        progress_bar(NAME, quiet=out.quiet) as progress,
        unless_refused(folder),
    ):
        print(f"{', '.join(parts)}\n", flush=True)
        found = report.write(folder, resources=resources, progress=progress, judge=judge)
    out.tell(_said(found), folder, study=NAME, command=report.command)
    return 0


def _said(found: Sequence[Section]) -> str:
    """The answers, as they open the page."""
    from resnet_probe.report import answers

    lines = [""]
    for section in answers(list(found)):
        if section.finding is None:
            lines.append(f"– {section.absent}")
        else:
            verdict = f"[{section.finding.verdict}] " if section.finding.verdict else ""
            lines.append(f"– {verdict}{section.finding.answer or section.finding.sentence}")
    return "\n".join(lines)
