"""Time and peak memory of a call, on a CPU or a CUDA device."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def timed(call: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Wall time of one call, the device's queue drained before and after, and what it gave."""
    gc.collect()
    _wait(device)
    began = time.perf_counter()
    output = call()
    _wait(device)
    return time.perf_counter() - began, output


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Gives a function that says how many bytes the block took at most beyond what was held before.

    On a CPU this is the resident size of the process, where the system can tell (Linux); None
    elsewhere.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield lambda: torch.cuda.max_memory_allocated(device) - before
        return
    if not CLEAR.exists():
        yield lambda: None
        return
    CLEAR.write_text("5")  # sets the high-water mark back to the present size
    before = _resident("VmRSS")
    yield lambda: _resident("VmHWM") - before


def _resident(field: str) -> int:
    line = next(row for row in STATUS.read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) * 1024


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
