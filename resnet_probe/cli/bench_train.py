"""`bench train`: images a second of the trainer, and of the loop one would write by hand."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError
from resnet_probe.loading.trained import heights
from resnet_probe.settings import listed

if TYPE_CHECKING:
    import torch

    from resnet_probe.benchmarks.train import TrainBenchmark
    from resnet_probe.data import ImageSet
    from resnet_probe.training import Team

STEPS = 8
"""Random images fill so many steps."""
OPTIONS: dict[str, dict[str, Any]] = {
    "arch": {"default": "resnet20", "metavar": "NAME", "help": "(default: resnet20)"},
    "data": {"metavar": "NAME", "help": f"(default: random images for {STEPS} steps)"},
    "test_data": {"metavar": "NAME", "help": "test images (default: the set's own)"},
    "data_root": {"type": Path, "metavar": "DIR"},
    "limit": {"type": int, "metavar": "IMAGES", "help": "train on the first IMAGES"},
    "size": {"type": int, "default": 32, "metavar": "PIXELS", "help": "of random images"},
    "recipe": {"metavar": "NAME", "help": "(default: as for `train`)"},
    "batch": {"type": int, "metavar": "N", "help": "(default: the recipe's)"},
    "precision": {
        "nargs": "+", "default": ["float32", "bfloat16"], "metavar": "TYPE",
        "help": "of the trainer (default: float32 bfloat16)",
    },
    "resolution": {
        "type": heights, "metavar": "LIST",
        "help": "a schedule to try too (default: half, three quarters and the full height)",
    },
    "epochs": {
        "type": int, "metavar": "N", "help": "also train N epochs in every way, and test",
    },
    "seeds": {"type": int, "default": 1, "metavar": "N", "help": "so many times (default: once)"},
    "workers": {"type": int, "default": 2, "metavar": "N", "help": "(default: 2)"},
    "rounds": {"type": int, "default": 3, "help": "passes to time (default: 3)"},
    "processes": {
        "type": int, "metavar": "N",
        "help": "of the trainer (default: as for `train`, 2 on a CPU)",
    },
    "device": {"default": "auto", "choices": ["auto", "cpu", "cuda"]},
}  # fmt: skip


def add_parser(what: Any) -> None:
    parser: ArgumentParser = what.add_parser(
        "train",
        help="training: a plain loop against the trainer",
        description="A plain loop (DataLoader with workers, torchvision's transforms, NCHW, "
        "float32, all processors) against the trainer, in turn, with the same network, batch, "
        "optimizer and number of steps, without and with growing images.",
    )
    for name, more in OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **more)
    parser.add_argument("--compile", action="store_true", help="compile the trainer's steps")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe import training
    from resnet_probe.loading import find_device

    for name in ("rounds", "seeds"):
        if getattr(options, name) < 1:
            raise ProbeError(f"{name}={getattr(options, name)}: at least one is needed")
    if options.epochs is not None and not options.data:
        raise ProbeError("epochs= trains and tests: give the images to do so, data=")
    if options.epochs is not None and options.epochs < 1:
        raise ProbeError(f"epochs={options.epochs}: at least one epoch is needed")
    device = find_device(options.device)
    wanted = options.processes or (min(2, training.processors()) if device.type == "cpu" else 1)
    if training.processes_started() == 1 < wanted:
        command = [sys.executable, "-m", "resnet_probe", "bench", "train", *words(options)]
        return training.launched(command, wanted)
    with training.joined(device) as (team, device):
        return run_in_team(options, team, device)


def words(options: Namespace) -> list[str]:
    """The words of a command line that asks for the same."""
    found = ["--compile"] * options.compile
    for name in OPTIONS:
        value = getattr(options, name)
        if value is not None:
            values = value if isinstance(value, list) else [
                listed(value) if isinstance(value, tuple) else str(value)
            ]  # fmt: skip
            found += [f"--{name.replace('_', '-')}", *values]
    return found


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
    sizes = options.resolution or (height // 2, 3 * height // 4, height)
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
    shape = (options.limit or STEPS * batch, 3, options.size, options.size)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, shape[:1], generator=generator)
    drawn = ImageSet("random", "train", images, labels, tuple(map(str, range(10))))
    return drawn, drawn


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
