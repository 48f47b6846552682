"""From the options of `train` to the images, the architecture and the recipe."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    import torch

    from resnet_probe.data import ImageSet
    from resnet_probe.training import Recipe


def pixels(text: str) -> tuple[int, ...]:
    """``16,24,32`` as numbers."""
    return tuple(int(part) for part in text.split(","))


RECIPE_OPTIONS: dict[str, tuple[Any, str, str]] = {
    "epochs": (int, "N", "passes over the training images"),
    "batch": (int, "N", "images a step, shared among the processes of torchrun"),
    "lr": (float, "RATE", "the learning rate at its peak"),
    "warmup": (float, "SHARE", "of all steps, in which the rate rises"),
    "weight_decay": (float, "X", "of all parameters"),
    "label_smoothing": (float, "SHARE", "of the target, spread over all classes"),
    "precision": (str, "TYPE", "float32 or bfloat16 (default: bfloat16 on CUDA, else float32)"),
    "resolution": (
        pixels,
        "LIST",
        "growing heights of the images, as 16,24,32: the smaller ones share the first two thirds "
        "of the epochs, the last is full size",
    ),
    "effective_paths": (int, "N", "each mini-batch keeps N random blocks; the test, all of them"),
}


def image_sets(options: Namespace, size: tuple[int, ...]) -> tuple[ImageSet, ImageSet]:
    """The training and the test images."""
    from resnet_probe import data

    if options.data.startswith(("parquet:", "imagefolder:")) and not options.test_data:
        raise ProbeError(f"{options.data} has one split: give --test-data, the images to test on")
    where: dict[str, Any] = {"root": options.data_root, "size": size}
    return (
        data.load(options.data, split="train", **where),
        data.load(options.test_data or options.data, split="test", **where),
    )


def recipe_of(options: Namespace, model: Any, device: torch.device) -> Recipe:
    """The recipe by name, with what the options change."""
    from resnet_probe import training

    given = {name: getattr(options, name) for name in RECIPE_OPTIONS}
    if given["precision"] is None and device.type == "cuda":
        given["precision"] = "bfloat16"
    return replace(
        training.recipe(options.recipe or training.usual_recipe(options.data), model),
        **{name: value for name, value in given.items() if value is not None},
    )


def with_regime(options: Namespace) -> str:
    """The architecture with the options that change which blocks it has, and when."""
    from resnet_probe.models import grammar

    added = []
    if options.stochastic_depth is not None:
        added.append(f"stochastic_depth={options.stochastic_depth}")
    if options.deleted_blocks is not None:
        added.append(f"deleted={options.deleted_blocks.replace(',', '+')}")
    name, there = grammar.split(options.arch)
    return ":".join([name, ",".join([*there, *added])] if there or added else [name])


def folder_name(spec: str, data: str, recipe: Recipe) -> str:
    """``train-ARCH-DATA``, and what makes it another training of the same."""
    paths = f"-effective-paths-{recipe.effective_paths}" if recipe.effective_paths else ""
    return f"train-{spec.translate(str.maketrans(':,=', '---'))}{paths}-{data}"
