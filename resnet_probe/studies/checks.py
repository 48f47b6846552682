"""What a study refuses before it starts, each in one sentence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.images import Images, ImageStream
from resnet_probe.errors import ProbeError


def as_images(chain: ResidualChain, images: Any) -> Images:
    """Images `[n, …]` of the chain's own floating type, from a tensor, an array or a list.

    Raises `ProbeError` for pixels that nobody has normalized, and for images of several sizes.
    """
    wanted = dtype_of(chain)
    if isinstance(images, ImageStream):
        return images.of_type(wanted)
    given = _tensor(images, "images")
    if not given.is_floating_point():
        raise ProbeError(
            f"images of type {_type(given)} have not been normalized: give floating-point numbers, "
            "scaled as in the network's training, or let prepare(model, data=…) do it"
        )
    return given.to(wanted)


def as_labels(labels: Any) -> Tensor:
    """Class numbers int64 `[n]`, from a tensor, an array or a list.

    Raises `ProbeError` for anything but one whole number an image.
    """
    given = _tensor(labels, "labels")
    if given.dim() != 1:
        raise ProbeError(
            f"labels of shape {tuple(given.shape)} are not one class number an image: of one-hot "
            "rows give labels.argmax(1)"
        )
    whole = given.to(torch.int64)
    if given.is_floating_point() and not torch.equal(whole.to(given.dtype), given):
        raise ProbeError("labels hold fractions: give the number of each image's class, from 0")
    return whole


def dtype_of(chain: ResidualChain) -> torch.dtype:
    """The floating type of the chain's first parameter; float32 without any."""
    parameters = (p for module in chain.modules for p in module.parameters())
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)


def _tensor(values: Any, what: str) -> Tensor:
    if isinstance(values, Tensor):
        return values
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise ProbeError(
            f"{what} of type {type(values).__name__} do not make one tensor: give a tensor or an "
            "array with one entry an image, all of one size"
        ) from None


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_data(chain: ResidualChain, images: Images, labels: Tensor) -> None:
    """Raises `ProbeError` unless the images and labels fit each other and the chain."""
    if len(images) == 0 or len(images) != len(labels):
        raise ProbeError(
            f"{len(images)} images and {len(labels)} labels: as many of each, and some"
        )
    if tuple(images.shape[1:]) != chain.input_shape:
        raise ProbeError(
            f"images of shape {tuple(images.shape[1:])} do not fit: {chain.name} was cut for "
            f"images of shape {chain.input_shape}"
        )
    _check_classes(chain)
    outside = torch.nonzero((labels < 0) | (labels >= chain.classes)).flatten()
    if len(outside):
        first = int(outside[0])
        raise ProbeError(
            f"label {int(labels[first])} of image {first} is outside the head's classes: "
            f"{chain.name} has {chain.classes} (0–{chain.classes - 1})"
        )


def _check_classes(chain: ResidualChain) -> None:
    """Raises `ProbeError` unless the network gives one logit for each of several classes."""
    shape = (chain.classes,) if chain.output_shape is None else chain.output_shape
    if len(shape) == 1 and shape[0] > 1:
        return
    form = f"[n, {', '.join(map(str, shape))}]" if shape else "[n]"
    if shape in ((), (1,)):
        raise ProbeError(
            f"{chain.name} gives a single number an image, {form}, of which no class is the "
            "largest: for two classes give it the logits [0, z], as torch.cat([0 * z, z], 1)"
        )
    raise ProbeError(
        f"{chain.name} gives logits {form} for n images: what is measured is one answer an image, "
        "from logits [n, classes]"
    )


def check_weights(chain: ResidualChain) -> None:
    """Raises `ProbeError` for a parameter or buffer that holds NaN or Inf, by its own name."""
    for module in chain.modules:
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            broken = int((~torch.isfinite(tensor)).sum())
            if broken:
                raise ProbeError(
                    f"{name} of {chain.name} holds {broken:,} NaN or infinite numbers "
                    f"(of {tensor.numel():,}): nothing can be measured on such weights"
                )


def check_spread(images: Images, study: str) -> None:
    """Raises `ProbeError` for fewer than two images, over which nothing varies."""
    if len(images) < 2:
        raise ProbeError(
            f"{study} needs at least 2 images, found {len(images)}: its intervals come from the "
            "spread over images"
        )


def check_finite(logits: Tensor, chain: ResidualChain, start: int) -> None:
    """Raises `ProbeError` for logits of images `start` … that are not finite."""
    if not torch.isfinite(logits).all():
        raise ProbeError(
            f"the logits of images {start}–{start + len(logits) - 1} are not finite: "
            f"{chain.name} or its input holds NaN or Inf"
        )


def predicted(logits: Tensor) -> Tensor:
    """The class of each image, int64 `[n]`; of equal logits the same one in every study."""
    return logits.topk(min(2, logits.shape[1]), dim=1).indices[:, 0]
