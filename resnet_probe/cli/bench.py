"""`bench`: how much faster than the naive way, measured here and now, at equal results."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import bench_attribute, bench_paths, bench_train
from resnet_probe.cli import options as shared
from resnet_probe.cli.bench_images import add_benchmark, chain_and_images

if TYPE_CHECKING:
    from resnet_probe.benchmarks.lesion import LesionBenchmark

NAME = "bench"


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="measure speed against the naive way",
        description="Measure, in one run and on the same images, how much faster the engine is "
        "than the loop one would write by hand, and whether the results are equal.",
    )
    what = parser.add_subparsers(metavar="WHAT", required=True)
    lesion = what.add_parser("lesion", help="every single deletion: plain loop against engine")
    add_benchmark(lesion)
    lesion.set_defaults(run=run_lesion)
    bench_paths.add_parser(what)
    bench_attribute.add_parser(what)
    bench_train.add_parser(what)


def run_lesion(options: Namespace) -> int:
    import torch

    from resnet_probe.benchmarks.lesion import benchmark

    chain, images, _, what = chain_and_images(options, images=256)
    found = benchmark(chain, images, rounds=options.rounds, **shared.run_options(options))
    print(f"{chain.name}, {len(images)} x {what} of {images.shape[-1]} pixels, {chain.device}, "
          f"{torch.get_num_threads()} threads, every single deletion\n")  # fmt: skip
    print(report(found))
    return 0 if found.differing <= found.near_ties else 1


def report(found: LesionBenchmark) -> str:
    from resnet_probe.engine.memory import format_bytes

    rows = [
        (f"plain loop, batch {found.best_batch} (its best)", found.plain_best),
        ("plain loop, batch 128", found.plain_128),
        (f"engine, batch {found.engine_batch}", found.engine),
        ("its convolutions alone", found.convolutions),
    ]
    lines = [f"{name:<36}{took:8.2f} s" for name, took in rows]
    peak = "not known here" if found.peak_bytes is None else format_bytes(found.peak_bytes)
    lines += [
        "",
        f"engine against the plain loop at its best: {found.plain_best / found.engine:.2f}x",
        f"engine against the plain loop at 128:      {found.plain_128 / found.engine:.2f}x",
        f"engine over its bare convolutions:         {found.engine / found.convolutions:.2f}x",
        f"branches run: {found.branch_runs_plain} plain, {found.branch_runs_engine} engine",
        f"peak memory of the engine: {peak}",
        f"predictions that differ: {found.differing} (near-ties: {found.near_ties})",
    ]
    return "\n".join(lines)
