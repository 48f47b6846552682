"""How to train: every choice that changes the weights, in one frozen object."""

from __future__ import annotations

import math
from dataclasses import dataclass

from resnet_probe.errors import ProbeError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum, warm-up and a cosine schedule.

    Attributes
    ----------
    epochs : passes over the training images
    batch : the most images a step; an epoch is cut into nearly equal steps of at most this many
    lr : the learning rate at its peak
    warmup : share of all steps in which the rate rises linearly to its peak
    momentum, weight_decay : of the optimizer; the decay applies to all parameters
    label_smoothing : share of the target spread evenly over all classes
    pad : images are padded with that many black pixels and cropped back at a random place
    flip : whether half of the images, at random, are mirrored left to right
    """

    epochs: int
    batch: int
    lr: float
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    pad: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        for name, allowed, good in (
            ("epochs", "at least 1", self.epochs >= 1),
            ("batch", "at least 1", self.batch >= 1),
            ("lr", "a positive number", 0 < self.lr < math.inf),
            ("warmup", "from 0 to 1", 0 <= self.warmup <= 1),
            ("momentum", "from 0 to below 1", 0 <= self.momentum < 1),
            ("weight_decay", "at least 0", 0 <= self.weight_decay < math.inf),
            ("label_smoothing", "from 0 to below 1", 0 <= self.label_smoothing < 1),
            ("pad", "at least 0", self.pad >= 0),
        ):
            if not good:
                raise ProbeError(
                    f"a recipe with {name} {getattr(self, name)} cannot be trained: "
                    f"{name} must be {allowed}"
                )


# Mirrored digits are other signs, or none.
RECIPES = {
    "digits": Recipe(epochs=40, batch=64, lr=0.1, pad=2),
    "default": Recipe(epochs=40, batch=128, lr=0.2, pad=4, flip=True),
}


def recipe_for(data: str) -> Recipe:
    """The recipe named after a data set, else the default, which is for small photographs."""
    return RECIPES.get(data, RECIPES["default"])


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of step ``step`` (from 0) of ``steps``: a linear rise, then half a cosine to 0."""
    rising = round(recipe.warmup * steps)
    if step < rising:
        return recipe.lr * (step + 1) / rising
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
