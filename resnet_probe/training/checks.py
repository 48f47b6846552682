"""What cannot be trained is refused before the first step, and a diverged run at once."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from resnet_probe.data import ImageSet, Normalization
from resnet_probe.errors import ProbeError
from resnet_probe.training.recipe import Recipe

MIRROR_CHANGES_CLASS = {"digits"}


def refuse_unsuitable(
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    normalization: Normalization,
    recipe: Recipe,
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
