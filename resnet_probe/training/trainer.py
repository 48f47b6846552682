"""A training from its first epoch to its last, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from resnet_probe.data import ImageSet, Normalization
from resnet_probe.engine.precision import full_precision
from resnet_probe.results import Result
from resnet_probe.training.checkpoint import Checkpoint
from resnet_probe.training.checks import full_memory_said, refuse_unsuitable
from resnet_probe.training.recipe import Recipe
from resnet_probe.training.state import Row, State
from resnet_probe.training.steps import one_pass
from resnet_probe.training.team import ALONE, Team

STUDY = "train"
TESTED_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A trained network, in eval mode, and how it got there, one row an epoch.

    Columns of ``history``: ``epoch`` (from 1), ``lr`` (of the epoch's last step), ``train_loss``
    and ``train_error_pct`` (over the epoch's own steps: augmented images, changing weights),
    ``test_error_pct`` (after the epoch), ``seconds`` (wall time, evaluation included) and
    ``images_per_s`` (of the training alone). ``identity`` is what `identity_of` gives.
    """

    model: nn.Module
    history: pd.DataFrame
    identity: Mapping[str, Any]

    def result(self, **facts: Any) -> Result:
        """The history as a run to save, load and draw; ``facts`` say how it was made."""
        return Result(STUDY, self.history, {**facts, "identity": dict(self.identity)})


def train(
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    *,
    normalization: Normalization,
    recipe: Recipe,
    seed: int = 0,
    name: str = "",
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    compiled: bool = False,
    team: Team = ALONE,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[Row], None] | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> TrainingRun:
    """Train a copy of ``model``; the model itself and the global random state stay as they are.

    ``seed`` decides the order of the images, their crops and mirrors, and whatever the model
    draws (dropout, stochastic depth); initial weights are the model's. Training images are read
    into memory once, at the start, also those of an `ImageStream`; test images that are one are
    read a piece at a time, after every epoch. With ``checkpoint``, the state is saved there after
    every epoch and every few minutes, and ``resume`` goes on from it, on a CPU to the same weights
    bit for bit; without such a file it starts at the first epoch.
    ``name`` is what the network is called: a run of another name is not resumed; the images are
    known by what they hold. ``compiled`` lets torch.compile fuse the steps; ``team`` shares every
    batch with other processes, of which the first saves. ``stop`` is asked between steps; where it
    says so in one of the team, the state is saved and KeyboardInterrupt raised in all. ``progress``
    gets each epoch's row of the history, in the first process, and ``watch`` after every step how
    many steps of how many are done.

    The network that is tested after an epoch, and given back, has its batch norms' statistics
    estimated anew at full size where the recipe trains on smaller images or on part of the blocks.

    Raises ProbeError for labels beyond the head's classes, a batch larger than the set, than the
    memory, or too small for batch norm, mirrored data whose classes depend on the side, sizes that
    the network does not take or that do not end at that of the images, a loss that is not finite
    (there the checkpoint is removed), and a checkpoint that belongs to another run.
    """
    refuse_unsuitable(model, train_set, test_set, normalization, recipe, team)
    state = State.start(
        model,
        train_set,
        recipe=recipe,
        seed=seed,
        device=torch.device(device),
        compiled=compiled,
        team=team,
    )
    identity = identity_of(
        name, train_set, test_set, normalization=normalization, recipe=recipe, seed=seed
    )
    kept = Checkpoint(checkpoint, identity, stop)
    kept.begin(state, resume=resume)

    def between() -> None:
        if watch is not None and team.leads and state.epoch is not None:
            steps = state.batches.steps
            watch(len(state.history) * steps + state.epoch.steps, recipe.epochs * steps)
        kept.between_steps(state)

    while len(state.history) < recipe.epochs:
        with kept.unless_refused(state):
            row = one_epoch(state, test_set, normalization, between)
        kept.save(state)
        if progress is not None and team.leads:
            progress(row)
        kept.between_epochs(state)
    return TrainingRun(state.tested(normalization).eval(), pd.DataFrame(state.history), identity)


def one_epoch(
    state: State,
    test_set: ImageSet,
    normalization: Normalization,
    between: Callable[[], None] | None = None,
) -> Row:
    """One pass over the training images and one over the test images; the new row."""
    number = len(state.history) + 1
    with full_memory_said(state.recipe.batch, state.device):
        lr = one_pass(state, normalization, number, between)
    epoch = state.begin_epoch(number)
    trained = epoch.seconds
    state.team.spread(state.model.buffers())
    row = {
        "epoch": number,
        "lr": lr,
        "train_loss": epoch.loss,
        "train_error_pct": epoch.error_pct,
        "test_error_pct": error_of_team(state, test_set, normalization),
        "seconds": epoch.seconds,
        "images_per_s": len(state.batches.labels) / trained,
    }
    state.history.append(row)
    state.epoch = None
    return row


def error_of_team(state: State, test_set: ImageSet, normalization: Normalization) -> float:
    """The test error in per cent; each process looks at its share of the images."""
    rows = state.team.part(len(test_set))
    mine = replace(test_set, images=test_set.images[rows], labels=test_set.labels[rows], files=())
    correct = torch.zeros((), dtype=torch.int64, device=state.device)
    model = state.tested(normalization)
    if len(mine):
        correct += count_correct(model, mine, normalization=normalization)
    return 100 * (1 - int(state.team.summed(correct)) / len(test_set))


@torch.inference_mode()
def count_correct(
    model: nn.Module,
    image_set: ImageSet,
    *,
    normalization: Normalization,
    batch: int = TESTED_AT_ONCE,
) -> int:
    """The number of images whose largest logit is that of their label.

    The model runs in eval mode and in full float32 precision (no TF32), on the device where its
    parameters are, and is left in the mode that it was in.
    """
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    correct = torch.zeros((), dtype=torch.int64, device=device)
    try:
        model.eval()
        with full_precision(device):
            for images, labels in zip(
                image_set.images.split(batch), image_set.labels.split(batch), strict=True
            ):
                logits = model(normalization.apply(images.to(device)))
                correct += (logits.argmax(1) == labels.to(device)).sum()
    finally:
        for module, training in modes.items():
            module.training = training
    return int(correct)


def identity_of(
    name: str,
    train_set: ImageSet,
    test_set: ImageSet,
    *,
    normalization: Normalization,
    recipe: Recipe,
    seed: int,
) -> dict[str, Any]:
    """Everything that decides the weights, ``name`` being what the network is called.

    A run is resumed, or its folder written again, only where all of it agrees; the names of the
    images are told beside their fingerprints, and need not.
    """
    chosen = asdict(recipe)
    chosen["resolution"] = list(recipe.resolution) if recipe.resolution else None
    return {
        "arch": name,
        "data": train_set.name,
        "data_note": train_set.note,
        "test_data": test_set.name,
        **chosen,
        "seed": seed,
        "normalization": normalization.name,
        "training images": train_set.fingerprint(),
        "test images": test_set.fingerprint(),
    }
