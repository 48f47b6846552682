"""A chain whose paths can be written down: what intervals of path norms are held against.

Blocks h + f_b·tanh(h), element by element, behind and before nothing: with d_b = f_b·(1 − tanh²h_b)
the gradient of a path P is g·Π_{b ∈ P} d_b, and g that of the cross-entropy at the last state.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.stats import Floats

FACTORS = (0.9, -0.5, 0.7, 0.4)
CLASSES = 3


class Truth(NamedTuple):
    """By path length, `[lengths]`, means over images: as the study's columns are named."""

    share: Floats
    rms_norm: Floats
    mean_norm: Floats


class Bent(nn.Module):
    """f·tanh(h)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, h: Tensor) -> Tensor:
        return self.factor * torch.tanh(h)


def known_chain() -> ResidualChain:
    """The chain, on `[n, 3]`."""
    shape = (CLASSES,)
    blocks = tuple(
        ResidualBlock(
            number=number, name=f"block{number}", stage=1, shortcut=nn.Identity(),
            branch=Bent(factor), after=nn.Identity(), shortcut_kind="identity",
            in_shape=shape, out_shape=shape,
        )
        for number, factor in enumerate(FACTORS, start=1)
    )  # fmt: skip
    return ResidualChain("known", nn.Identity(), blocks, nn.Identity(), shape, CLASSES)


def drawn(count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """So many images `[n, 3]` and labels `[n]` of the population that `truth` is about."""
    images = random.standard_normal((count, CLASSES), dtype=np.float32)
    return torch.from_numpy(images), torch.from_numpy(random.integers(CLASSES, size=count))


def truth(images: Tensor, labels: Tensor) -> Truth:
    """What the study is to find on these images, in numpy, path by path."""
    h, factors = images.double().numpy(), []
    for factor in FACTORS:
        factors.append(factor * (1 - np.tanh(h) ** 2))
        h = h + factor * np.tanh(h)
    chances = np.exp(h - h.max(axis=1, keepdims=True))
    last = chances / chances.sum(axis=1, keepdims=True) - np.eye(CLASSES)[labels.numpy()]
    return Truth(*np.array(list(_by_length(last, factors))).T)


def _by_length(last: Floats, factors: list[Floats]) -> Iterator[tuple[float, float, float]]:
    """Share, root mean square norm and mean norm of the paths of each length, over images."""
    whole = last * np.prod([1 + d for d in factors], axis=0)
    for length in range(len(factors) + 1):
        paths = np.array([
            last * np.prod([np.ones_like(last), *chosen], axis=0)
            for chosen in combinations(factors, length)
        ])  # fmt: skip
        squares = (paths**2).sum(axis=2)
        share = (paths.sum(axis=0) * whole).sum(axis=1) / (whole**2).sum(axis=1)
        rms = np.sqrt(squares.sum(axis=0) / comb(len(factors), length))
        yield share.mean(), rms.mean(), np.sqrt(squares).mean()
