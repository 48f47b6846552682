"""What a study refuses before it starts, each in one sentence."""

from __future__ import annotations

import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.images import Images
from resnet_probe.errors import ProbeError


def check_weights(chain: ResidualChain) -> None:
    """Raises `ProbeError` for a parameter or buffer that holds NaN or Inf, by its own name."""
    for module in chain.modules:
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            broken = int((~torch.isfinite(tensor)).sum())
            if broken:
                raise ProbeError(
                    f"{name} of {chain.name} holds {broken:,} NaN or infinite numbers "
                    f"(of {tensor.numel():,}): nothing can be measured on such weights"
                )


def check_spread(images: Images, study: str) -> None:
    """Raises `ProbeError` for fewer than two images, over which nothing varies."""
    if len(images) < 2:
        raise ProbeError(
            f"{study} needs at least 2 images, found {len(images)}: its intervals come from the "
            "spread over images"
        )


def check_finite(logits: Tensor, chain: ResidualChain, start: int) -> None:
    """Raises `ProbeError` for logits of images `start` … that are not finite."""
    if not torch.isfinite(logits).all():
        raise ProbeError(
            f"the logits of images {start}–{start + len(logits) - 1} are not finite: "
            f"{chain.name} or its input holds NaN or Inf"
        )


def predicted(logits: Tensor) -> Tensor:
    """The class of each image, int64 `[n]`; of equal logits the same one in every study."""
    return logits.topk(min(2, logits.shape[1]), dim=1).indices[:, 0]
