"""The steps of one epoch: draws, rate, forward, backward, update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from resnet_probe.data import Normalization
from resnet_probe.training.batches import Step
from resnet_probe.training.checks import refuse_divergence
from resnet_probe.training.recipe import learning_rate
from resnet_probe.training.state import State

# Looking at the loss waits for the device, so not after every step.
LOOK_EVERY = 32
# He et al. 2015, section 4.2: a low start ends "when the training error is below 80 %".
LOW_START, LOW_UNTIL_PCT = 0.1, 80.0


def one_pass(
    state: State,
    normalization: Normalization,
    number: int,
    between: Callable[[], None] | None = None,
) -> float:
    """Train on every image once, or on what is left of epoch ``number``; the last learning rate.

    ``between`` is called after each step. What was lost and got wrong is in ``state.epoch``.
    """
    epoch, generator = state.begin_epoch(number), state.generator
    steps, lr, now = state.batches.steps, 0.0, generator.get_state()
    state.model.train()
    generator.set_state(epoch.began)
    with drawing_from(generator, state.device) as seed, state.subsets.in_turn(generator) as draw:
        left = state.sized.epoch(generator, done=epoch.steps)
        if epoch.steps:
            generator.set_state(now)
        for step in left:
            place = epoch.steps
            seed_streams(seed + place, state.device)
            lr = rate_of(state, (number - 1) * steps + place)
            draw()
            logits, loss = one_step(state, step, normalization.apply(step.images), lr)
            epoch.add(logits, step.labels, loss)
            if place % LOOK_EVERY == 0 or epoch.steps == steps:
                error = epoch.look()
                refuse_divergence(epoch.loss, number, lr)
                state.starting &= error >= LOW_UNTIL_PCT
            if between is not None:
                between()
    return lr


def rate_of(state: State, step: int) -> float:
    """The learning rate of a step, counted from 0 over all epochs."""
    lr = learning_rate(state.recipe, step, state.recipe.epochs * state.batches.steps)
    return lr * LOW_START if state.starting else lr


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
    """Gives a seed from ``generator`` for torch's own streams, which dropout uses.

    They are put back at the end.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield seed


def seed_streams(seed: int, device: torch.device) -> None:
    """Seed the streams of the CPU and of this device alone.

    For every step anew: dropout draws unequally often for shares of unequal size, and a step must
    draw the same after an interruption before it.
    """
    # torch.manual_seed would reach every device there is, also those not put back.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
