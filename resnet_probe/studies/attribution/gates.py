"""Metrics of gated networks, through the engine: what stands behind captum's perturbations.

The gates α ∈ [0, 1]^N multiply the branches of a chain's blocks; all ones is the network, a zero
leaves a branch out.  Many gate vectors are one prefix tree of the sweep.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from resnet_probe.edits import Edit
from resnet_probe.engine.images import Images
from resnet_probe.engine.sweep import Progress, Sweep
from resnet_probe.engine.task import losses, margins, right
from resnet_probe.errors import ProbeError

METRICS = ("accuracy", "loss", "margin")
UNITS = {"accuracy": "percentage points", "loss": "nats", "margin": "logits"}
"""accuracy: 100 where an image is right, else 0; loss: cross-entropy; margin: the true class's
logit less the largest other one.  Of several answers an image they are means over them."""
SMOOTH = ("loss", "margin")
"""The metrics that have a gradient."""

Gates = tuple[float, ...]


def metrics(logits: Tensor, labels: Tensor) -> Tensor:
    """`METRICS` of each image, float64 `[3, n]`, from logits that fit the labels."""
    return torch.stack([100 * right(logits, labels), *smooth_metrics(logits.double(), labels)])


def smooth_metrics(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and margin of each image, `[n]` each, in the type of the logits."""
    return losses(logits, labels), margins(logits, labels)


def gated_metrics(
    sweep: Sweep,
    gates: Sequence[Gates],
    images: Images,
    labels: Tensor,
    *,
    progress: Progress | None = None,
) -> Tensor:
    """`METRICS` of each image under each gate vector, float64 `[gates, 3, n]` on the CPU.

    Raises `ProbeError` for logits that are not finite.
    """
    found = torch.empty(len(gates), len(METRICS), len(images), dtype=torch.float64)
    here = labels.to(sweep.chain.device)
    programs = [gated(vector) for vector in gates]
    for piece in sweep.run(programs, images, progress=progress):
        logits = piece.logits.float()
        if not torch.isfinite(logits).all():
            off = programs[piece.edits[0]].blocks or "none"
            raise ProbeError(
                f"the logits of {sweep.chain.name} are not finite with the gates of blocks {off} "
                "changed: the network or its input holds NaN or Inf"
            )
        values = metrics(logits, here[piece.start : piece.stop]).cpu()
        for index in piece.edits:
            found[index, :, piece.start : piece.stop] = values
    return found


def gated(vector: Gates) -> Edit:
    """The edit that sets the gates of blocks 1 … N."""
    return Edit.scale({b: gate for b, gate in enumerate(vector, start=1) if gate != 1})


def network(blocks: int) -> Gates:
    """All gates open."""
    return (1.0,) * blocks


def without(blocks: int, *numbers: int) -> Gates:
    """All gates open but those of these blocks, numbered from 1."""
    return tuple(0.0 if b in numbers else 1.0 for b in range(1, blocks + 1))
