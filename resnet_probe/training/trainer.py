"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from resnet_probe.data import ImageSet, Normalization
from resnet_probe.training import saved
from resnet_probe.training.batches import Step
from resnet_probe.training.checks import full_memory_said, refuse_unsuitable
from resnet_probe.training.evaluation import count_correct
from resnet_probe.training.history import Row, TrainingRun, identity_of
from resnet_probe.training.recipe import Recipe, learning_rate
from resnet_probe.training.state import State
from resnet_probe.training.tally import Tally
from resnet_probe.training.team import ALONE, Team

# Looking at the loss waits for the device, so not after every step.
LOOK_EVERY = 32
# He et al. 2015, section 4.2: a low start ends "when the training error is below 80 %".
LOW_START, LOW_UNTIL_PCT = 0.1, 80.0


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
    progress: Callable[[Row], None] | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> TrainingRun:
    """Train a copy of ``model``; the model itself and the global random state stay as they are.

    ``seed`` decides the order of the images, their crops and mirrors, and whatever the model
    draws (dropout, stochastic depth); initial weights are the model's. With ``checkpoint``, the
    state is saved there after every epoch, and ``resume`` goes on from it, on a CPU to the same
    weights bit for bit; without such a file it starts at the first epoch. ``name`` is what the
    network is called: a run of another name is not resumed. ``compiled`` lets torch.compile fuse
    the steps; ``team`` shares every batch with other processes, of which the
    first evaluates and saves. ``progress`` gets each epoch's row of the history, in the first, and
    ``watch`` now and then how many steps of how many are done.

    Raises ProbeError for labels beyond the head's classes, a batch larger than the set, than the
    memory, or too small for batch norm, mirrored data whose classes depend on the side, a loss
    that is not finite, and a checkpoint that belongs to another run.
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
    begin(state, checkpoint, identity, resume=resume)
    while len(state.history) < recipe.epochs:
        row = one_epoch(state, test_set, normalization, watch)
        if team.leads and checkpoint is not None:
            saved.write(checkpoint, state.parts(identity))
        if team.leads and progress is not None:
            progress(row)
    return TrainingRun(state.tested(normalization).eval(), pd.DataFrame(state.history), identity)


def begin(
    state: State, checkpoint: Path | None, identity: Mapping[str, Any], *, resume: bool
) -> None:
    """Go back to the checkpoint, or write the first one."""
    if checkpoint is None:
        return
    if resume and checkpoint.exists():
        state.restore(saved.read(checkpoint, identity), checkpoint)
    elif state.team.leads:
        saved.refuse_existing(checkpoint)
        saved.write(checkpoint, state.parts(identity))  # a refusal must not cost an epoch


def one_epoch(
    state: State,
    test_set: ImageSet,
    normalization: Normalization,
    watch: Callable[[int, int], None] | None,
) -> Row:
    """One pass over the training images and one over the test images; the new row."""
    began = time.perf_counter()
    epoch = len(state.history) + 1
    with full_memory_said(state.recipe.batch, state.device):
        loss, wrong, lr = one_pass(state, normalization, epoch, watch)
    trained = time.perf_counter()
    # The others of a team wait for the first in the next step.
    tested = test_set if state.team.leads else test_set.take(1)
    correct = count_correct(state.tested(normalization), tested, normalization=normalization)
    row = {
        "epoch": epoch,
        "lr": lr,
        "train_loss": loss,
        "train_error_pct": wrong,
        "test_error_pct": 100 * (1 - correct / len(tested)),
        "seconds": time.perf_counter() - began,
        "images_per_s": len(state.batches.labels) / (trained - began),
    }
    state.history.append(row)
    return row


def one_pass(
    state: State,
    normalization: Normalization,
    epoch: int,
    watch: Callable[[int, int], None] | None = None,
) -> tuple[float, float, float]:
    """Train on every image once: mean loss, error in per cent, and the last learning rate."""
    steps, recipe, team = state.batches.steps, state.recipe, state.team
    tally = Tally.on(state.device, team)
    state.model.train()
    with (
        drawing_from(state.generator, state.device) as seed,
        state.subsets.in_turn(state.generator) as draw,
    ):
        for number, step in enumerate(state.batches.epoch(state.generator)):
            done = (epoch - 1) * steps + number
            lr = learning_rate(recipe, done, recipe.epochs * steps)
            lr *= LOW_START if state.starting else 1
            draw()
            logits, loss = one_step(state, step, normalization.apply(step.images), lr)
            tally.add(logits, step.labels, loss)
            if number % LOOK_EVERY == 0 or number == steps - 1:
                error = tally.look(epoch, lr)
                state.starting &= error >= LOW_UNTIL_PCT
                if watch is not None and team.leads:
                    watch(done + 1, recipe.epochs * steps)
            if team.size > 1:  # dropout draws unequally often for shares of unequal size
                seed_streams(seed + number + 1, state.device)
    return tally.loss, tally.error_pct, lr


def one_step(state: State, step: Step, images: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """One update of the weights at this rate; logits and loss, detached."""
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    recipe = state.recipe
    half = recipe.precision == "bfloat16"
    with torch.autocast(state.device.type, torch.bfloat16, enabled=half):
        logits = state.stepped(images)
    loss = F.cross_entropy(logits.float(), step.labels, label_smoothing=recipe.label_smoothing)
    state.optimizer.zero_grad(set_to_none=True)
    (loss * step.weight).backward()
    state.optimizer.step()
    return logits.detach(), loss.detach()


@contextmanager
def drawing_from(generator: Generator, device: torch.device) -> Iterator[int]:
    """Seed torch's own streams, which dropout uses, from ``generator``; then put them back.

    Gives the seed.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_streams(seed, device)
        yield seed


def seed_streams(seed: int, device: torch.device) -> None:
    """Seed the streams of the CPU and of this device alone."""
    # torch.manual_seed would reach every device there is, also those not put back.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
