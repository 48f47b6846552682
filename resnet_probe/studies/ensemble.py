"""Independently trained networks on the same images: a true ensemble, the yardstick of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_probe.errors import ProbeError
from resnet_probe.settings import format_bytes
from resnet_probe.studies.checks import check_data, check_weights
from resnet_probe.studies.study import Arrays, Run, Together
from resnet_probe.studies.votes import Answers, Spread, spread_of

if TYPE_CHECKING:
    from torch import Tensor


def check_others(subject: Together, draws: int) -> None:
    """Raises `ProbeError` for networks that are no ensemble with the subject.

    They need its labels, its classes, and as many drawn sub-networks as there are of them.
    """
    size = 1 + len(subject.others)
    for other in subject.others:
        check_data(other.chain, other.images, other.labels)
        check_weights(other.chain)
        if other.chain.classes != subject.chain.classes:
            raise ProbeError(
                f"{other.chain.name} has {other.chain.classes} classes and {subject.chain.name} "
                f"{subject.chain.classes}: an ensemble votes on the same ones"
            )
        if not torch.equal(other.labels.cpu(), subject.labels.cpu()):
            raise ProbeError(
                f"{other.chain.name} comes with other labels than {subject.chain.name}: an "
                "ensemble is measured on the same images"
            )
    if draws < size:
        raise ProbeError(
            f"{draws} draws are fewer than the {size} networks: sub-networks are averaged {size} "
            f"at a time, so draws= begins at {size}"
        )


def check_room(subject: Together, memory: int) -> None:
    """Raises `ProbeError` where the networks' outputs do not fit the memory."""
    size = 1 + len(subject.others)
    needs = 20 * size * len(subject.images) * subject.chain.classes
    if needs > memory:
        raise ProbeError(
            f"the outputs of {size} networks for {len(subject.images):,} images of "
            f"{subject.chain.classes:,} classes take {format_bytes(needs)}, more than the "
            f"{format_bytes(memory)} of memory=: give fewer images (limit=) or more memory"
        )


def members(subject: Together, found: Arrays, run: Run) -> Answers:
    """What the subject, whose outcomes are `found`, and the others answer, each as it is."""
    from resnet_probe.edits import Edit
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies.outcomes import outcomes

    parts = [{"answer": found["answer"][0], "chance": found["chance"]}]
    for place, other in enumerate(subject.others):
        sweep = Sweep(other.chain, batch=run.batch, memory=run.memory)
        edits, key = [Edit()], f"other {place + 1}: "
        part = run.part(place, 1, len(subject.others))
        seen = outcomes(sweep, edits, other.images, other.labels, _outputs, part, key=key)
        parts.append({"answer": seen["answer"][0], "chance": seen["chance"]})
    chance = torch.from_numpy(np.stack([part["chance"].T for part in parts])).double()
    spread = spread_of(chance, subject.labels.cpu())
    return Answers(
        np.stack([part["answer"] for part in parts]).astype(np.int64),
        chance.sum(0).argmax(1, keepdim=True).T.numpy(),
        Spread(spread.squared.numpy(), spread.ambiguity.numpy()),
    )


def _outputs(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The `answer` of the one network `[1, n]`, and its softmax output `[classes, n]`."""
    from resnet_probe.engine.task import predicted

    chance = logits[0].float().double().softmax(dim=1)
    return {"answer": predicted(logits[0].float())[None], "chance": chance.T.float()}
