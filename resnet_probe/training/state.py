"""Everything that changes while a network is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn

from resnet_probe.data import ImageSet, Normalization
from resnet_probe.errors import ProbeError
from resnet_probe.training.batches import Batches
from resnet_probe.training.history import Row
from resnet_probe.training.recipe import Recipe
from resnet_probe.training.regime import (
    RENEWED_ON,
    Subsets,
    draws_blocks,
    with_statistics_of_all_blocks,
)
from resnet_probe.training.team import Team


@dataclass(eq=False)
class State:
    """A run between two epochs.

    ``model`` holds the weights and is what is tested and saved; ``stepped`` is what the steps
    call: the model itself, or a compiled or distributed form of it that shares its weights.
    """

    model: nn.Module
    stepped: nn.Module
    batches: Batches
    subsets: Subsets
    optimizer: torch.optim.SGD
    generator: Generator
    device: torch.device
    starting: bool
    """Whether the low start of the recipe still goes on."""
    history: list[Row] = field(default_factory=list)

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
        optimizer = torch.optim.SGD(
            own.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov and recipe.momentum > 0,
        )
        images, labels = train_set.images.to(device), train_set.labels.to(device)
        subsets = Subsets.of(own, recipe.effective_paths)
        partial = recipe.effective_paths is not None or draws_blocks(own)
        return cls(
            model=own,
            stepped=stepped(own, compiled=compiled, partial=partial, team=team),
            batches=Batches.of(images, labels, recipe, team),
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

    def tested(self, normalization: Normalization) -> nn.Module:
        """The network to test and to save: with all of its blocks."""
        if self.recipe.effective_paths is None:
            return self.model
        images = self.batches.some(RENEWED_ON)
        parts = images.split(min(self.recipe.batch, len(images)))
        return with_statistics_of_all_blocks(self.model, map(normalization.apply, parts))

    def parts(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "starting": self.starting,
            "history": self.history,
            "options": dict(options),
        }

    def restore(self, parts: Mapping[str, Any], path: Path) -> None:
        """Go back to the state of a checkpoint; ProbeError if it is of another network."""
        try:
            self.model.load_state_dict(parts["model"])
            self.optimizer.load_state_dict(parts["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ProbeError(f"the checkpoint {path} is of another network") from error
        self.generator.set_state(parts["generator"])
        self.starting = parts["starting"]
        self.history = list(parts["history"])


def stepped(model: nn.Module, *, compiled: bool, partial: bool, team: Team) -> nn.Module:
    """What the training steps call; ``partial`` says that a step may leave out some blocks.

    Compiled, a step's kernels are launched as one CUDA graph. Raises ProbeError for compiling
    what is another network at every step.
    """
    if compiled and partial:
        raise ProbeError(
            "a network whose blocks come and go (stochastic depth, effective paths) cannot be "
            "compiled: leave out --compile"
        )
    shared = team.joined_model(model, partial=partial)
    # At most two sizes of a step occur, each worth its own graph.
    options: dict[str, Any] = {"mode": "reduce-overhead", "dynamic": False}
    return torch.compile(shared, **options) if compiled else shared  # type: ignore[return-value]
