"""torchvision's architectures, and its weights through its own weights API."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnet_probe.errors import ProbeError
from resnet_probe.models.initial import own_random_numbers

NAMES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "vgg19_bn",
)
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Pretrained:
    """A network with published weights, in eval mode, and what has to be known to use it."""

    model: nn.Module
    normalize: str  # "imagenet", or "mean=…,std=…"
    class_names: tuple[str, ...]
    accuracy_pct: float  # top 1 on the validation images of ImageNet, as torchvision states it
    weights: str  # "IMAGENET1K_V2": what "DEFAULT" stood for


def network(*, name: str, classes: int) -> nn.Module:
    """torchvision's network of that name, with initial weights: [n, 3, h, w] -> [n, classes]."""
    import torchvision

    return torchvision.models.get_model(name, weights=None, num_classes=classes)


def load(name: str, weights: str = "DEFAULT", *, progress: bool = False) -> Pretrained:
    """torchvision's network `name` with those of its weights, downloaded once into torch's cache.

    Raises ProbeError for weights that torchvision does not have, and where they are not in the
    cache and cannot be downloaded.
    """
    chosen = _choose(name, weights)
    state = _fetch(name, chosen, progress=progress)
    with own_random_numbers(None):
        model = network(name=name, classes=len(chosen.meta["categories"]))
    model.load_state_dict(state)
    return Pretrained(
        model=model.eval(),
        normalize=_normalize_spec(chosen),
        class_names=tuple(chosen.meta["categories"]),
        accuracy_pct=float(chosen.meta["_metrics"]["ImageNet-1K"]["acc@1"]),
        weights=chosen.name,
    )


def _choose(name: str, weights: str) -> Any:
    import torchvision

    available = torchvision.models.get_model_weights(name)
    # __members__ holds aliases as well, and DEFAULT is one.
    if weights not in available.__members__:
        raise ProbeError(
            f'torchvision has no weights "{weights}" for {name}: '
            f"there are {', '.join(available.__members__)}"
        )
    return available[weights]


def _fetch(name: str, chosen: Any, *, progress: bool) -> dict[str, Any]:
    try:
        return chosen.get_state_dict(progress=progress, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProbeError(
            f"the weights {chosen.name} of {name} can neither be read from {file} nor downloaded "
            f"from {chosen.url} ({reason}): without a network, put that file there first"
        ) from error


def _normalize_spec(chosen: Any) -> str:
    preset = chosen.transforms()
    if (preset.mean, preset.std) == IMAGENET:
        return "imagenet"
    mean, std = (",".join(f"{value:g}" for value in values) for values in (preset.mean, preset.std))
    return f"mean={mean},std={std}"
