"""Full single precision, and the same bits each time, where a device would give neither itself."""

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
    `torch.set_float32_matmul_precision` allows it.  Of cuDNN's ways back through a convolution
    some add in another order each time: they are left out, so that a run that is resumed goes on
    to the same bytes.
    """
    cuda = device.type == "cuda"
    wanted: list[tuple[Any, str, Any]] = [
        (_backends.cudnn.conv if cuda else _backends.mkldnn.conv, "fp32_precision", "ieee"),
        (_backends.cuda.matmul if cuda else _backends.mkldnn.matmul, "fp32_precision", "ieee"),
    ]
    if cuda:
        wanted += [(_backends.cudnn, "deterministic", True), (_backends.cudnn, "benchmark", False)]
    before = [getattr(part, name) for part, name, _ in wanted]
    try:
        for part, name, value in wanted:
            setattr(part, name, value)
        yield
    finally:
        for (part, name, _), value in zip(wanted, before, strict=True):
            setattr(part, name, value)
