"""What a study refuses before it starts, each in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.images import Images, ImageStream
from resnet_probe.engine.task import IGNORED, asked, kind_of
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs


def as_images(chain: ResidualChain, images: Any) -> Any:
    """Images `[n, …]` of the chain's own floating type, from a tensor, an array or a list.

    Of a network that takes tokens, or inputs by name, those as they are: the stem says what they
    have to be.  Raises `ProbeError` for pixels that nobody has normalized, and for images of
    several sizes.
    """
    wanted = dtype_of(chain)
    if isinstance(images, ImageStream):
        return images.of_type(wanted)
    if isinstance(images, Mapping | Inputs) or (isinstance(images, tuple) and len(chain.takes) > 1):
        return inputs_of(images).to(dtype=wanted)
    if isinstance(images, tuple) and len(images) == 1:
        images = images[0]
    given = _tensor(images, "tokens" if chain.of_tokens else "images")
    if given.dim() == 0:
        raise ProbeError(f"one number ({given.item():g}) is no images [n, …]")
    if chain.of_tokens:
        if given.is_floating_point():
            raise ProbeError(f"{chain.name} takes tokens, whole numbers, and got fractions")
        return given.to(chain.takes[0][1])
    given = given.clone() if given.is_inference() else given  # else no gradient could pass them
    if not given.is_floating_point():
        raise ProbeError(
            f"images of type {_type(given)} have not been normalized: give floating-point numbers, "
            "scaled as in the network's training, or let prepare(model, data=…) do it"
        )
    return given.to(wanted)


def inputs_of(given: Any) -> Inputs:
    """Several inputs by name or place; labels among them are none."""
    if isinstance(given, Mapping) and not isinstance(given, Inputs):
        given = {key: _tensor(value, key) for key, value in given.items() if key != "labels"}
    return Inputs.of(given)


def as_labels(labels: Any) -> Tensor:
    """Class numbers, or numbers, `[n, …]`, from a tensor, an array or a list."""
    given = _tensor(labels, "labels")
    if given.is_complex():
        raise ProbeError("labels are complex numbers: give classes as whole numbers, or fractions")
    return given.to(torch.int64) if given.dtype == torch.bool else given


def fitted(chain: ResidualChain, images: Any, labels: Any) -> tuple[ResidualChain, Any, Tensor]:
    """Images of the chain's type, labels in one of their forms, and the chain with such outputs.

    See `engine.task`.  Raises `ProbeError` for labels that fit no output.
    """
    if labels is None and isinstance(images, Mapping):
        labels = images.get("labels")
    taken, given = as_images(chain, images), as_labels(labels)
    if len(taken) == 0 or given.dim() == 0 or len(taken) != len(given):
        many = len(given) if given.dim() else "no"
        raise ProbeError(f"{len(taken)} images and {many} labels: as many of each, and some")
    found = asked(_at_size(chain, taken), given, _tokens(taken))
    return found.chain, taken, found.labels


def _tokens(images: Any) -> Tensor | None:
    """The token ids `[n, t]` among the inputs: those called so, else the first whole numbers."""
    values = images.values if isinstance(images, Inputs) else {"images": images}
    whole = {name: each for name, each in values.items() if _is_tokens(each)}
    return whole.get("input_ids", next(iter(whole.values()), None))


@torch.inference_mode()
def _at_size(chain: ResidualChain, images: Any) -> ResidualChain:
    """The chain with the shapes that it has for inputs of this size, where sizes are free."""
    shape = tuple(images.shape[1:])
    if not chain.free or isinstance(images, ImageStream) or shape == chain.input_shape:
        return chain
    logits = chain(images[:1].to(chain.device))
    return replace(chain, input_shape=shape, output_shape=tuple(logits.shape[1:]))


def _is_tokens(given: Any) -> bool:
    return isinstance(given, Tensor) and not (given.is_floating_point() or given.is_complex())


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
    check_shape(chain, images)
    kind = kind_of(labels)
    if kind == "numbers":
        return
    known = labels >= 0 if kind == "classes" else labels != IGNORED
    outside = torch.nonzero((~known if kind == "classes" else known & (labels < 0))
                            | (labels >= chain.classes))  # fmt: skip
    if len(outside):
        place = tuple(int(at) for at in outside[0])
        of = f"image {place[0]}" + (f", position {place[1]}," if kind == "places" else "")
        ignored = f"; {IGNORED} leaves a position out" if kind == "places" else ""
        raise ProbeError(
            f"label {int(labels[place])} of {of} is outside the head's classes: "
            f"{chain.name} has {chain.classes} (0–{chain.classes - 1}){ignored}"
        )
    counted = known.flatten(1).any(1) if kind == "places" else known
    if not bool(counted.all()):
        empty = int(torch.nonzero(~counted)[0])
        raise ProbeError(f"all labels of image {empty} are {IGNORED}: none of it counts")


def check_shape(chain: ResidualChain, images: Images) -> None:
    """Raises `ProbeError` for images of another shape than the chain was cut for."""
    if not chain.free and tuple(images.shape[1:]) != chain.input_shape:
        raise ProbeError(
            f"images of shape {tuple(images.shape[1:])} do not fit: {chain.name} was cut for "
            f"images of shape {chain.input_shape}"
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


def check_gradients(chain: ResidualChain) -> None:
    """Raises `ProbeError` for a chain whose gradients are not those of its network."""
    if chain.strays:
        raise ProbeError(f"{chain.strays}; deletions can be measured, and gradients cannot")


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
