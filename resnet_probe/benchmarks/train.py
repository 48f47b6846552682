"""Training steps: the trainer against the loop that one would write by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from resnet_probe.benchmarks.clock import timed
from resnet_probe.data import ImageSet, Normalization
from resnet_probe.training import Recipe, count_correct, learning_rate
from resnet_probe.training.state import State
from resnet_probe.training.steps import one_pass
from resnet_probe.training.team import ALONE

PLAIN = "plain loop"


class Loop(Protocol):
    """One way to train: its network, and a pass over the training images."""

    model: nn.Module

    def one_pass(self, epoch: int) -> None: ...


@dataclass(frozen=True)
class TrainBenchmark:
    """Images a second of each way (medians over the rounds), and its test error if asked for."""

    images_per_s: Mapping[str, float]
    test_error_pct: Mapping[str, float]


def benchmark(
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    *,
    recipe: Recipe,
    normalization: Normalization,
    precisions: tuple[str, ...],
    device: torch.device,
    rounds: int,
    workers: int = 2,
    compiled: bool = False,
    epochs: int | None = None,
    seed: int = 0,
) -> TrainBenchmark:
    """Time one pass over the training images in every way, in turn, ``rounds`` times.

    All ways start from the weights of ``model`` and take the same number of steps of the same
    size, crops and mirrors of their own drawing. A pass before the first round is not timed. With
    ``epochs``, each way then trains from the start for so long, and is tested.
    """
    ways: dict[str, Callable[[Recipe], Loop]] = {
        PLAIN: partial(PlainLoop, model, train_set, normalization, device=device, workers=workers,
                       seed=seed)
    }  # fmt: skip
    for precision in precisions:
        ways[f"trainer, {precision}"] = partial(
            Trainer, model, train_set, normalization, device=device, precision=precision,
            compiled=compiled, seed=seed,
        )  # fmt: skip
    speeds = _speeds({name: make(recipe) for name, make in ways.items()}, train_set, device, rounds)
    errors = {}
    if epochs is not None:
        for name, make in ways.items():
            trained = _trained(make(replace(recipe, epochs=epochs)), epochs)
            correct = count_correct(trained, test_set, normalization=normalization)
            errors[name] = 100 * (1 - correct / len(test_set))
    return TrainBenchmark(speeds, errors)


def _speeds(
    loops: Mapping[str, Loop], train_set: ImageSet, device: torch.device, rounds: int
) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name, loop in loops.items():
            took, _ = timed(partial(loop.one_pass, 1), device)
            times[name] += [took] if number else []  # the first compiles, allocates, starts workers
    return {name: len(train_set) / median(taken) for name, taken in times.items()}


def _trained(loop: Loop, epochs: int) -> nn.Module:
    for epoch in range(1, epochs + 1):
        loop.one_pass(epoch)
    return loop.model


class Trainer:
    """Ours, as `training.train` runs it."""

    def __init__(
        self,
        model: nn.Module,
        train_set: ImageSet,
        normalization: Normalization,
        recipe: Recipe,
        *,
        device: torch.device,
        precision: str,
        compiled: bool,
        seed: int,
    ) -> None:
        self.normalization = normalization
        own = replace(recipe, precision=precision)
        self.state = State.start(
            model, train_set, recipe=own, seed=seed, device=device, compiled=compiled, team=ALONE
        )
        self.model = self.state.model

    def one_pass(self, epoch: int) -> None:
        self.state.epoch = None
        one_pass(self.state, self.normalization, epoch)


class PlainLoop:
    """By hand: a DataLoader over torchvision's transforms, the model as it is built, float32."""

    def __init__(
        self,
        model: nn.Module,
        train_set: ImageSet,
        normalization: Normalization,
        recipe: Recipe,
        *,
        device: torch.device,
        workers: int,
        seed: int,
    ) -> None:
        self.model, self.recipe, self.device = copy.deepcopy(model).to(device), recipe, device
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov and recipe.momentum > 0,
        )
        self.loader: DataLoader[Any] = DataLoader(
            Pictures(train_set, transforms_of(recipe, normalization, train_set)),
            batch_size=recipe.batch,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(seed),
        )

    def one_pass(self, epoch: int) -> None:
        steps = len(self.loader)
        self.model.train()
        with torch.random.fork_rng():
            for number, (images, labels) in enumerate(self.loader):
                rate = learning_rate(
                    self.recipe, (epoch - 1) * steps + number, self.recipe.epochs * steps
                )
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                self._step(images.to(self.device), labels.to(self.device))

    def _step(self, images: Tensor, labels: Tensor) -> None:
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(self.model(images), labels, label_smoothing=smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's CIFAR-10 holds them: arrays, each made a picture when it is asked."""

    def __init__(self, image_set: ImageSet, transform: Callable[[Any], Tensor]) -> None:
        images = torch.cat(list(image_set.pieces()))
        self.arrays: np.ndarray = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = image_set.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.arrays[row])), self.labels[row]


def transforms_of(
    recipe: Recipe, normalization: Normalization, image_set: ImageSet
) -> Callable[[Any], Tensor]:
    """The recipe's augmentation and the normalization, in torchvision's words."""
    from torchvision import transforms

    size = tuple(image_set.images.shape[2:])
    mirror = [transforms.RandomHorizontalFlip()] if recipe.flip else []
    return transforms.Compose([
        transforms.RandomCrop(size, padding=recipe.pad),
        *mirror,
        transforms.ToTensor(),
        transforms.Normalize(normalization.mean, normalization.std),
    ])  # fmt: skip
