"""`report`: every study of one network, and one page of what they found."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
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
    parser = shared.command(commands, NAME, HELP, DESCRIPTION, EXAMPLES)
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
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.claims import judge
    from resnet_probe.report.make import Report
    from resnet_probe.runs.job import announcement

    resources = shared.read(Resources, options)  # refuses what cannot be before anything is loaded
    report = Report.of(shared.read(Request, options), full=options.full, seed=options.seed)
    folder = (options.out or report.folder).resolve()
    print(announcement(report.ready), end="\n\n")
    parts = (f"{ask.study} ({len(job.networks[0].images):,} images)" for ask, job in
             report.jobs.items())  # fmt: skip
    print(f"{', '.join(parts)}\n", flush=True)
    with progress_bar(NAME) as progress:
        found = report.write(folder, resources=resources, progress=progress, judge=judge)
    _tell(found, folder)
    return 0


def _tell(found: Sequence[Section], folder: Path) -> None:
    """The answers, as they open the page, and where it is."""
    from resnet_probe.report import answers

    print()
    for section in answers(list(found)):
        if section.finding is None:
            print(f"– {section.absent}")
        else:
            verdict = f"[{section.finding.verdict}] " if section.finding.verdict else ""
            print(f"– {verdict}{section.finding.answer or section.finding.sentence}")
    print(f"\n{folder}: report.html, figures/, tables/")
