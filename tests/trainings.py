"""Small trainings for the tests of the trainer: digits, and a network with every kind of state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from resnet_probe import data, training
from resnet_probe.data import ImageSet
from resnet_probe.training import Recipe

UNIT = data.normalization("none")
RECIPE = Recipe(epochs=3, batch=16, lr=0.05, pad=1)


class Interrupted(Exception):
    pass


def digits(split: str, images: int = 50) -> ImageSet:
    return data.load("digits", split=split, limit=images)


def network(seed: int = 0, classes: int = 10) -> nn.Module:
    """Everything with a state: batch norm has statistics, dropout draws, SGD has momentum."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(4 * 7 * 7, classes),
        )


def linear(inputs: int = 768, *, bias: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 10, bias=bias))


def run(model: nn.Module | None = None, **options: object) -> training.TrainingRun:
    chosen = {"normalization": UNIT, "recipe": RECIPE, "seed": 1, **options}
    return training.train(model or network(), digits("train"), digits("test", 20), **chosen)


def same(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def interrupt_after(epoch: int) -> Callable[[dict[str, float]], None]:
    def progress(row: dict[str, float]) -> None:
        if row["epoch"] == epoch:
            raise Interrupted

    return progress


class Leaving(nn.Module):
    """A residual block on 8 features that can be left out, on purpose or by chance."""

    def __init__(self, survival: float = 1.0) -> None:
        super().__init__()
        self.shortcut, self.branch = nn.Identity(), nn.Linear(8, 8)
        self.skipped, self.survival = False, survival
        self.ran: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        by_chance = self.training and self.survival < 1 and bool(torch.rand(()) >= self.survival)
        self.ran.append(not (self.skipped or by_chance))
        added = self.branch(x).tanh() if self.ran[-1] else 0
        return self.shortcut(x) + added


def with_blocks(blocks: int = 5, survival: float = 1.0) -> nn.Sequential:
    """A small network of such blocks, without anything that depends on the size of a batch."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (Leaving(survival) for _ in range(blocks))
        return nn.Sequential(nn.Flatten(), nn.Linear(768, 8), *layers, nn.Linear(8, 10))


class Watching(nn.Module):
    """Remembers the heights of the images that it has seen in training."""

    def __init__(self) -> None:
        super().__init__()
        self.heights: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.heights.append(x.shape[2])
        return x


def any_size() -> nn.Sequential:
    """A network with a batch norm, for images of any size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution = nn.Conv2d(3, 4, 3, padding=1)
        layers = [nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(Watching(), convolution, *layers, nn.Linear(4, 10))
