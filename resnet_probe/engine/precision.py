"""Full single precision where a device would round products to fewer bits by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_backends: Any = torch.backends  # their `conv` and `matmul` are made when they are imported


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Convolutions and matrix products in IEEE float32; as before afterwards.

    CUDA would take TF32 for convolutions, and either kind of device fewer bits where
    `torch.set_float32_matmul_precision` allows it.
    """
    if device.type == "cuda":
        settings = (_backends.cudnn.conv, _backends.cuda.matmul)
    else:
        settings = (_backends.mkldnn.conv, _backends.mkldnn.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
