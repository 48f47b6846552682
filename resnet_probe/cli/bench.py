"""`bench`: how much faster than the naive way, measured here and now, at equal results."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import bench_train
from resnet_probe.cli import options as shared
from resnet_probe.loading.request import Request
from resnet_probe.settings import Settings, option

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain

NAME = "bench"


ROUNDS = {"least": 1, "most": 100_000, "metavar": "N"}


@dataclass(frozen=True, kw_only=True)
class Timed(Settings):
    """What every benchmark of a network takes."""

    size: int = option(
        32, "of random images, used where no --data is given (default: 32)", metavar="PIXELS",
        least=1, most=4096,
    )  # fmt: skip
    rounds: int = option(3, "times that each way is run (default: 3)", **ROUNDS)

    @property
    def own(self) -> dict[str, Any]:
        """What this benchmark takes beside the others."""
        return {name: value for name, value in self.values.items() if name != "size"}


@dataclass(frozen=True, kw_only=True)
class LesionTimes(Timed):
    edit: str = option(
        "delete",
        "delete (every block once), ranges of blocks, gates, or greedy (default: delete)",
        choices=("delete", "ranges", "gates", "greedy"),
        metavar="EDIT",
    )
    precision: float | None = option(
        None,
        "instead: all images against stopping at so many points",
        least=0.001,
        most=100,
        metavar="POINTS",
    )
    processes: int | None = option(
        None, "instead: one process against so many of one thread", least=1, metavar="N"
    )


@dataclass(frozen=True, kw_only=True)
class PathTimes(Timed):
    samples: int = option(
        1, "paths of each length (default: 1)", least=1, most=1_000_000, metavar="N"
    )


@dataclass(frozen=True, kw_only=True)
class AttributionTimes(Timed):
    permutations: int = option(
        2, "random orders of the blocks (default: 2)", least=1, most=100_000, metavar="N"
    )


@dataclass(frozen=True, kw_only=True)
class TokenTimes(Settings):
    """The size of a language model and of its texts."""

    layers: int = option(12, "(default: 12)", least=1, most=1000, metavar="N")
    width: int = option(768, "(default: 768)", least=1, most=2**15, metavar="N")
    vocabulary: int = option(50257, "(default: 50257)", least=2, most=2**20, metavar="N")
    texts: int = option(64, "(default: 64)", least=1, most=2**20, metavar="N")
    context: int = option(128, "(default: 128)", least=2, most=2**20, metavar="N")
    rounds: int = option(3, "times that each way is run (default: 3)", **ROUNDS)


@dataclass(frozen=True, kw_only=True)
class CoverageRounds(Settings):
    rounds: int = option(1000, "(default: 1000)", **{**ROUNDS, "most": 10_000_000})


@dataclass(frozen=True)
class Bench:
    """One benchmark: what it compares, on how many random images, and what it takes.

    `files` says that it reads images which lie on disk from there.
    """

    name: str
    help: str
    images: int
    settings: type[Timed]
    files: bool = False


BENCHES = (
    Bench("lesion", "many edits: plain loop against engine", 256, LesionTimes, files=True),
    Bench("paths", "gradient by path length: autograd against the engine", 32, PathTimes),
    Bench(
        "attribute", "Shapley values with captum: plain model against engine", 256, AttributionTimes
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
    shared.add_run(parser, out=False)
    shared.add(parser, bench.settings)
    parser.set_defaults(run=run, bench=bench)


def _add_tokens(what: Any) -> None:
    parser: ArgumentParser = what.add_parser(
        "tokens",
        help="every single deletion of a language model: hooks against the study",
        description="Draw a GPT-2 and texts at random, and delete each block: by hooks on the "
        "model, and by the study of lesions.  It needs transformers, and fetches nothing.",
    )
    shared.add_run(parser, out=False)
    shared.add(parser, TokenTimes)
    parser.set_defaults(run=run_tokens)


def run_tokens(options: Namespace) -> int:
    import torch

    from resnet_probe.benchmarks import tokens
    from resnet_probe.loading import find_device

    device = find_device(options.device)
    asked = shared.read(TokenTimes, options).values
    rounds = asked.pop("rounds")
    size = tokens.Size(**asked)
    found = tokens.benchmark(
        size, rounds=rounds, seed=options.seed, device=device, **shared.run_options(options)
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
    shared.add(parser, CoverageRounds)
    shared.add(parser, shared.Seed)
    parser.set_defaults(run=run_coverage)


def run_coverage(options: Namespace) -> int:
    from resnet_probe.benchmarks import coverage

    coverage.run(options.rounds, options.seed)
    return 0


def run(options: Namespace) -> int:
    import torch

    bench: Bench = options.bench
    own = shared.read(bench.settings, options).own
    chain, images, labels, what = chain_and_images(options, bench.images, files=bench.files)
    found = import_module(f"resnet_probe.benchmarks.{bench.name}").benchmark(
        chain, images, labels,
        seed=options.seed, **own, **shared.run_options(options),
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
    shape = bench_train.drawn_shape(options.limit or count, options.size, 4, options.memory)
    where = find_device(options.device)
    network = load_network(
        shared.read(Request, options).spec, options.weights, None, zoo=options.zoo
    )
    generator = torch.Generator().manual_seed(options.seed)
    drawn = torch.randn(shape, generator=generator).to(where)
    chain = cut(network.arch, network.model.to(where), drawn[:1])
    labels = torch.randint(chain.classes, shape[:1], generator=generator)
    return chain, drawn, labels, "random images"
