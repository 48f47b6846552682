"""What each single block is worth on the images at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor
from torch.nn import functional as F

from resnet_probe import edits
from resnet_probe.chain import ResidualChain
from resnet_probe.engine.sweep import Progress, Sweep


def single_deletions(
    chain: ResidualChain,
    images: Tensor,
    labels: Tensor,
    *,
    exact: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """One row a block, the most important first.

    `delta_pct` is how much the error grows without the block, `delta_loss` how much the mean
    cross-entropy does (nats); blocks of equal error are ordered by it, then by number.
    """
    n = len(chain)
    plan = [edits.baseline(n), *(edits.delete(n, [b]) for b in range(1, n + 1))]
    loss, right = np.zeros(n + 1), np.zeros(n + 1)
    for piece in Sweep(chain, exact=exact).run(plan, images, progress=progress):
        logits, truth = piece.logits.double().cpu(), labels[piece.start : piece.stop].cpu()
        for index in piece.edits:
            loss[index] += float(F.cross_entropy(logits, truth, reduction="sum"))
            right[index] += int((logits.argmax(1) == truth).sum())
    table = pd.DataFrame(
        {
            "block": range(1, n + 1),
            "delta_pct": 100 * (right[0] - right[1:]) / len(images),
            "delta_loss": (loss[1:] - loss[0]) / len(images),
        }
    )
    order = ["delta_pct", "delta_loss", "block"]
    return table.sort_values(order, ascending=[False, False, True], ignore_index=True)
