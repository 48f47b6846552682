"""`bench paths`: the exact spectrum against one ordinary pass, sampling against the plain loop."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.cli.bench_images import add_benchmark, chain_and_images
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.benchmarks.paths import PathsBenchmark

IMAGES = 32
EQUAL = 1e-3
"""Two ways in float32 may differ by this where a ReLU stands at zero."""


def add_parser(what: Any) -> None:
    parser = what.add_parser("paths", help="gradient by path length: autograd against the engine")
    add_benchmark(parser)
    parser.add_argument(
        "--samples", type=int, default=1, metavar="N", help="paths of each length (default: 1)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    import torch

    from resnet_probe.benchmarks.paths import benchmark

    if options.samples < 1:
        raise ProbeError(f"--samples {options.samples}: at least one path of each length is needed")
    chain, images, labels, what = chain_and_images(options, images=IMAGES)
    found = benchmark(
        chain, images, labels,
        samples=options.samples, rounds=options.rounds, **shared.run_options(options),
    )  # fmt: skip
    print(f"{chain.name}, {len(images)} x {what} of {images.shape[-1]} pixels, {chain.device}, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    print(report(found, options.memory))
    return 0 if found.error <= EQUAL and found.loop_error <= EQUAL else 1


def report(found: PathsBenchmark, memory: str) -> str:
    from resnet_probe.engine.memory import format_bytes

    rows = [
        (f"forward and backward, batch {found.ordinary_batch} (its best)", found.ordinary),
        (f"exact spectrum, {found.lengths} lengths, batch {found.exact_batch}", found.exact),
        (f"{found.paths} sampled paths, one by one", found.loop),
        (f"{found.paths} sampled paths, at once", found.sample),
    ]
    lines = [f"{name:<48}{took:8.2f} s" for name, took in rows]
    peak = "not known here" if found.peak_bytes is None else format_bytes(found.peak_bytes)
    return "\n".join([
        *lines,
        "",
        f"exact spectrum over one ordinary pass:     {found.exact / found.ordinary:.2f}x "
        f"(branch products alone: {found.products / 2:.2f}x)",
        f"sampled at once against one by one:        {found.loop / found.sample:.2f}x",
        f"peak memory of the exact spectrum: {peak} (budget {memory})",
        f"sum of all lengths against autograd: {found.error:.1e}",
        f"norms of sampled paths, both ways: {found.loop_error:.1e}",
    ])  # fmt: skip
