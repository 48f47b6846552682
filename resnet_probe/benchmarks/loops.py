"""The loop that one would write by hand, and the engine, on the same edits and images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from resnet_probe.benchmarks.clock import fastest
from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.images import Images
from resnet_probe.engine.sweep import Sweep
from resnet_probe.studies.outcomes import NEAR_TIE

PLAIN_BATCHES = (16, 32, 64, 128, 256)
TRIAL_EDITS = 3


def predict_engine(sweep: Sweep, edits: Sequence[Edit], images: Images) -> Tensor:
    """Logits `[edits, n, classes]` from the engine."""
    found = torch.empty(len(edits), len(images), sweep.chain.classes)
    for piece in sweep.run(edits, images):
        found[list(piece.edits), piece.start : piece.stop] = piece.logits.cpu()
    return found


@torch.inference_mode()
def predict_plain(
    chain: ResidualChain, edits: Sequence[Edit], images: Tensor, batch: int
) -> Tensor:
    """The same from the plain loop."""
    rows = [torch.cat([chain.run(part, edit) for part in images.split(batch)]) for edit in edits]
    return torch.stack(rows).cpu()


def best_batch(chain: ResidualChain, edits: Sequence[Edit], images: Tensor) -> int:
    """The batch size at which the plain loop is fastest, tried on a few edits after a warm-up."""
    some = edits[:TRIAL_EDITS]
    call = partial(predict_plain, chain, some, images)
    return fastest(call, PLAIN_BATCHES, len(images), chain.device, tries=2)


def count_near_ties(logits: Tensor) -> int:
    best = logits.topk(2, dim=-1).values
    return int((best[..., 0] - best[..., 1] < NEAR_TIE).sum())
