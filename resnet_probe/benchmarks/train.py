"""Training steps: the trainer against the loop that one would write by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from resnet_probe.settings import listed
from resnet_probe.training import Recipe, Team, count_correct, learning_rate, processors
from resnet_probe.training.state import State
from resnet_probe.training.steps import one_pass
from resnet_probe.training.team import ALONE

PLAIN = "plain loop"


class Loop(Protocol):
    """One way to train: passes over the training images, and the network to test."""

    recipe: Recipe

    def one_pass(self, epoch: int) -> None: ...

    def tested(self) -> nn.Module: ...


@dataclass(frozen=True)
class TrainBenchmark:
    """Images a second of each way (medians over the rounds), and its test errors if asked for.

    Of a way whose images grow, the images of a whole training over its seconds; the errors are
    one for each training.
    """

    images_per_s: Mapping[str, float]
    test_error_pct: Mapping[str, Sequence[float]]


def benchmark(
    models: Sequence[nn.Module],
    train_set: ImageSet,
    test_set: ImageSet,
    *,
    recipe: Recipe,
    normalization: Normalization,
    precisions: tuple[str, ...],
    device: torch.device,
    rounds: int,
    resolution: tuple[int, ...] | None = None,
    workers: int = 2,
    compiled: bool = False,
    epochs: int | None = None,
    team: Team = ALONE,
) -> TrainBenchmark:
    """Time one pass over the training images in every way, in turn, ``rounds`` times.

    All ways start from the weights of the first model and take the same number of steps of the
    same size, crops and mirrors of their own drawing. A pass before the first round is not timed.
    With ``resolution``, the trainer goes through that schedule too. With ``epochs``, each way then
    trains each model from the start for so long, and is tested. Of a team, the first process runs
    the plain loop, with all processors; all together run the trainer.
    """
    ways: dict[str, Callable[..., Loop]] = {
        PLAIN: partial(PlainLoop, train_set, normalization, device=device, workers=workers)
    }
    for sizes in (None, resolution) if resolution and len(resolution) > 1 else (None,):
        for precision in precisions:
            name = f"trainer, {precision}" + (f", {listed(sizes)} pixels" if sizes else "")
            ways[name] = partial(
                Trainer, train_set, normalization, device=device, precision=precision,
                resolution=sizes, compiled=compiled, team=team,
            )  # fmt: skip
    if team.size > 1 and not team.leads:
        ways[PLAIN] = Waiting
    loops = {name: make(models[0], recipe, seed=0) for name, make in ways.items()}
    speeds = _speeds(loops, train_set, device, rounds, team)
    errors: dict[str, list[float]] = {}
    for name, make in ways.items() if epochs is not None else ():
        errors[name] = []
        for seed, model in enumerate(models):
            loop = _trained(make(model, replace(recipe, epochs=epochs or 1), seed=seed), team)
            correct = count_correct(loop.tested(), test_set, normalization=normalization)
            errors[name].append(100 * (1 - correct / len(test_set)))
    return TrainBenchmark(speeds, errors)


def _speeds(
    loops: Mapping[str, Loop], train_set: ImageSet, device: torch.device, rounds: int, team: Team
) -> dict[str, float]:
    """Images a second over all epochs, of which one of each size is run."""
    times: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name, loop in loops.items():
            took = 0.0
            for epoch, share in _epochs_of(loop.recipe).items():
                took += share * timed(partial(_in_turn, loop, epoch, team), device)[0]
            times[name] += [took] if number else []  # the first compiles, allocates, starts workers
    return {name: len(train_set) / median(taken) for name, taken in times.items()}


def _epochs_of(recipe: Recipe) -> dict[int, float]:
    """The first epoch of each height of the images, and the share of the epochs that has it."""
    heights = [recipe.height_in(epoch) for epoch in range(1, recipe.epochs + 1)]
    return {
        heights.index(each) + 1: heights.count(each) / len(heights)
        for each in dict.fromkeys(heights)
    }


def _trained(loop: Loop, team: Team) -> Loop:
    for epoch in range(1, loop.recipe.epochs + 1):
        _in_turn(loop, epoch, team)
    return loop


def _in_turn(loop: Loop, epoch: int, team: Team) -> None:
    """One pass, at whose end all of the team are."""
    loop.one_pass(epoch)
    team.agreed(0)


@contextmanager
def all_processors(device: torch.device) -> Iterator[None]:
    """As many threads as there are processors, as in a process that is alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(processors() if device.type == "cpu" else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Waiting:
    """What a process does while the first one runs the plain loop."""

    def __init__(self, model: nn.Module, recipe: Recipe, *, seed: int) -> None:
        self.model, self.recipe = model, recipe

    def one_pass(self, epoch: int) -> None:
        pass

    def tested(self) -> nn.Module:
        return self.model


class Trainer:
    """Ours, as `training.train` runs it."""

    def __init__(
        self,
        train_set: ImageSet,
        normalization: Normalization,
        model: nn.Module,
        recipe: Recipe,
        *,
        device: torch.device,
        precision: str,
        resolution: tuple[int, ...] | None,
        compiled: bool,
        team: Team,
        seed: int,
    ) -> None:
        self.normalization = normalization
        self.recipe = replace(recipe, precision=precision, resolution=resolution)
        self.state = State.start(
            model, train_set, recipe=self.recipe, seed=seed, device=device, compiled=compiled,
            team=team,
        )  # fmt: skip

    def one_pass(self, epoch: int) -> None:
        self.state.epoch = None
        one_pass(self.state, self.normalization, epoch)

    def tested(self) -> nn.Module:
        self.state.team.spread(self.state.model.buffers())
        return self.state.tested(self.normalization)


class PlainLoop:
    """By hand: a DataLoader over torchvision's transforms, the model as it is built, float32."""

    def __init__(
        self,
        train_set: ImageSet,
        normalization: Normalization,
        model: nn.Module,
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
        with all_processors(self.device), torch.random.fork_rng():
            for number, (images, labels) in enumerate(self.loader):
                rate = learning_rate(
                    self.recipe, (epoch - 1) * steps + number, self.recipe.epochs * steps
                )
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                self._step(images.to(self.device), labels.to(self.device))

    def tested(self) -> nn.Module:
        return self.model

    def _step(self, images: Tensor, labels: Tensor) -> None:
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(self.model(images), labels, label_smoothing=smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's CIFAR-10 holds them: arrays, each made a picture when it is asked."""

    def __init__(self, image_set: ImageSet, transform: Callable[[Any], Tensor]) -> None:
        images = image_set.pixels
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
