"""Full single precision where a device would round products to fewer bits by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_cudnn: Any = torch.backends.cudnn  # its `conv` is made when it is imported


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Convolutions and matrix products in IEEE float32 (no TF32) on CUDA; as before afterwards."""
    if device.type != "cuda":
        yield
        return
    settings: tuple[Any, ...] = (_cudnn.conv, torch.backends.cuda.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
