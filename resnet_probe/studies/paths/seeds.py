"""A random state for each draw, made from the seed and what is drawn."""

from __future__ import annotations

import hashlib

import torch


def generator_for(seed: int, *what: object) -> torch.Generator:
    """The same draw comes out whatever else is drawn beside it, and in whatever batches."""
    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
