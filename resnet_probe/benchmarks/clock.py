"""How a benchmark compares ways of the same work: in turn, in one process, at equal results."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from resnet_probe.engine.memory import format_bytes
from resnet_probe.errors import ProbeError

T = TypeVar("T")
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
WIDE = 48
"""Letters of the name of a way."""


@dataclass(frozen=True)
class Comparison:
    """What the ways took, and whether they agree.

    `ways` are names with seconds, the median of the rounds; `remarks` what follows from them, a
    line each; `equal` says that the results are the same as far as rounding; `what` was done.
    """

    ways: Sequence[tuple[str, float]]
    remarks: Sequence[str]
    equal: bool
    what: str = ""

    def __str__(self) -> str:
        lines = [f"{name:<{WIDE}}{seconds:8.2f} s" for name, seconds in self.ways]
        return "\n".join([*lines, "", *self.remarks])


def ratio(name: str, slow: float, fast: float, note: str = "") -> str:
    """The line `engine against the plain loop:   2.31x`."""
    return f"{name + ':':<{WIDE - 5}}{slow / fast:.2f}x{note and f' ({note})'}"


def in_turn(
    calls: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device
) -> tuple[dict[str, float], dict[str, Any]]:
    """Each call once a round, one after the other: its median seconds, and what it gave last.

    Raises `ProbeError` for less than one round.
    """
    if rounds < 1:
        raise ProbeError(f"rounds={rounds}: at least one round is needed")
    times: dict[str, list[float]] = {name: [] for name in calls}
    outputs: dict[str, Any] = {}
    for _ in range(rounds):
        for name, call in calls.items():
            took, outputs[name] = timed(call, device)
            times[name].append(took)
    return {name: median(taken) for name, taken in times.items()}, outputs


def fastest(
    call: Callable[[int], Any], sizes: Sequence[int], most: int, device: torch.device, tries: int
) -> int:
    """The batch size, of `sizes` up to `most`, at which a call is fastest; one try warms up."""
    kept = sorted({min(size, most) for size in sizes})
    times: dict[int, list[float]] = {size: [] for size in kept}
    for _ in range(tries):
        for size in kept:
            times[size].append(timed(partial(call, size), device)[0])
    return min(kept, key=lambda size: min(times[size]))


def timed(call: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Wall time of one call, the device's queue drained before and after, and what it gave."""
    gc.collect()
    _wait(device)
    began = time.perf_counter()
    output = call()
    _wait(device)
    return time.perf_counter() - began, output


def size_said(size: int | None) -> str:
    """A size in bytes as text, where it is known."""
    return "not known here" if size is None else format_bytes(size)


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
