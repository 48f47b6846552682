"""`attribute`: each block's share of the decision."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from functools import partial
from typing import Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.prepare import prepare
from resnet_probe.cli.study import Job

NAME = "attribute"
LIMIT = 256
DESCRIPTION = """\
Give every block its share of the decision: captum's attributions with a gate on each branch as
the features, and accuracy, loss and the true class's margin as the outputs.
  ablation      what deleting the block alone costs, for all images and for each class
  shapley       its mean gain over random orders of adding the blocks (exact for short networks)
  gradients     integrated gradients while all gates open together
  interactions  what deleting two blocks costs beyond deleting each: additivity, tested directly"""
EXAMPLES = """\
examples:
  python -m resnet_probe attribute --arch resnet20
  python -m resnet_probe attribute --arch resnet110 --methods ablation,shapley --permutations 20
  python -m resnet_probe attribute --arch resnet56 --weights resnet56.th --normalize imagenet \\
      --data parquet:test.parquet --limit 256"""


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="give every block its share of the decision, with captum",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    shared.add_network(parser)
    shared.add_data(parser)
    group = parser.add_argument_group("the attributions")
    group.add_argument(
        "--methods", type=lambda text: text.split(","), metavar="A,B",
        help="some of ablation, shapley, gradients, interactions (default: all that apply)",
    )  # fmt: skip
    group.add_argument(
        "--permutations", type=int, metavar="N",
        help="random orders for the Shapley values (default: 20, or exact where that is cheaper)",
    )  # fmt: skip
    shared.add_run(parser).add_argument(
        "--exact", action="store_true",
        help="run the network's own modules, nothing folded: the arithmetic of the plain loop",
    )  # fmt: skip
    parser.set_defaults(run=run, limit=LIMIT)


def run(options: Namespace) -> int:
    from resnet_probe.findings import summarize_attribution
    from resnet_probe.studies.attribution import attribute
    from resnet_probe.studies.attribution.request import request
    from resnet_probe.studies.checks import check_spread

    run_options = shared.run_options(options)
    settings = {"methods": options.methods, "permutations": options.permutations}
    prepared = prepare(options)
    check_spread(prepared.images, NAME)
    asked = request(prepared.chain, **settings, seed=options.seed)  # refuses before writing
    identity = {
        "methods": list(asked.methods), "permutations": asked.permutations, "seed": options.seed,
        "exact": options.exact,
    }  # fmt: skip
    job = Job.of(NAME, [prepared], options, identity)
    study = partial(
        attribute, prepared.chain, prepared.images, prepared.labels,
        **settings, seed=options.seed, exact=options.exact, **run_options,
    )  # fmt: skip
    return job.run(study, summarize_attribution, journaled=True)
