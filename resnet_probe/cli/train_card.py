"""The card of a training, and the facts beside its history."""

from __future__ import annotations

import platform
import shlex
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from resnet_probe.cli.train_request import RECIPE_OPTIONS

if TYPE_CHECKING:
    import torch
    from torch import nn

    from resnet_probe.data import ImageSet, Normalization
    from resnet_probe.training import Recipe, Team, TrainingRun
    from resnet_probe.zoo import Card

COMMAND = ("arch", "data", "test_data", "normalize", "recipe")


def card_of(
    network: nn.Module,
    run: TrainingRun,
    train_set: ImageSet,
    test_set: ImageSet,
    scale: Normalization,
    recipe: Recipe,
    facts: dict[str, Any],
) -> Card:
    """What is known about the trained network, which is rounded and evaluated here once more."""
    from resnet_probe import training, zoo

    return zoo.Card(
        arch=run.identity["arch"],
        data=train_set.name,
        test_data="" if test_set.name == train_set.name else test_set.name,
        note=train_set.note,
        normalize=scale.name,
        classes=len(train_set.class_names),
        command=facts["command"],
        seed=run.identity["seed"],
        epochs=recipe.epochs,
        effective_paths=recipe.effective_paths,
        precision=recipe.precision,
        resolution=recipe.resolution,
        correct=training.count_correct(network, test_set, normalization=scale),
        images=len(test_set),
        seconds=round(float(run.history["seconds"].sum()), 1),
        versions=facts["versions"],
        machine=facts["device"],
        data_sha256=test_set.fingerprint(),
    )


def facts_of(
    options: Namespace, recipe: Recipe, team: Team, device: torch.device
) -> dict[str, Any]:
    """The command, the versions and the machine."""
    return {
        "command": command(options, recipe, team),
        "versions": _versions(),
        "device": _machine(device, team),
        "platform": platform.platform(),
    }


def command(options: Namespace, recipe: Recipe, team: Team) -> str:
    """The command that gives these weights, without the folder that they were written to."""
    start = ["torchrun", f"--nproc-per-node={team.size}"] if team.size > 1 else ["python"]
    given = [*start, "-m", "resnet_probe", "train"]
    precise = {"precision": recipe.precision if recipe.precision != "float32" else None}
    values = {**vars(options), **precise}  # the default differs between devices
    for name in (*COMMAND, *RECIPE_OPTIONS, "seed"):
        if values[name] is not None:
            given += [f"--{name.replace('_', '-')}", written(values[name])]
    return shlex.join(given + ["--compile"] * options.compile)


def written(value: Any) -> str:
    """As the command line reads it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _versions() -> dict[str, str]:
    import torch

    from resnet_probe import __version__

    return {"resnet_probe": __version__, "torch": torch.__version__}


def _machine(device: torch.device, team: Team) -> str:
    import torch

    if device.type == "cuda":
        one = torch.cuda.get_device_name(device)
    else:
        one = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return one if team.size == 1 else f"{team.size} processes, each on {one}"
