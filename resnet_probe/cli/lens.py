"""`lens`: what the classifier would answer behind every block."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from functools import partial
from typing import Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.prepare import prepare
from resnet_probe.cli.recalibration import add_recalibration, training_images
from resnet_probe.cli.study import Job

NAME = "lens"
DESCRIPTION = """\
Apply the classifier behind every block: its accuracy, its entropy, and how often it agrees with
the final answer, by depth.  States of another width are carried on by the shortcuts that remain."""
EXAMPLES = """\
examples:
  python -m resnet_probe lens --arch resnet110
  python -m resnet_probe lens --arch preresnet110 --recalibrate 512"""


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="apply the classifier behind every block",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    shared.add_network(parser)
    shared.add_data(parser)
    add_recalibration(parser)
    shared.add_run(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe.findings import summarize_lens
    from resnet_probe.studies.checks import check_spread
    from resnet_probe.studies.lens import lens

    run_options = shared.run_options(options)
    prepared = prepare(options)
    check_spread(prepared.images, NAME)
    training = training_images(prepared, options)
    job = Job.of(NAME, [prepared], options, training.identity)
    study = partial(
        lens, prepared.chain, prepared.images, prepared.labels,
        recalibrate=training.images, **run_options,
    )  # fmt: skip
    return job.run(study, summarize_lens)
