"""What cannot be trained is refused before the first step, and a diverged run at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil

import torch
from torch import nn

from resnet_probe.data import ImageSet, Normalization
from resnet_probe.engine.memory import exhausted
from resnet_probe.errors import ProbeError
from resnet_probe.training.batches import averaged
from resnet_probe.training.recipe import Recipe
from resnet_probe.training.team import Team

MIRROR_CHANGES_CLASS = {"digits"}


def refuse_unsuitable(
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    normalization: Normalization,
    recipe: Recipe,
    team: Team,
) -> None:
    """Raise ProbeError for sets that this network cannot be trained on with this recipe."""
    if recipe.flip and train_set.name in MIRROR_CHANGES_CLASS:
        raise ProbeError(f"{train_set.name} cannot be trained with flip: mirrored, they are others")
    for each in (train_set, test_set):
        if len(each) == 0:
            raise ProbeError(f"{each.name} ({each.split}) holds no images to train with")
        classes = head_size(model, each, normalization)
        lowest, highest = int(each.labels.min()), int(each.labels.max())
        if lowest < 0 or highest >= classes:
            raise ProbeError(
                f"the labels of {each.name} ({each.split}) are {lowest}–{highest}: "
                f"the network tells {classes} classes apart (0–{classes - 1})"
            )
    refuse_other_classes(train_set, test_set)
    refuse_sizes(model, train_set, normalization, recipe)
    refuse_batch(model, train_set, recipe, team)


def refuse_other_classes(train_set: ImageSet, test_set: ImageSet) -> None:
    """Raise ProbeError where a class has one name in one set and another in the other.

    Numbers are no names: a file that does not name its classes can go with one that does.
    """
    named = zip(train_set.class_names, test_set.class_names, strict=False)
    for number, (one, other) in enumerate(named):
        if one != other and not (one.isdecimal() or other.isdecimal()):
            raise ProbeError(
                f"class {number} is {one!r} in {train_set.name} and {other!r} in {test_set.name}: "
                "these sets do not have the same classes"
            )


def refuse_sizes(
    model: nn.Module, train_set: ImageSet, normalization: Normalization, recipe: Recipe
) -> None:
    """Raise ProbeError for a schedule that does not end at full size, or starts too small."""
    if recipe.resolution is None:
        return
    height = train_set.shape[2]
    if recipe.resolution[-1] != height:
        raise ProbeError(
            f"a resolution that ends at {recipe.resolution[-1]} does not fit {train_set.name}: "
            f"its images are {height} pixels high, and the last epochs are at full size"
        )
    one = train_set.take(1)
    small = averaged(torch.cat(list(one.pieces())), recipe.resolution[0])
    head_size(model, replace(one, images=small), normalization)


def refuse_batch(model: nn.Module, train_set: ImageSet, recipe: Recipe, team: Team) -> None:
    """Raise ProbeError for a batch that the set cannot fill, a team share, or a norm work on."""
    images = len(train_set)
    if recipe.batch > images:
        raise ProbeError(
            f"a batch of {recipe.batch} does not fit {train_set.name} ({train_set.split}), which "
            f"holds {images} images: give batch={images} or less"
        )
    least = images // ceil(images / recipe.batch) // team.size
    normed = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if least < (2 if normed else 1):
        among = f" for each of {team.size} processes" if team.size > 1 else ""
        why = ", and batch norm needs two to have a variance" if normed else ""
        raise ProbeError(
            f"a batch of {recipe.batch} leaves steps of {least} images{among}{why}: "
            "give a larger batch="
        )


@torch.inference_mode()
def head_size(model: nn.Module, image_set: ImageSet, normalization: Normalization) -> int:
    """How many logits the network gives for the first image; ProbeError if it takes none such."""
    device = next(model.parameters()).device
    image = normalization.apply(image_set.images[:1].to(device))
    try:
        # A copy, since switching the mode back module by module is the longer way.
        return copy.deepcopy(model).eval()(image).shape[1]
    except RuntimeError as error:
        size = "×".join(map(str, image.shape[1:]))
        raise ProbeError(
            f"the network does not take images of {size} ({str(error).splitlines()[0]})"
        ) from error


def refuse_divergence(loss: float, epoch: int, lr: float) -> None:
    """Raise ProbeError for a loss that is not a number or infinite."""
    if not math.isfinite(loss):
        raise ProbeError(
            f"training diverged in epoch {epoch}: the loss is {loss} at learning rate {lr:.3g}; "
            "try a lower rate or a longer warm-up"
        )


@contextmanager
def full_memory_said(batch: int, device: torch.device) -> Iterator[None]:
    """Raise ProbeError, naming the batch, where the memory of the device does not suffice."""
    try:
        yield
    except RuntimeError as error:
        if exhausted(error):
            raise ProbeError(
                f"steps of {batch} images do not fit the memory of {device}: give a smaller batch="
            ) from error
        raise
