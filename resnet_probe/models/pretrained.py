"""torchvision's architectures, and its weights through its own weights API."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnet_probe.errors import ProbeError, did_you_mean, first_line
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
    accuracy_pct: float | None  # top 1 on ImageNet's validation images, where the library says so
    weights: str  # "IMAGENET1K_V2": what "DEFAULT" stood for
    preprocess: str  # "resize=232,crop=224,interpolation=bilinear", as `data.preprocess` reads it
    input_shape: tuple[int, int, int]


def all_names() -> list[str]:
    """Every classification network of torchvision."""
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def input_shape(name: str) -> tuple[int, int, int]:
    """The shape of an image for torchvision's network with initial weights."""
    import torchvision

    if name.startswith("vit"):  # its positions are for one size, and the weights' may be another
        return 3, 224, 224
    side = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    return 3, side, side


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
        model = _built_for(name, chosen)
    model.load_state_dict(state)
    preset = chosen.transforms()
    side = preset.crop_size[0]
    return Pretrained(
        model=model.eval(),
        normalize=normalize_spec(preset.mean, preset.std),
        class_names=tuple(chosen.meta["categories"]),
        accuracy_pct=float(chosen.meta["_metrics"]["ImageNet-1K"]["acc@1"]),
        weights=chosen.name,
        preprocess=preprocess_spec(preset.resize_size[0], (side, side), preset.interpolation.value),
        input_shape=(3, side, side),
    )


def _built_for(name: str, chosen: Any) -> nn.Module:
    import torchvision

    options = {}
    if name.startswith("vit"):
        options["image_size"] = chosen.transforms().crop_size[0]
    classes = len(chosen.meta["categories"])
    return torchvision.models.get_model(name, weights=None, num_classes=classes, **options)


def _choose(name: str, weights: str) -> Any:
    import torchvision

    available = torchvision.models.get_model_weights(name)
    # __members__ holds aliases as well, and DEFAULT is one.
    if weights not in available.__members__:
        raise ProbeError(
            f'torchvision has no weights "{weights}" for {name}: '
            f"there are {', '.join(available.__members__)}"
            f"{did_you_mean(weights, available.__members__)}"
        )
    chosen = available[weights]
    if not chosen.meta["categories"]:
        raise ProbeError(f"the weights {chosen.name} of {name} are without a classifier")
    return chosen


def _fetch(name: str, chosen: Any, *, progress: bool) -> dict[str, Any]:
    try:
        return chosen.get_state_dict(progress=progress, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
        raise ProbeError(
            f"the weights {chosen.name} of {name} can neither be read from {file} nor downloaded "
            f"from {chosen.url} ({first_line(error)}): without a network, put that file there first"
        ) from error


def normalize_spec(mean: Sequence[float], std: Sequence[float]) -> str:
    """`"imagenet"`, or `"mean=…,std=…"`, as `data.normalization` reads it."""
    if (list(mean), list(std)) == IMAGENET:
        return "imagenet"
    means, stds = (",".join(f"{value:g}" for value in values) for values in (mean, std))
    return f"mean={means},std={stds}"


def preprocess_spec(
    resize: int | tuple[int, int], crop: tuple[int, int], interpolation: str
) -> str:
    """`"resize=232,crop=224,interpolation=bilinear"`, as `data.preprocess` reads it."""
    sides = str(resize) if isinstance(resize, int) else "x".join(map(str, resize))
    return f"resize={sides},crop={crop[0]}x{crop[1]},interpolation={interpolation}"
