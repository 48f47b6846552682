"""`bench attribute`: Shapley values, captum on the plain model against captum on the engine."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.bench_images import add_benchmark, chain_and_images
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.benchmarks.attribute import AttributeBenchmark

IMAGES = 256
EQUAL = 1e-3
"""Folded batch norm moves the values by rounding; more than this is another result."""


def add_parser(what: Any) -> None:
    parser = what.add_parser(
        "attribute", help="Shapley values with captum: plain model against engine"
    )
    add_benchmark(parser)
    parser.add_argument(
        "--permutations", type=int, default=2, metavar="N",
        help="random orders of the blocks (default: 2)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    import torch

    from resnet_probe.benchmarks.attribute import benchmark

    if options.permutations < 1:
        raise ProbeError(f"--permutations {options.permutations}: at least one order is needed")
    chain, images, labels, what = chain_and_images(options, images=IMAGES)
    found = benchmark(
        chain, images, labels, permutations=options.permutations, rounds=options.rounds,
        seed=options.seed, **shared.run_options(options),
    )  # fmt: skip
    print(f"{chain.name}, {len(images)} x {what} of {images.shape[-1]} pixels, {chain.device}, "
          f"{torch.get_num_threads()} threads, {options.permutations} random orders\n")  # fmt: skip
    print(report(found))
    return 0 if found.gap <= EQUAL else 1


def report(found: AttributeBenchmark) -> str:
    from resnet_probe.engine.memory import format_bytes

    rows = [
        (f"captum, plain model, batch {found.best_batch} (its best)", found.plain),
        ("captum, plain model, shut branches skipped", found.skipping),
        ("captum, engine", found.engine),
    ]
    lines = [f"{name:<48}{took:8.2f} s" for name, took in rows]
    peak = "not known here" if found.peak_bytes is None else format_bytes(found.peak_bytes)
    return "\n".join([
        *lines,
        "",
        f"engine against the plain model:            {found.plain / found.engine:.2f}x",
        f"engine against it, shut branches skipped:  {found.skipping / found.engine:.2f}x",
        f"branches run: {found.branch_runs_plain} plain, {found.branch_runs_engine} engine",
        f"peak memory of the engine: {peak}",
        f"largest difference of a Shapley value: accuracy {found.accuracy_gap:.2g} points, loss "
        f"and margin {found.gap:.1e} of the largest",
    ])  # fmt: skip
