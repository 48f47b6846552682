"""`bench train`: images a second of the trainer, and of the loop one would write by hand."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.benchmarks.train import TrainBenchmark
    from resnet_probe.data import ImageSet

STEPS = 8
"""Random images fill so many steps."""


def add_parser(what: Any) -> None:
    parser: ArgumentParser = what.add_parser(
        "train",
        help="training: a plain loop against the trainer",
        description="A plain loop (DataLoader with workers, torchvision's transforms, NCHW, "
        "float32) against the trainer, in turn, with the same network, batch, optimizer and "
        "number of steps.",
    )
    parser.add_argument("--arch", default="resnet20", metavar="NAME", help="(default: resnet20)")
    parser.add_argument(
        "--data", metavar="NAME", help=f"(default: random images for {STEPS} steps)"
    )
    parser.add_argument("--test-data", metavar="NAME", help="test images (default: the set's own)")
    parser.add_argument("--data-root", type=Path, metavar="DIR")
    parser.add_argument("--limit", type=int, metavar="IMAGES", help="train on the first IMAGES")
    parser.add_argument("--size", type=int, default=32, metavar="PIXELS", help="of random images")
    parser.add_argument("--recipe", metavar="NAME", help="(default: as for `train`)")
    parser.add_argument("--batch", type=int, metavar="N", help="(default: the recipe's)")
    parser.add_argument(
        "--precision", nargs="+", default=["float32", "bfloat16"], metavar="TYPE",
        help="of the trainer (default: float32 bfloat16)",
    )  # fmt: skip
    parser.add_argument("--compile", action="store_true", help="compile the trainer's steps")
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="also train N epochs in every way, and test"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="(default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="passes to time (default: 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from dataclasses import replace

    import torch

    from resnet_probe import data, models, training
    from resnet_probe.benchmarks.train import benchmark
    from resnet_probe.loading import find_device
    from resnet_probe.training.checks import refuse_unsuitable
    from resnet_probe.training.team import ALONE

    if options.rounds < 1:
        raise ProbeError(f"--rounds {options.rounds}: at least one round is needed")
    if options.epochs is not None and not options.data:
        raise ProbeError("--epochs trains and tests: give the images to do so (--data)")
    if options.epochs is not None and options.epochs < 1:
        raise ProbeError(f"--epochs {options.epochs}: at least one epoch is needed")
    arch, device = models.architecture(options.arch), find_device(options.device)
    recipe = training.recipe(options.recipe or training.usual_recipe(options.data or ""))
    recipe = replace(recipe, batch=options.batch) if options.batch is not None else recipe
    train_set, test_set = image_sets(options, recipe.batch)
    scale = data.measure(train_set)
    model = arch.build(len(train_set.class_names), seed=options.seed)
    refuse_unsuitable(model, train_set, test_set, scale, recipe, ALONE)
    size = "×".join(map(str, train_set.images.shape[2:]))
    print(f"{arch.spec}, {len(train_set):,} images of {size} ({train_set.name}), batch "
          f"{recipe.batch}, {device}, {torch.get_num_threads()} threads, median of "
          f"{options.rounds} passes\n", flush=True)  # fmt: skip
    found = benchmark(
        model, train_set, test_set,
        recipe=recipe, normalization=scale, precisions=tuple(options.precision), device=device,
        rounds=options.rounds, workers=options.workers, compiled=options.compile,
        epochs=options.epochs, seed=options.seed,
    )  # fmt: skip
    print(report(found, options, len(test_set)))
    return 0


def image_sets(options: Namespace, batch: int) -> tuple[ImageSet, ImageSet]:
    """The images to train and to test on; random ones stand for both where none are named."""
    import torch

    from resnet_probe.cli import train_request
    from resnet_probe.data import ImageSet

    if options.data:
        train_set, test_set = train_request.image_sets(options, (options.size, options.size))
        return train_set.take(options.limit), test_set
    generator = torch.Generator().manual_seed(options.seed)
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
        lines.append(f"{what:<36}{speed:9,.0f} images/s{speed / plain:8.2f}x")
    if found.test_error_pct:
        lines += ["", f"test error on {tested:,} images after {options.epochs} epochs:"]
        lines += [f"  {name:<34}{error:6.2f} %" for name, error in found.test_error_pct.items()]
    return "\n".join(lines)
