"""timm's networks by name, `timm:resnet26d`, and their published weights.  timm is optional."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from resnet_probe.errors import ProbeError, did_you_mean, first_line
from resnet_probe.models.initial import own_random_numbers
from resnet_probe.models.pretrained import Pretrained, normalize_spec, preprocess_spec

CROPS = ("center", "squash")


def library() -> Any:
    """The package `timm`; ProbeError where it is not installed."""
    try:
        import timm
    except ImportError as error:
        raise ProbeError(
            "timm:… needs the package timm, which is not installed: pip install timm"
        ) from error
    return timm


def known(name: str) -> tuple[tuple[int, int, int], int]:
    """(input shape, classes) of timm's network of that name, as its weights have them.

    Raises ProbeError for a name that timm does not know, with the nearest.
    """
    timm = library()
    if not timm.is_model(name):
        hint = did_you_mean(name.partition(".")[0], timm.list_models())
        raise ProbeError(f"timm has no network {name!r}{hint}")
    config = timm.models.get_pretrained_cfg(name)
    if config is None:
        return (3, 224, 224), 1000
    channels, height, width = config.input_size
    return (channels, height, width), config.num_classes or 1000


def network(*, name: str, classes: int) -> nn.Module:
    """timm's network of that name, with initial weights: [n, 3, h, w] -> [n, classes]."""
    return library().create_model(name, pretrained=False, num_classes=classes)


def load(name: str) -> Pretrained:
    """timm's network with published weights; `name` may carry their tag, as `resnet50.a1_in1k`.

    The preprocessing is that of timm's own evaluation at the size of the training.

    Raises ProbeError for a network or tag without weights, and where they are neither in the cache
    nor can be downloaded.
    """
    timm = library()
    try:
        with own_random_numbers(None):
            model = timm.create_model(name, pretrained=True)
    except Exception as error:  # of timm, of its hub or of the network, each with its own kind
        raise ProbeError(
            f"the weights of timm:{name} can neither be read from the cache of huggingface_hub nor "
            f"downloaded ({first_line(error)}): give weights=, or fetch them where there is a "
            "network"
        ) from error
    config = timm.data.resolve_model_data_config(model)
    tag = model.pretrained_cfg.get("tag", "")
    return Pretrained(
        model=model.eval(),
        normalize=normalize_spec(config["mean"], config["std"]),
        class_names=(),
        accuracy_pct=None,
        weights=f"{model.pretrained_cfg['architecture']}.{tag}".rstrip("."),
        preprocess=_preprocess(name, config),
        input_shape=tuple(config["input_size"]),
    )


def _preprocess(name: str, config: dict[str, Any]) -> str:
    """As timm's `transforms_imagenet_eval` has it for an input of this size."""
    if config["crop_mode"] not in CROPS:
        raise ProbeError(
            f"timm:{name} crops its images in the way {config['crop_mode']!r}, which is not known "
            f"here ({' and '.join(CROPS)} are): give the network as model= with preprocess="
        )
    height, width = config["input_size"][1:]
    sides = (math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"]))
    square = height == width and config["crop_mode"] == "center"
    resize = sides[0] if square else sides
    return preprocess_spec(resize, (height, width), config["interpolation"])
