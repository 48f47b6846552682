"""The untrained twin of a network: what it measures is not a result of training."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_probe.errors import ProbeError
from resnet_probe.loading.networks import OWN, hash_of
from resnet_probe.loading.prepared import Prepared, cut, number_type

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from resnet_probe.engine.images import Images

UNTRAINED = "untrained"
STATISTICS = 200
"""Images that batch-norm statistics are taken of: some ten thousand values a channel and more."""


def untrained(
    ready: Prepared,
    *,
    seed: int = 0,
    images: Tensor | None = None,
    data_root: str | Path | None = None,
) -> Prepared:
    """The same architecture from its initial state, on the same images.

    A network by name is built anew from `seed`; of one's own model every module with parameters is
    told to draw them again (`reset_parameters`), in a copy.  The batch norms hold the statistics of
    `images` `[m, …]`, normalised as those of `ready` are: by default the first 200 of the training
    split (of a named set in `data_root`, of a parquet file `test-…` the file `train-…` beside it),
    and of images that have no other split the first 200 of those that are measured.  `ready` is
    left as it is, and so is the state of torch's random numbers.

    Raises `ProbeError`, with their names, for modules that cannot be initialised again.
    """
    import torch

    network = ready.network
    if network.arch.family == OWN:
        model = drawn_again(network.model, seed, network.arch.spec)
    else:
        model = network.arch.build(ready.chain.classes, seed=seed)
    device, dtype = ready.chain.device, number_type(network.model)
    model = model.to(device=device, dtype=dtype).eval()
    found, whose = _statistics_of(ready, images, data_root)
    source = f"{UNTRAINED} twin, seed {seed}"
    if _norms(model):
        renew_statistics_(model, found[: len(found)].to(device))
        source += f", batch-norm statistics of {whose}"
    twin = replace(
        network, model=model, source=source, weights_sha256=hash_of(model),
        known_error_pct=None, card=None,
    )  # fmt: skip
    with torch.no_grad():
        chain = cut(twin.arch, model, ready.images[:1].to(device), level=ready.level)
    return replace(ready, network=twin, chain=chain)


def drawn_again(model: nn.Module, seed: int, name: str) -> nn.Module:
    """A copy in which every module has drawn its own parameters anew, from `seed`."""
    from resnet_probe.models.initial import own_random_numbers

    owners = {path or type(model).__name__: module for path, module in model.named_modules()
              if any(True for _ in module.parameters(recurse=False))}  # fmt: skip
    fixed = [f"{path} ({type(module).__name__})" for path, module in owners.items()
             if not callable(getattr(module, "reset_parameters", None))]  # fmt: skip
    if fixed:
        shown = ", ".join(fixed[:3]) + (f" and {len(fixed) - 3} more" if len(fixed) > 3 else "")
        raise ProbeError(
            f"{name} has no untrained twin: {shown} cannot be initialised again (that is what a "
            "method reset_parameters is for)"
        )
    twin = copy.deepcopy(model)
    with own_random_numbers(seed):
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return twin


def renew_statistics_(model: nn.Module, images: Tensor) -> None:
    """Give each batch norm the mean and variance of what it sees of `images`, all in one batch."""
    import torch

    norms = _norms(model)
    kept = [norm.momentum for norm in norms]
    with torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the statistics are those of the one batch
            norm.train()
        model(images)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.eval()


def _norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    from torch import nn

    kind = nn.modules.batchnorm._BatchNorm
    return [m for m in model.modules() if isinstance(m, kind) and m.track_running_stats]


def _statistics_of(
    ready: Prepared, images: Tensor | None, root: str | Path | None
) -> tuple[Images, str]:
    """Images to take statistics of, and what they are called."""
    from pathlib import Path

    from resnet_probe import data

    if images is not None:
        if tuple(images.shape[1:]) != tuple(ready.images.shape[1:]) or len(images) < 2:
            raise ProbeError(
                f"images= of shape {tuple(images.shape)}: at least 2 of "
                f"{'×'.join(map(str, ready.images.shape[1:]))} are needed"
            )
        return images, f"{len(images)} given images"
    source = data.beside(ready.image_set.name)
    if source is not None:
        found = data.read(
            source, split="train", root=None if root is None else Path(root),
            preprocess=ready.preprocess, limit=STATISTICS,
        ).of_channels(ready.image_set.shape[1])  # fmt: skip
        if found.shape[1:] == ready.image_set.shape[1:]:
            scale = data.normalization(ready.normalize)
            dtype = number_type(ready.network.model)
            return found.on(ready.chain.device, scale, dtype), f"{len(found)} training images"
    count = min(STATISTICS, len(ready.images))
    return ready.images[:count], f"{count} of the images measured, which have no other split"
