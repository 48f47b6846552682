"""`bench train`: images a second of the trainer, and of the loop one would write by hand."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError
from resnet_probe.loading.trained import heights
from resnet_probe.settings import DEFAULT_MEMORY, Settings, format_bytes, listed, option

if TYPE_CHECKING:
    import torch

    from resnet_probe.benchmarks.train import TrainBenchmark
    from resnet_probe.data import ImageSet
    from resnet_probe.training import Team

STEPS = 8
"""Random images fill so many steps."""


@dataclass(frozen=True, kw_only=True)
class TrainTimes(Settings):
    """What `bench train` takes."""

    arch: str = option("resnet20", "(default: resnet20)", metavar="NAME")
    data: str | None = option(None, f"(default: random images for {STEPS} steps)", metavar="NAME")
    test_data: str | None = option(None, "test images (default: the set's own)", metavar="NAME")
    data_root: Path | None = option(
        None, "where downloaded data sets are kept", read=Path, metavar="DIR"
    )
    limit: int | None = option(None, "train on the first IMAGES", least=1, metavar="IMAGES")
    size: int = option(32, "of random images (default: 32)", least=1, most=4096, metavar="PIXELS")
    recipe: str | None = option(None, "(default: as for `train`)", metavar="NAME")
    batch: int | None = option(None, "(default: the recipe's)", least=1, metavar="N")
    precision: tuple[str, ...] = option(
        ("float32", "bfloat16"),
        "of the trainer (default: float32 bfloat16)",
        choices=("float32", "bfloat16"),
        several=True,
        metavar="TYPE",
    )
    resolution: tuple[int, ...] | None = option(
        None,
        "a schedule to try too (default: half, three quarters and the full height)",
        read=heights,
        write=listed,
        metavar="LIST",
    )
    epochs: int | None = option(
        None, "also train N epochs in every way, and test", least=1, most=100_000, metavar="N"
    )
    seeds: int = option(1, "so many times (default: once)", least=1, most=1000, metavar="N")
    workers: int = option(
        2, "of the plain loop's DataLoader (default: 2)", least=0, most=256, metavar="N"
    )
    rounds: int = option(3, "passes to time (default: 3)", least=1, most=100_000, metavar="N")
    processes: int | None = option(
        None, "of the trainer (default: as for `train`, 2 on a CPU)", least=1, metavar="N"
    )
    device: str = option("auto", "(default: auto)", choices=("auto", "cpu", "cuda"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is not None and not self.data:
            raise ProbeError("epochs= trains and tests: give the images to do so, data=")


def add_parser(what: Any) -> None:
    parser: ArgumentParser = what.add_parser(
        "train",
        help="training: a plain loop against the trainer",
        description="A plain loop (DataLoader with workers, torchvision's transforms, NCHW, "
        "float32, all processors) against the trainer, in turn, with the same network, batch, "
        "optimizer and number of steps, without and with growing images.",
    )
    shared.add(parser, TrainTimes)
    parser.add_argument("--compile", action="store_true", help="compile the trainer's steps")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe import training
    from resnet_probe.loading import find_device

    shared.read(TrainTimes, options)  # refuses what does not go together
    device = find_device(options.device)
    wanted = options.processes or (min(2, training.processors()) if device.type == "cpu" else 1)
    if training.processes_started() == 1 < wanted:
        return training.launched([sys.executable, "-m", "resnet_probe", *options.given], wanted)
    with training.joined(device) as (team, device):
        return run_in_team(options, team, device)


def run_in_team(options: Namespace, team: Team, device: torch.device) -> int:
    from dataclasses import replace

    from resnet_probe import data, models, training
    from resnet_probe.benchmarks.train import benchmark
    from resnet_probe.training.checks import refuse_unsuitable

    arch = models.architecture(options.arch)
    recipe = training.recipe(options.recipe or training.usual_recipe(options.data or ""))
    recipe = replace(recipe, batch=options.batch) if options.batch is not None else recipe
    train_set, test_set = image_sets(options, recipe.batch)
    height = train_set.shape[2]
    usual = (max(1, height // 2), max(1, 3 * height // 4), height)
    sizes = options.resolution or tuple(dict.fromkeys(usual))
    scale = data.measure(train_set)
    built = [arch.build(len(train_set.class_names), seed=seed) for seed in range(options.seeds)]
    last = replace(recipe, epochs=options.epochs or recipe.epochs, resolution=sizes)
    refuse_unsuitable(built[0], train_set, test_set, scale, last, team)
    if team.leads:
        print(headline(arch.spec, train_set, recipe.batch, device, team, options.rounds))
    found = benchmark(
        built, train_set, test_set,
        recipe=recipe, normalization=scale, precisions=tuple(options.precision), device=device,
        rounds=options.rounds, resolution=sizes, workers=options.workers,
        compiled=options.compile, epochs=options.epochs, team=team,
    )  # fmt: skip
    if team.leads:
        print(report(found, options, len(test_set)))
    return 0


def headline(
    spec: str, train_set: ImageSet, batch: int, device: torch.device, team: Team, rounds: int
) -> str:
    import torch

    size = "×".join(map(str, train_set.shape[1:]))
    threads = torch.get_num_threads()
    return (
        f"{spec}, {len(train_set):,} images of {size} ({train_set.name}), batch {batch}, {device}, "
        f"trainer in {team.size} processes of {threads} threads, median of {rounds} passes\n"
    )


def image_sets(options: Namespace, batch: int) -> tuple[ImageSet, ImageSet]:
    """The images to train and to test on; random ones stand for both where none are named."""
    import torch

    from resnet_probe import data
    from resnet_probe.data import ImageSet

    if options.data:
        where: dict[str, Any] = {"root": options.data_root, "size": (options.size, options.size)}
        train_set = data.load(options.data, split="train", **where)
        test_set = data.load(options.test_data or options.data, split="test", **where)
        return train_set.take(options.limit), test_set
    generator = torch.Generator().manual_seed(0)
    shape = drawn_shape(options.limit or STEPS * batch, options.size, 1, DEFAULT_MEMORY)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, shape[:1], generator=generator)
    drawn = ImageSet("random", "train", images, labels, tuple(map(str, range(10))))
    return drawn, drawn


def drawn_shape(count: int, size: int, each: int, memory: int) -> tuple[int, int, int, int]:
    """The shape of so many random images, of numbers of `each` so many bytes.

    Raises `ProbeError` where they take more than `memory`.
    """
    taken = count * 3 * size**2 * each
    if taken > memory:
        raise ProbeError(
            f"{count:,} random images of {size}×{size} pixels take {format_bytes(taken)}, more "
            f"than {format_bytes(memory)}: ask for fewer (limit=) or smaller ones (size=)"
        )
    return count, 3, size, size


def report(found: TrainBenchmark, options: Namespace, tested: int) -> str:
    """A line for each way, its speed against the plain loop's, and its test error."""
    from resnet_probe.benchmarks.train import PLAIN

    plain, compiled = found.images_per_s[PLAIN], ", compiled" if options.compile else ""
    lines = []
    for name, speed in found.images_per_s.items():
        what = f"{name}, float32, {options.workers} workers" if name == PLAIN else name + compiled
        lines.append(f"{what:<44}{speed:9,.0f} images/s{speed / plain:8.2f}x")
    if found.test_error_pct:
        lines += ["", f"test error on {tested:,} images after {options.epochs} epochs:"]
    for name, errors in found.test_error_pct.items():
        each = f"  ({', '.join(f'{error:.2f}' for error in errors)})" if len(errors) > 1 else ""
        lines.append(f"  {name:<42}{mean(errors):6.2f} %{each}")
    return "\n".join(lines)
