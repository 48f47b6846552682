"""Layers appended to a trained network: a block that begins as nothing, and the same without it.

A residual block whose branch begins at zero is the identity, so the deeper network is the same
function, and training it goes on from there; a plain layer has to learn the identity first.  That
is the argument of He et al. 2015, arXiv 1512.03385, sections 1 and 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings, option
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.engine.images import Images
    from resnet_probe.state import AnyState

KINDS = ("residual", "plain")
WHOLE = "whole"
IDENTITY, LOSS, ERROR, CHANGE = "identity_error", "loss", "error_pct", "logit_change"
CLOSE = 1e-3
"""Of the variance of the state: an identity that is fitted."""
RATES = {IDENTITY: 0.01, LOSS: 0.001}
"""Learning rates of Adam."""
ADAM = 6
"""Numbers for each that is trained: itself, its gradient, Adam's two averages, what a step makes of
them and of a kernel."""


class Quantity(NamedTuple):
    """What a row says, in which unit."""

    unit: str
    meaning: str


QUANTITIES = {
    IDENTITY: Quantity(
        "share", "mean squared distance of the layers' output from their input, of its variance"
    ),
    LOSS: Quantity("nats", "cross-entropy of the images that are trained on"),
    ERROR: Quantity("%", "their error"),
    CHANGE: Quantity("logit", "the largest change of a logit where the layers are appended"),
}
"""By name; `step` says after how many steps of training."""


@dataclass(frozen=True, kw_only=True)
class AppendSettings(Settings):
    """How long, and how often."""

    steps: int = option(60, "of training, each on all images (default: 60)", least=1, metavar="N")
    blocks: int = option(3, "how many are appended (default: 3)", least=1, metavar="N")
    draws: int = option(3, "initial weights (default: 3)", least=1, metavar="N")
    seed: int = option(0, "of the initial weights (default: 0)", least=0, metavar="N")


def fit(subject: Subject, settings: AppendSettings) -> AppendSettings:
    from resnet_probe.studies.checks import check_spread, check_weights

    chain = subject.chain
    check_spread(subject.images, STUDY.name)
    check_weights(chain)
    shape = chain.blocks[-1].out_shape
    if len(shape) != 3:
        of = " (tokens×width)" if chain.of_tokens and len(shape) == 2 else ""
        raise ProbeError(
            "append puts 3×3 convolutions behind the last block, whose output has to be "
            f"channels×height×width: in {chain.name} it is {'×'.join(map(str, shape))}{of}"
        )
    return settings


def measure(subject: Subject, settings: AppendSettings, run: Run) -> Measured:
    from resnet_probe.engine.precision import full_precision

    chain, images, labels, _ = subject
    jobs = [(kind, draw) for kind in KINDS for draw in range(1, settings.draws + 1)]
    found: dict[tuple[str, int], Arrays] = {}
    labels = labels.to(chain.device)
    with full_precision(chain.device):
        _refuse_too_many(chain, images, labels, settings, run.memory)
        states = _states(chain, images)
        whole = run.kept(WHOLE, partial(_whole, chain, states, labels))
        for place, (kind, draw) in enumerate(jobs, start=1):
            make = partial(_one, chain, states, labels, settings, draw, kind)
            found[kind, draw] = run.kept(f"{kind}-{draw}", make)
            if run.progress is not None:
                run.progress(place, len(jobs))
    return Measured(_table(whole, found, len(images)), {})


def _states(chain: ResidualChain, images: Images) -> AnyState:
    """The last state of every image, `[n, c, h, w]`, with what it carries."""
    import torch

    from resnet_probe.state import detached

    with torch.no_grad():
        h = chain.stem(images[: len(images)].to(chain.device))
        for block in chain:
            h = block.run(h)
    return detached(h)


def _refuse_too_many(
    chain: ResidualChain, images: Images, labels: Tensor, settings: AppendSettings, memory: int
) -> None:
    """All images are trained on at once: raises `ProbeError` where they do not fit."""
    from resnet_probe.engine.memory import footprint, format_bytes, held_for_gradients, scratch
    from resnet_probe.engine.task import losses
    from resnet_probe.state import residual, with_residual

    states = _states(chain, images[:2])
    h = residual(states)
    more = layers(settings, 1, KINDS[0], h)

    def step() -> Tensor:
        logits = chain.head(with_residual(states, run_layers(h, more, KINDS[0])))
        return losses(logits, labels[:2])

    trained = sum(part.nbytes for part in more)
    held = max(0, held_for_gradients(chain, step) - trained) // len(h)
    needs = footprint(chain, images[:1].to(chain.device))
    fixed = needs.weights + ADAM * (trained + sum(p.nbytes for p in chain.head.parameters()))
    one = int(scratch(chain.device) * max(2 * needs.state + needs.work, 2 * held))
    if fixed + one * len(images) > memory:
        raise ProbeError(
            f"append trains on all images at once, and {len(images):,} of {chain.name} take "
            f"{format_bytes(fixed + one * len(images))}, more than memory={format_bytes(memory)}: "
            "give fewer images (limit=) or more memory"
        )


def _whole(chain: ResidualChain, states: AnyState, labels: Tensor) -> Arrays:
    """The network as it is: nothing appended, nothing trained."""
    import torch

    from resnet_probe.engine.task import losses
    from resnet_probe.studies.checks import check_finite

    with torch.no_grad():
        logits = chain.head(states)
    check_finite(logits, chain, 0)
    loss = float(losses(logits, labels).mean())
    return {LOSS: np.array([loss]), ERROR: np.array([_error_pct(logits, labels)])}


def _one(
    chain: ResidualChain,
    states: AnyState,
    labels: Tensor,
    settings: AppendSettings,
    draw: int,
    kind: str,
) -> Arrays:
    """Layers of one kind from one draw: trained to the identity, and, anew, with the head."""
    import copy

    import torch

    from resnet_probe.engine.task import losses
    from resnet_probe.state import residual, with_residual

    h = residual(states)
    identity = _fitted(h, settings, draw, kind)
    head = copy.deepcopy(chain.head).requires_grad_(True)
    anew = layers(settings, draw, kind, h)

    def logits_of() -> Tensor:
        return head(with_residual(states, run_layers(h, anew, kind)))

    with torch.no_grad():
        change = float((logits_of() - chain.head(states)).abs().max())

    def of_images() -> tuple[Tensor, Tensor]:
        logits = logits_of()
        return losses(logits, labels).mean(), logits

    parts = [*anew, *head.parameters()]
    history = list(_trained(of_images, parts, settings.steps, RATES[LOSS], -1.0))
    return {
        IDENTITY: np.array(identity),
        LOSS: np.array([loss for loss, _ in history]),
        ERROR: np.array([_error_pct(out, labels) for _, out in history]),
        CHANGE: np.array([change]),
    }


def _fitted(h: Tensor, settings: AppendSettings, draw: int, kind: str) -> list[float]:
    """How far layers that are trained to be the identity are from it, step by step."""
    parts = layers(settings, draw, kind, h)
    distance = partial(_distance, h, parts, kind, h.var())
    return [loss for loss, _ in _trained(distance, parts, settings.steps, RATES[IDENTITY], CLOSE)]


def layers(settings: AppendSettings, draw: int, kind: str, like: Tensor) -> list[Tensor]:
    """Weights of so many times convolution, batch norm, ReLU, convolution, batch norm.

    Drawn as He et al. 2015, arXiv 1502.01852; the last batch norm of each residual block begins at
    a scale of 0.
    """
    import torch

    from resnet_probe.edits import generator_for

    generator, channels = generator_for(settings.seed, "append", draw), like.shape[1]
    deviation = (2 / (9 * channels)) ** 0.5
    parts: list[Tensor] = []
    for place in range(2 * settings.blocks):
        weight = torch.randn(channels, channels, 3, 3, generator=generator) * deviation
        begin = 0.0 if place % 2 and kind == "residual" else 1.0
        parts += [weight, torch.full((channels,), begin), torch.zeros(channels)]
    return [part.to(like).requires_grad_(True) for part in parts]


def run_layers(h: Tensor, parts: list[Tensor], kind: str) -> Tensor:
    """What the layers make of a state, with the batch norms' statistics those of these images.

    The plain ones have a ReLU between one block's layers and the next one's, as between all others.
    """
    for start in range(0, len(parts), 6):
        h = h.relu() if start and kind == "plain" else h
        out = _normed(_normed(h, parts[start : start + 3]).relu(), parts[start + 3 : start + 6])
        h = h + out if kind == "residual" else out
    return h


def _normed(h: Tensor, parts: list[Tensor]) -> Tensor:
    from torch.nn import functional as F

    weight, scale, shift = parts
    h = F.conv2d(h, weight, padding=1)
    return F.batch_norm(h, None, None, scale, shift, training=True)


def _distance(
    states: Tensor, parts: list[Tensor], kind: str, scale: Tensor
) -> tuple[Tensor, Tensor]:
    found = run_layers(states, parts, kind)
    return (found - states).square().mean() / scale, found


def _trained(
    loss_of: Callable[[], tuple[Tensor, Tensor]],
    parts: list[Tensor],
    steps: int,
    rate: float,
    enough: float,
) -> Iterator[tuple[float, Tensor]]:
    """The loss, and what it is of, before each step and behind the last, until it is `enough`."""
    import torch

    optimizer = torch.optim.Adam(parts, lr=rate)
    for step in range(steps + 1):
        with torch.enable_grad():
            loss, found = loss_of()
        yield float(loss.detach()), found.detach()
        if step == steps or float(loss.detach()) <= enough:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _error_pct(logits: Tensor, labels: Tensor) -> float:
    from resnet_probe.engine.task import right

    return 100 * (1 - float(right(logits, labels).mean()))


def _table(whole: Arrays, found: dict[tuple[str, int], Arrays], images: int) -> pd.DataFrame:
    every = {(WHOLE, 0): whole, **found}
    rows = [
        {"kind": kind, "draw": draw, "quantity": quantity, "step": step, "value": float(value),
         "unit": QUANTITIES[quantity].unit, "images": images}
        for (kind, draw), arrays in every.items()
        for quantity, values in arrays.items()
        for step, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


STUDY = Study(
    "append",
    description="""\
Append layers behind the last block of a trained network: a residual block whose branch begins at
zero, and the same layers without a shortcut. How many steps does either take to be the identity,
and does the loss of the images rise when the deeper network is trained on (layers and head)?
Where it is the same function, it need not (He et al. 2015, arXiv 1512.03385, sections 1, 3.1).""",
    examples=("--arch resnet20", "--arch resnet56 --blocks 1 --steps 200 --draws 5"),
    settings=AppendSettings,
    fit=fit,
    measure=measure,
    limit=64,
    labels=("classes", "places"),
)
append = STUDY.function(
    """Layers appended to a network on `images` `[n, …]` with `labels` `[n]`, and trained on them.

    With a class for each pixel an image has the mean loss of its pixels.

    The network's own parameters are left as they are: what is trained are the new layers and a
    copy of the head.  The table is in long form, a row a kind, draw, quantity and step;
    `QUANTITIES` says what is measured.  Of the identity it ends where that is fitted, to `CLOSE`.

    Raises `ProbeError` for one image alone, labels outside the head's classes, images of another
    shape than the chain's, a last state that is no image, and weights that are not finite."""
)
