"""`paths`: which path lengths carry the gradient."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from functools import partial
from typing import Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.prepare import prepare
from resnet_probe.cli.study import Job

NAME = "paths"
LIMIT = 512
DESCRIPTION = """\
Follow the gradient back through a trained residual network, path by path (Veit, Wilber, Belongie
2016, arXiv 1605.06431, section 5).  A path takes the branch or the shortcut of each block; its
length is the number of branches.  Three quantities, by length:
  exact    the gradient of all paths of a length together, its norm and its share of the whole
  all      the root mean square norm of the single paths, all of them, from random signs
  sample   the mean norm of single paths drawn at random, as published"""
EXAMPLES = """\
examples:
  python -m resnet_probe paths --arch resnet110
  python -m resnet_probe paths --arch resnet110 --method exact --at stem --limit 64
  python -m resnet_probe paths --arch resnet56 --weights resnet56.th --normalize imagenet \\
      --data parquet:test.parquet --limit 846"""
SETTINGS = (
    "method", "signs", "samples", "images_per_path", "max_length", "at", "precision", "seed",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="take the gradient apart by path length",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    shared.add_network(parser)
    shared.add_data(parser)
    paths = parser.add_argument_group("the paths")
    paths.add_argument(
        "--method", default="every", choices=["exact", "all", "sample", "every"],
        help="what is measured (default: every)",
    )  # fmt: skip
    paths.add_argument(
        "--signs", type=int, default=16, help="random signs an image, for `all` (default: 16)"
    )
    paths.add_argument(
        "--samples", type=int, default=1000, help="paths a length, for `sample` (default: 1000)"
    )
    paths.add_argument(
        "--images-per-path", type=int, default=4, metavar="N",
        help="images that each sampled path is measured on (default: 4)",
    )  # fmt: skip
    paths.add_argument(
        "--max-length", type=int, metavar="K", help="leave out paths of more blocks (default: none)"
    )
    paths.add_argument(
        "--at", default="input", metavar="PLACE",
        help="where the gradient is taken: input, stem (its output), or the number of a block (its "
        "input; only blocks from it on count)",
    )  # fmt: skip
    paths.add_argument("--precision", default="float32", choices=["float32", "float64"])
    shared.add_run(parser)
    parser.set_defaults(run=run, limit=LIMIT)


def run(options: Namespace) -> int:
    from resnet_probe.findings import summarize_paths
    from resnet_probe.studies.paths import paths
    from resnet_probe.studies.paths.request import request

    settings = {key: getattr(options, key) for key in SETTINGS}
    run_options = shared.run_options(options)
    prepared = prepare(options)
    asked = request(prepared.chain, **settings)  # refuses before anything is written
    job = Job.of(NAME, [prepared], options, {**settings, "at": asked.at})
    study = partial(
        paths, prepared.chain, prepared.images, prepared.labels, **settings, **run_options
    )
    return job.run(study, summarize_paths)
