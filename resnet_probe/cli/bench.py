"""`bench`: how much faster than the naive way, measured here and now, at equal results."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_probe.cli import bench_train
from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import Request

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain

NAME = "bench"


class Own(NamedTuple):
    """What one benchmark takes: a number, or one of the `choices`."""

    name: str
    usual: float | str | None
    about: str
    kind: type = int
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Bench:
    """One benchmark: what it compares, on how many random images, and numbers of its own.

    `files` says that it reads images which lie on disk from there.
    """

    name: str
    help: str
    images: int
    own: tuple[Own, ...]
    files: bool = False


BENCHES = (
    Bench(
        "lesion",
        "many edits: plain loop against engine",
        256,
        (
            Own(
                "edit",
                "delete",
                "delete (every block once), ranges of blocks, gates, or greedy",
                str,
                ("delete", "ranges", "gates", "greedy"),
            ),
            Own("precision", None, "instead: all images against stopping at so many points", float),
            Own("processes", None, "instead: one process against so many of one thread"),
        ),
        files=True,
    ),
    Bench(
        "paths",
        "gradient by path length: autograd against the engine",
        32,
        (Own("samples", 1, "paths of each length"),),
    ),
    Bench(
        "attribute",
        "Shapley values with captum: plain model against engine",
        256,
        (Own("permutations", 2, "random orders of the blocks"),),
    ),
)


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="measure speed against the naive way",
        description="Measure, in one run and on the same images, how much faster the engine is "
        "than the loop one would write by hand, and whether the results are equal.",
    )
    what = parser.add_subparsers(metavar="WHAT", required=True)
    for bench in BENCHES:
        _add(what.add_parser(bench.name, help=bench.help), bench)
    bench_train.add_parser(what)
    _add_tokens(what)
    _add_coverage(what)


def _add(parser: ArgumentParser, bench: Bench) -> None:
    shared.add_network(parser)
    shared.add_data(parser)
    shared.add_run(parser)
    parser.add_argument(
        "--size", type=int, default=32, metavar="PIXELS",
        help="of random images, used where no --data is given (default: 32)",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=int, default=3, help="times that each way is run (default: 3)"
    )
    for own in bench.own:
        about = own.about + (f" (default: {own.usual})" if own.usual else "")
        parser.add_argument(
            f"--{own.name}", type=own.kind, default=own.usual, help=about, choices=own.choices,
            metavar=own.name.upper() if own.choices else "N",
        )  # fmt: skip
    parser.set_defaults(run=run, bench=bench)


def _add_tokens(what: Any) -> None:
    parser: ArgumentParser = what.add_parser(
        "tokens",
        help="every single deletion of a language model: hooks against the study",
        description="Draw a GPT-2 and texts at random, and delete each block: by hooks on the "
        "model, and by the study of lesions.  It needs transformers, and fetches nothing.",
    )
    shared.add_run(parser)
    sizes = (("layers", 12), ("width", 768), ("vocabulary", 50257), ("texts", 64), ("context", 128))
    for name, usual in sizes:
        parser.add_argument(
            f"--{name}", type=int, default=usual, metavar="N", help=f"(default: {usual})"
        )
    parser.add_argument(
        "--rounds", type=int, default=3, help="times that each way is run (default: 3)"
    )
    parser.set_defaults(run=run_tokens)


def run_tokens(options: Namespace) -> int:
    import torch

    from resnet_probe.benchmarks import tokens
    from resnet_probe.loading import find_device

    device = find_device(options.device)
    size = tokens.Size(
        layers=options.layers, width=options.width, vocabulary=options.vocabulary,
        texts=options.texts, context=options.context,
    )  # fmt: skip
    found = tokens.benchmark(
        size, rounds=options.rounds, seed=options.seed, device=device, **shared.run_options(options)
    )
    texts = f"{size.texts} random texts of {size.context} tokens of {size.vocabulary:,}"
    threads = f"{torch.get_num_threads()} threads"
    print(", ".join(["gpt2", texts, str(device), threads, found.what]), found, sep="\n\n")
    return 0 if found.equal else 1


def _add_coverage(what: Any) -> None:
    parser: ArgumentParser = what.add_parser(
        "coverage",
        help="how often each interval holds the truth, where it is known",
        description="Draw data again and again from populations whose answers are known, and "
        "count how often each kind of interval holds the truth: 95 % are promised.",
    )
    parser.add_argument("--rounds", type=int, default=1000, metavar="N", help="(default: 1000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.set_defaults(run=run_coverage)


def run_coverage(options: Namespace) -> int:
    from resnet_probe.benchmarks import coverage

    coverage.run(options.rounds, options.seed)
    return 0


def run(options: Namespace) -> int:
    import torch

    bench: Bench = options.bench
    if options.rounds < 1:
        raise ProbeError(f"rounds={options.rounds}: at least one round is needed")
    chain, images, labels, what = chain_and_images(options, bench.images, files=bench.files)
    own = {each.name: getattr(options, each.name) for each in bench.own}
    found = import_module(f"resnet_probe.benchmarks.{bench.name}").benchmark(
        chain, images, labels,
        rounds=options.rounds, seed=options.seed, **own, **shared.run_options(options),
    )  # fmt: skip
    print(", ".join([
        f"{chain.name}, {len(images)} x {what} of {images.shape[-1]} pixels", str(chain.device),
        f"{torch.get_num_threads()} threads", *filter(None, [found.what]),
    ]), found, sep="\n\n")  # fmt: skip
    return 0 if found.equal else 1


def chain_and_images(
    options: Namespace, count: int, *, files: bool = False
) -> tuple[ResidualChain, Any, Tensor, str]:
    """The chain, images, labels, and what the images are; `count` random ones by default.

    Images in files are left there where the benchmark reads `files`.
    """
    import torch

    from resnet_probe.loading import cut, find_device, load_network

    if options.data:
        prepared = shared.prepare(options)
        there = prepared.images if files else prepared.images.to(prepared.chain.device)
        return prepared.chain, there, prepared.labels, prepared.image_set.name
    where = find_device(options.device)
    network = load_network(
        shared.read(Request, options).spec, options.weights, None, zoo=options.zoo
    )
    generator = torch.Generator().manual_seed(options.seed)
    shape = (options.limit or count, 3, options.size, options.size)
    drawn = torch.randn(shape, generator=generator).to(where)
    chain = cut(network.arch, network.model.to(where), drawn[:1])
    labels = torch.randint(chain.classes, shape[:1], generator=generator)
    return chain, drawn, labels, "random images"
