"""Which blocks the presets switch off."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from resnet_probe.edits import draw_numbers
from resnet_probe.errors import ProbeError

PRESETS = {
    "all on": "the network as it is",
    "random": "k blocks off, drawn at random",
    "most important": "the k blocks off whose single deletion costs the most",
    "short paths": "only the k most important blocks on, so that no path is longer than k",
}
RANKED = ("most important", "short paths")
"""Those that need to know what deleting each single block does."""


def check_preset(name: str, count: int, *, blocks: int) -> None:
    """Raises `ProbeError` for a preset that does not exist and a count out of range."""
    if name not in PRESETS:
        raise ProbeError(f"unknown preset {name!r}: there are {', '.join(PRESETS)}")
    if not 0 <= count <= blocks:
        raise ProbeError(f"{count} blocks are out of range: the network has {blocks} (0–{blocks})")


def blocks_off(name: str, count: int, *, ranking: Sequence[int], seed: int = 0) -> list[int]:
    """Block numbers in ascending order; `ranking` has all of them, the most important first."""
    if name == "random":
        return draw_numbers(sorted(ranking), count, torch.Generator().manual_seed(seed))
    if name == "most important":
        return sorted(ranking[:count])
    if name == "short paths":
        return sorted(ranking[count:])
    return []
