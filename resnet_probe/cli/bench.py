"""`bench`: how much faster than the naive way, measured here and now, at equal results."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError

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
    shared.add_network(lesion)
    shared.add_data(lesion)
    shared.add_run(lesion)
    lesion.add_argument(
        "--size", type=int, default=32, metavar="PIXELS",
        help="of random images, used where no --data is given (default: 32)",
    )  # fmt: skip
    lesion.add_argument(
        "--rounds", type=int, default=3, help="times that each way is run (default: 3)"
    )
    lesion.set_defaults(run=run_lesion)


def run_lesion(options: Namespace) -> int:
    import torch

    from resnet_probe.benchmarks.lesion import benchmark
    from resnet_probe.cli.prepare import prepare
    from resnet_probe.loading import cut, find_device, load_network

    if options.rounds < 1:
        raise ProbeError(f"--rounds {options.rounds}: at least one round is needed")
    if options.data:
        prepared = prepare(options)
        chain, images, what = prepared.chain, prepared.images, prepared.image_set.name
    else:
        where = find_device(options.device)
        network = load_network(options.arch, options.weights, None)
        generator = torch.Generator().manual_seed(options.seed)
        shape = (options.limit or 256, 3, options.size, options.size)
        images = torch.randn(shape, generator=generator).to(where)
        chain = cut(network.arch, network.model.to(where), images[:1])
        what = "random images"
    found = benchmark(chain, images, rounds=options.rounds, **shared.run_options(options))
    print(f"{chain.name}, {len(images)} x {what} of {images.shape[-1]} pixels, {chain.device}, "
          f"{torch.get_num_threads()} threads, every single deletion\n")  # fmt: skip
    print(report(found))
    return 0 if found.differing <= found.near_ties else 1


def report(found: LesionBenchmark) -> str:
    from resnet_probe.memory import format_bytes

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
