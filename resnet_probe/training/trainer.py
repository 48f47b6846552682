"""The training loop."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from resnet_probe.data import ImageSet, Normalization
from resnet_probe.errors import ProbeError
from resnet_probe.training import saved
from resnet_probe.training.batches import Batches
from resnet_probe.training.checks import refuse_divergence, refuse_unsuitable
from resnet_probe.training.evaluation import count_correct
from resnet_probe.training.recipe import Recipe, learning_rate

Row = dict[str, float]
# Looking at the loss waits for the device, so not after every step.
LOOK_EVERY = 32
# He et al. 2015, section 4.2: a low start ends "when the training error is below 80 %".
LOW_START, LOW_UNTIL_PCT = 0.1, 80.0


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A trained network, in eval mode, and how it got there, one row an epoch.

    Columns of ``history``: ``epoch`` (from 1), ``lr`` (of the epoch's last step), ``train_loss``
    and ``train_error_pct`` (over the epoch's own steps: augmented images, changing weights),
    ``test_error_pct`` (after the epoch), ``seconds`` (wall time, evaluation included).
    """

    model: nn.Module
    history: pd.DataFrame


def train(
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    *,
    normalization: Normalization,
    recipe: Recipe,
    seed: int = 0,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Callable[[Row], None] | None = None,
) -> TrainingRun:
    """Train a copy of ``model``; the model itself and the global random state stay as they are.

    ``seed`` decides the order of the images, their crops and mirrors, and whatever the model
    draws (dropout); initial weights are the model's. With ``checkpoint``, the state is saved
    there after every epoch, and ``resume`` goes on from it, on a CPU to the same weights bit for
    bit; without such a file it starts at the first epoch. ``progress`` gets each epoch's row of
    the history.

    Raises ProbeError for labels beyond the head's classes, mirrored data whose classes depend on
    the side, a loss that is not finite, and a checkpoint that belongs to another run.
    """
    state = State.start(model, train_set, recipe=recipe, seed=seed, device=torch.device(device))
    refuse_unsuitable(state.model, train_set, test_set, normalization, recipe)
    options = {
        **asdict(recipe),
        "seed": seed,
        "normalization": normalization.name,
        "training images": train_set.fingerprint(),
        "test images": test_set.fingerprint(),
    }
    if checkpoint is not None and resume and checkpoint.exists():
        state.restore(saved.read(checkpoint, options), checkpoint)
    elif checkpoint is not None:
        saved.refuse_existing(checkpoint)
        saved.write(checkpoint, state.parts(options))  # a place that refuses must not cost an epoch
    while len(state.history) < recipe.epochs:
        row = one_epoch(state, test_set, normalization)
        if checkpoint is not None:
            saved.write(checkpoint, state.parts(options))
        if progress is not None:
            progress(row)
    return TrainingRun(state.model.eval(), pd.DataFrame(state.history))


@dataclass(eq=False)
class State:
    """Everything that changes while a network is trained."""

    model: nn.Module
    batches: Batches
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
    ) -> State:
        """The state before the first epoch."""
        own = copy.deepcopy(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(
            own.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov and recipe.momentum > 0,
        )
        batches = Batches.of(train_set.images.to(device), train_set.labels.to(device), recipe)
        generator = Generator().manual_seed(seed)
        return cls(own, batches, optimizer, generator, device, recipe.low_start)

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


def one_epoch(state: State, test_set: ImageSet, normalization: Normalization) -> Row:
    """One pass over the training images and one over the test images; the new row."""
    began = time.perf_counter()
    epoch = len(state.history) + 1
    loss, wrong, lr = one_pass(state, normalization, epoch)
    correct = count_correct(state.model, test_set, normalization=normalization)
    row = {
        "epoch": epoch,
        "lr": lr,
        "train_loss": loss,
        "train_error_pct": wrong,
        "test_error_pct": 100 * (1 - correct / len(test_set)),
        "seconds": time.perf_counter() - began,
    }
    state.history.append(row)
    return row


def one_pass(state: State, normalization: Normalization, epoch: int) -> tuple[float, float, float]:
    """Train on every image once: mean loss, error in per cent, and the last learning rate."""
    steps, recipe = state.batches.steps, state.batches.recipe
    total = torch.zeros((), device=state.device)
    wrong = torch.zeros((), dtype=torch.int64, device=state.device)
    seen = last_seen = last_wrong = 0
    state.model.train()
    with drawing_from(state.generator, state.device):
        for step, (images, labels) in enumerate(state.batches.epoch(state.generator)):
            lr = learning_rate(recipe, (epoch - 1) * steps + step, recipe.epochs * steps)
            lr *= LOW_START if state.starting else 1
            logits, loss = one_step(state, normalization.apply(images), labels, lr)
            total += loss * len(labels)
            wrong += (logits.argmax(1) != labels).sum()
            seen += len(labels)
            if step % LOOK_EVERY == 0 or step == steps - 1:
                refuse_divergence(float(total), epoch, lr)
                error = 100 * (int(wrong) - last_wrong) / (seen - last_seen)
                state.starting &= error >= LOW_UNTIL_PCT
                last_seen, last_wrong = seen, int(wrong)
    return float(total) / seen, 100 * int(wrong) / seen, lr


@contextmanager
def drawing_from(generator: Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's own streams, which dropout uses, from ``generator``; then put them back."""
    seed = int(torch.randint(2**62, (), generator=generator))
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        # torch.manual_seed would reach every device there is, also those not put back.
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def one_step(state: State, images: Tensor, labels: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """One update of the weights at this rate; logits and loss, detached."""
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    recipe = state.batches.recipe
    half = recipe.precision == "bfloat16"
    with torch.autocast(state.device.type, torch.bfloat16, enabled=half):
        logits = state.model(images)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.optimizer.step()
    return logits.detach(), loss.detach()
