"""How to train: every choice that changes the weights, in one frozen object."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from resnet_probe.errors import ProbeError, did_you_mean

PRECISIONS = ("float32", "bfloat16")
PROCESSOR = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""How processors of Intel, AMD and ARM name their instructions."""
SCHEDULES = ("one-cycle", "steps")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent with momentum, and how its learning rate moves.

    Attributes
    ----------
    epochs : passes over the training images
    batch : the most images a step; an epoch is cut into nearly equal steps of at most this many
    lr : the learning rate at its peak
    schedule : "one-cycle": after the rise, half a cosine to 0; "steps": divided by 10 at half and
        at three quarters of all steps
    warmup : share of all steps in which the rate rises linearly to its peak
    low_start : begin at a tenth of ``lr`` and stay there until the training error, over the steps
        between two looks at it, is below 80 % (He et al. 2015, arXiv 1512.03385, section 4.2)
    momentum, nesterov, weight_decay : of the optimizer; the decay applies to all parameters
    label_smoothing : share of the target spread evenly over all classes
    pad : images are padded with that many black pixels and cropped back at a random place
    flip : whether half of the images, at random, are mirrored left to right
    precision : of the convolutions' products; parameters, batch norms and tests are in float32
    effective_paths : how many random residual blocks each step keeps; None for all of them
    resolution : growing heights in pixels, the last of them that of the images, as (16, 24, 32):
        the smaller ones share the first two thirds of the epochs; None for full size throughout
    """

    epochs: int
    batch: int
    lr: float
    schedule: str = "one-cycle"
    warmup: float = 0.2
    low_start: bool = False
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    pad: int = 0
    flip: bool = False
    precision: str = "float32"
    effective_paths: int | None = None
    resolution: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name, allowed, good in (
            ("epochs", "at least 1 and at most 100,000", 1 <= self.epochs <= 100_000),
            ("batch", "at least 1", self.batch >= 1),
            ("lr", "a positive number", 0 < self.lr < math.inf),
            ("schedule", " or ".join(SCHEDULES), self.schedule in SCHEDULES),
            ("warmup", "from 0 to 1", 0 <= self.warmup <= 1),
            ("momentum", "from 0 to below 1", 0 <= self.momentum < 1),
            ("weight_decay", "at least 0", 0 <= self.weight_decay < math.inf),
            ("label_smoothing", "from 0 to below 1", 0 <= self.label_smoothing < 1),
            ("pad", "at least 0", self.pad >= 0),
            ("precision", " or ".join(PRECISIONS), self.precision in PRECISIONS),
            (
                "effective_paths",
                "at least 1",
                self.effective_paths is None or self.effective_paths >= 1,
            ),
            (
                "resolution",
                "growing heights in pixels, each for one epoch at least, the last for a third",
                self.resolution is None or self._sizes() == list(self.resolution) != [],
            ),
        ):
            if not good:
                raise ProbeError(
                    f"a recipe with {name} {getattr(self, name)} cannot be trained: "
                    f"{name} must be {allowed}"
                )

    def height_in(self, epoch: int) -> int | None:
        """The height of the images in an epoch, counted from 1; None for their own."""
        if self.resolution is None:
            return None
        smaller = len(self.resolution) - 1
        place = 3 * smaller * (epoch - 1) // (2 * self.epochs)  # in whole numbers: exact thirds
        return self.resolution[min(place, smaller)]

    def _sizes(self) -> list[int]:
        """The heights that occur, in growing order; none where there is no first one."""
        if not self.resolution or min(self.resolution) < 1:
            return []
        found = {self.height_in(epoch) for epoch in range(1, self.epochs + 1)}
        return sorted(size for size in found if size is not None)


# 2015: He et al., arXiv 1512.03385, section 4.2: 64,000 steps of 128 images, of 50,000 in all.
# Mirrored digits are other signs, or none.
RECIPES = {
    "2015": Recipe(
        epochs=164,
        batch=128,
        lr=0.1,
        schedule="steps",
        warmup=0.0,
        nesterov=False,
        weight_decay=1e-4,
        pad=4,
        flip=True,
    ),
    "fast": Recipe(epochs=60, batch=128, lr=0.2, pad=4, flip=True),
    "digits": Recipe(epochs=40, batch=64, lr=0.1, pad=2),
}
DEEP = 110
"""From this many layers on, the 2015 recipe starts low."""


def recipe(name: str, model: nn.Module | None = None) -> Recipe:
    """A recipe by name, as it stands or as it is for a network of that depth.

    Raises ProbeError for a name that is not in ``RECIPES``.
    """
    if name not in RECIPES:
        there = ", ".join(RECIPES) + did_you_mean(name, RECIPES)
        raise ProbeError(f"there is no recipe {name!r}: there are {there}")
    found = RECIPES[name]
    if name != "2015" or model is None:
        return found
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules())
    return replace(found, low_start=layers >= DEEP)


def usual_recipe(data: str) -> str:
    """The name of the recipe for a data set: its own, else that of 2015."""
    return data if data in RECIPES else "2015"


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of step ``step`` (from 0) of ``steps``, a low start aside."""
    rising = round(recipe.warmup * steps)
    if step < rising:
        return recipe.lr * (step + 1) / rising
    if recipe.schedule == "steps":
        return recipe.lr * 0.1 ** ((2 * step >= steps) + (4 * step >= 3 * steps))
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def multiplies_in_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster there than in float32: on CUDA, and some processors.

    Those without such instructions convert before and after each, ten times slower.
    """
    if device.type == "cuda":
        return True
    try:
        words = PROCESSOR.read_text().split()
    except OSError:  # not a Linux
        return False
    return not BFLOAT16.isdisjoint(words)
