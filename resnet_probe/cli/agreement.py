"""`agreement`: how much lesioned networks vote."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from functools import partial
from typing import Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.prepare import prepare
from resnet_probe.cli.study import Job

NAME = "agreement"
DESCRIPTION = """\
Compare networks that lack one block or several: on how many images they are wrong together, how
often they answer differently, and whether the average of their outputs is better than they are,
against the number of blocks that each lacks."""
EXAMPLES = """\
examples:
  python -m resnet_probe agreement --arch resnet110
  python -m resnet_probe agreement --arch resnet110 --counts 1-20 --draws 30"""


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="errors in common and averages of lesioned networks",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    shared.add_network(parser)
    shared.add_data(parser)
    group = parser.add_argument_group("the networks")
    group.add_argument(
        "--counts", type=shared.counts, metavar="1-10",
        help="blocks deleted in each network (default: 1-10); 1 stands for every block once",
    )  # fmt: skip
    group.add_argument(
        "--draws", type=int, default=20, help="random networks for each count (default: 20)"
    )
    shared.add_run(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.findings import summarize_agreement
    from resnet_probe.studies.agreement import agreement, planned

    run_options = shared.run_options(options)
    settings = {key: getattr(options, key) for key in ("counts", "draws", "seed")}
    prepared = prepare(options)
    planned(prepared.chain, prepared.images, **settings)  # refuses before anything is written
    job = Job.of(NAME, [prepared], options, settings)
    study = partial(
        agreement, prepared.chain, prepared.images, prepared.labels, **settings, **run_options
    )
    return job.run(study, summarize_agreement)
