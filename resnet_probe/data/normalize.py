"""Mean and standard deviation per channel: what a network saw in training, and must see again."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_probe.errors import ProbeError, did_you_mean

Triple = tuple[float, float, float]

# imagenet: the constants that torchvision's weights were trained with.
# cifar10: over all pixels of the 50,000 training images.
NAMED: dict[str, tuple[Triple, Triple]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True)
class Normalization:
    """`(image − mean) / std` per channel, of images scaled to 0–1.

    `name` is a specification that `normalization` reads back.
    """

    name: str
    mean: Triple
    std: Triple

    def apply(self, images: Tensor) -> Tensor:
        """Images `[n, 3, h, w]`, uint8 (0–255) or float (0–1), to float32, channels last.

        Where one number stands for all channels there may be any number of them, and more axes.
        Raises `ProbeError` for images of another shape, and for three numbers of one channel.
        """
        one = len({*self.mean}) == len({*self.std}) == 1
        if not one and images.dim() == 4 and images.shape[1] == 1:
            raise ProbeError(
                f"normalize={self.name} has three numbers, and the images have one channel: give "
                "one, as in mean=0.5,std=0.25"
            )
        if images.dim() < 4 or not (one or images.shape[1:2] == (3,) == images.shape[1:-2]):
            raise ProbeError(
                f"images of shape {tuple(images.shape)} cannot be normalized: "
                "expected (n, 3, height, width)"
            )
        layout = torch.channels_last if images.dim() == 4 else torch.contiguous_format
        scaled = images.to(torch.float32, memory_format=layout)
        if images.dtype == torch.uint8:
            # By a tensor: CUDA would multiply by the rounded reciprocal of a plain number.
            scaled.div_(scaled.new_tensor(255.0))
        mean, std = (scaled.new_tensor(each).view(3, 1, 1) for each in (self.mean, self.std))
        if one:
            mean, std = mean[:1], std[:1]
        centred = scaled - mean if scaled is images else scaled.sub_(mean)
        return centred.div_(std)


def normalization(spec: str) -> Normalization:
    """`imagenet`, `cifar10`, `none`, or `mean=0.5,0.5,0.5,std=0.2,0.2,0.2`.

    One number instead of three stands for all channels: `mean=0.5,std=0.2`. Raises ProbeError
    for anything else, and for a standard deviation that is not positive.
    """
    if spec in NAMED:
        return Normalization(spec, *NAMED[spec])
    match = re.fullmatch(r"mean=([^a-z]+),std=([^a-z]+)", spec.replace(" ", ""))
    mean, std = (numbers(part) for part in match.groups()) if match else (None, None)
    if mean is None or std is None or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ProbeError(
            f"{spec!r} is not a normalization: give {', '.join(NAMED)} or mean=a,b,c,std=d,e,f "
            "(means and positive standard deviations of images scaled to 0–1)"
            f"{did_you_mean(spec, NAMED)}"
        )
    return Normalization(written(mean, std), mean, std)


def numbers(text: str) -> Triple | None:
    """`0.1,0.2,0.3` or `0.1` as three numbers; None if it is neither."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        return None
    return triple(values * 3 if len(values) == 1 else values) if len(values) in (1, 3) else None


def triple(values: list[float]) -> Triple:
    """A list of three as a tuple of three."""
    red, green, blue = values
    return red, green, blue


def written(mean: Triple, std: Triple) -> str:
    """The specification of these numbers: one number where the channels are equal."""

    def short(values: Triple) -> str:
        return ",".join(f"{value:g}" for value in (values[:1] if len({*values}) == 1 else values))

    return f"mean={short(mean)},std={short(std)}"
