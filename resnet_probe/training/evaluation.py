"""How many images a network classifies correctly."""

from __future__ import annotations

import torch
from torch import nn

from resnet_probe.data import ImageSet, Normalization

BATCH = 256


@torch.inference_mode()
def count_correct(
    model: nn.Module, image_set: ImageSet, *, normalization: Normalization, batch: int = BATCH
) -> int:
    """The number of images whose largest logit is that of their label.

    The model runs in eval mode, on the device where its parameters are, and is left in the mode
    that it was in.
    """
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    correct = torch.zeros((), dtype=torch.int64, device=device)
    try:
        model.eval()
        for images, labels in zip(
            image_set.images.split(batch), image_set.labels.split(batch), strict=True
        ):
            logits = model(normalization.apply(images.to(device)))
            correct += (logits.argmax(1) == labels.to(device)).sum()
    finally:
        for module, training in modes.items():
            module.training = training
    return int(correct)
