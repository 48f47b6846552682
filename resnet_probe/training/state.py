"""Everything that changes while a network is trained."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from resnet_probe.data import ImageSet, Normalization
from resnet_probe.errors import ProbeError
from resnet_probe.training.batches import Batches
from resnet_probe.training.recipe import Recipe
from resnet_probe.training.regime import (
    RENEWED_ON,
    Subsets,
    draws_blocks,
    with_statistics_of,
)
from resnet_probe.training.team import Team

Row = dict[str, float]


@dataclass(eq=False)
class Epoch:
    """A pass over the training images under way: how far it is, what it lost and got wrong.

    ``sums`` are this process's summed loss, wrong and seen images, float64 ``[3]``: in that
    precision they do not depend on where the pass was interrupted. Only `look` and `parts` wait
    for the device, and for the team, whose sums they take; ``looked`` are those of the last look.
    """

    began: Tensor
    """The state of the generator before the draws of this epoch."""
    sums: Tensor
    team: Team
    steps: int = 0
    looked: tuple[float, float, float] = (0.0, 0.0, 0.0)
    since: float = field(default_factory=time.perf_counter)

    @classmethod
    def start(cls, generator: Generator, device: torch.device, team: Team) -> Epoch:
        """Nothing done yet."""
        return cls(generator.get_state(), torch.zeros(3, dtype=torch.float64, device=device), team)

    @classmethod
    def restored(cls, parts: Mapping[str, Any], device: torch.device, team: Team) -> Epoch:
        """As `parts` has left it; the first process keeps the sums of all."""
        sums = torch.tensor(parts["sums"], dtype=torch.float64, device=device)
        since = time.perf_counter() - parts["seconds"]
        sums = sums if team.leads else torch.zeros_like(sums)
        return cls(parts["began"], sums, team, parts["steps"], tuple(parts["looked"]), since)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds; all of a team must ask together."""
        return {
            "began": self.began,
            "sums": self.team.summed(self.sums).tolist(),
            "steps": self.steps,
            "looked": list(self.looked),
            "seconds": self.seconds,
        }

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """One more step: logits ``[b, classes]``, labels ``[b]`` and their mean loss."""
        self.sums[0] += loss * len(labels)
        self.sums[1] += (logits.argmax(1) != labels).sum()
        self.sums[2] += len(labels)
        self.steps += 1

    def look(self) -> float:
        """The error in per cent since the last look."""
        _, wrong_before, seen_before = self.looked
        _, wrong, seen = self.looked = tuple(self.team.summed(self.sums).tolist())
        return 100 * (wrong - wrong_before) / (seen - seen_before)

    @property
    def seconds(self) -> float:
        """Wall time, over all sittings."""
        return time.perf_counter() - self.since

    @property
    def loss(self) -> float:
        """The mean over all images seen, at the last look."""
        return self.looked[0] / self.looked[2]

    @property
    def error_pct(self) -> float:
        return 100 * self.looked[1] / self.looked[2]


@dataclass(eq=False)
class State:
    """A training run; ``epoch`` is None between two epochs.

    ``model`` holds the weights and is what is tested and saved; ``stepped`` is what the steps
    call: the model itself, or a compiled or distributed form of it that shares its weights.
    ``batches`` are at full size, ``sized`` those of the last epoch begun.
    """

    model: nn.Module
    stepped: nn.Module
    batches: Batches
    sized: Batches
    subsets: Subsets
    optimizer: torch.optim.SGD
    generator: Generator
    device: torch.device
    starting: bool
    """Whether the low start of the recipe still goes on."""
    history: list[Row] = field(default_factory=list)
    epoch: Epoch | None = None

    @classmethod
    def start(
        cls,
        model: nn.Module,
        train_set: ImageSet,
        *,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        compiled: bool,
        team: Team,
    ) -> State:
        """The state before the first epoch, of a copy of the model."""
        own = copy.deepcopy(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        subsets = Subsets.of(own, recipe.effective_paths)
        partial = recipe.effective_paths is not None or draws_blocks(own)
        optimizer = torch.optim.SGD(
            own.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov and recipe.momentum > 0,
            fused=not partial,  # which wants a gradient for everything
        )
        images, labels = train_set.images.to(device), train_set.labels.to(device)
        batches = Batches.of(images, labels, recipe, team)
        return cls(
            model=own,
            stepped=stepped(own, compiled=compiled, partial=partial, team=team),
            batches=batches,
            sized=batches,
            subsets=subsets,
            optimizer=optimizer,
            generator=Generator().manual_seed(seed),
            device=device,
            starting=recipe.low_start,
        )

    @property
    def recipe(self) -> Recipe:
        return self.batches.recipe

    @property
    def team(self) -> Team:
        return self.batches.team

    def begin_epoch(self, number: int) -> Epoch:
        """The epoch of this number, or what is left of it, on images of its size."""
        height = self.recipe.height_in(number)
        if (height or self.batches.height) != self.sized.height:
            self.sized = self.batches.at(height)
        if self.epoch is None:
            self.epoch = Epoch.start(self.generator, self.device, self.team)
        return self.epoch

    def tested(self, normalization: Normalization) -> nn.Module:
        """The network to test and to save: with all of its blocks, and for images of full size."""
        if self.recipe.effective_paths is None and self.recipe.resolution is None:
            return self.model
        images = self.batches.some(RENEWED_ON)
        parts = images.split(min(self.recipe.batch, len(images)))
        batches = [normalization.apply(part) for part in parts]
        return with_statistics_of(self.model, batches, self.team)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds; all of a team must ask together."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "starting": self.starting,
            "history": self.history,
            "epoch": self.epoch.parts() if self.epoch else None,
        }

    def restore(self, parts: Mapping[str, Any], path: Path) -> None:
        """Go back to the state of a checkpoint; ProbeError if it is of another network."""
        try:
            self.model.load_state_dict(parts["model"])
            self.optimizer.load_state_dict(parts["optimizer"])
            self.generator.set_state(parts["generator"])
            self.starting = parts["starting"]
            self.history = list(parts["history"])
            if parts.get("epoch"):
                self.epoch = Epoch.restored(parts["epoch"], self.device, self.team)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise ProbeError(f"the checkpoint {path} is of another network") from error
        for group in self.optimizer.param_groups:
            group["fused"] = self.optimizer.defaults["fused"]  # how, not what: it may be resumed


def stepped(model: nn.Module, *, compiled: bool, partial: bool, team: Team) -> nn.Module:
    """What the training steps call; ``partial`` says that a step may leave out some blocks.

    Compiled, a step's kernels are launched as one CUDA graph. Raises ProbeError for compiling
    what is another network at every step.
    """
    if compiled and partial:
        raise ProbeError(
            "a network whose blocks come and go (stochastic depth, effective paths) cannot be "
            "compiled: leave out compile="
        )
    shared = team.joined_model(model, partial=partial)
    # At most two sizes of a step occur at one height, each worth its own graph.
    options: dict[str, Any] = {"mode": "reduce-overhead", "dynamic": False}
    return torch.compile(shared, **options) if compiled else shared  # type: ignore[return-value]
