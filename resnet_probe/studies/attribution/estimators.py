"""captum's estimators over the gates, and the exact Shapley values of a short chain.

captum asks its forward function for one perturbation after another, and neither which ones nor how
many depends on the answers.  So each estimator runs twice: in a rehearsal that only notes the gate
vectors, and again once the engine has evaluated all of them together, common prefixes once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, product
from typing import Any

import torch
from torch import Tensor

from resnet_probe.studies.attribution.gates import Gates

Forward = Callable[[Tensor], Tensor]
"""Gates `[perturbations, blocks]` to values `[perturbations, anything]`."""
Values = dict[Gates, Tensor]
"""By gate vector, values `[anything]`."""


def asked_by(estimate: Callable[[Forward], Any]) -> list[Gates]:
    """The gate vectors that an estimator asks its forward function for, each once, in order."""
    asked: dict[Gates, None] = {}

    def note(gates: Tensor) -> Tensor:
        asked.update(dict.fromkeys(map(tuple, gates.tolist())))
        return torch.zeros(len(gates), 1, dtype=torch.float64)

    estimate(note)
    return list(asked)


def answering(values: Values) -> Forward:
    """A forward function that looks its answers up."""
    return lambda gates: torch.stack([values[tuple(row)] for row in gates.tolist()])


def ablation(forward: Forward, blocks: int) -> Tensor:
    """What each block's deletion takes off, `[values, blocks]`: captum's `FeatureAblation`."""
    from captum.attr import FeatureAblation

    return FeatureAblation(forward).attribute(_open(blocks), perturbations_per_eval=blocks)


def shapley(forward: Forward, blocks: int, *, seed: int, permutation: int) -> Tensor:
    """The gain of each block in one random order of them all, `[values, blocks]`.

    captum's `ShapleyValueSampling` with one sample (Castro, Gómez & Tejada 2009); its mean over
    permutations is the Shapley value.  The order depends on `seed` and `permutation` alone.
    """
    from captum.attr import ShapleyValueSampling

    with torch.random.fork_rng([]):
        # torch.manual_seed would move the generators of the accelerators too.
        torch.default_generator.manual_seed(_seed(seed, permutation))
        found = ShapleyValueSampling(forward).attribute(
            _open(blocks), n_samples=1, perturbations_per_eval=blocks
        )
    return found.reshape(-1, blocks)


def subsets(blocks: int) -> list[Gates]:
    """Every gate vector of zeros and ones."""
    return [tuple(map(float, bits)) for bits in product((0, 1), repeat=blocks)]


def exact_shapley(forward: Forward, blocks: int) -> Tensor:
    """The Shapley values from all subsets of the blocks, `[values, blocks]`.

    φ_b = Σ over subsets S without b of |S|! (N − |S| − 1)! / N! · (v(S ∪ b) − v(S)).
    """
    gates = torch.tensor(subsets(blocks), dtype=torch.float64)
    values = forward(gates)
    sizes = gates.sum(1).long()
    weight = torch.tensor(
        [1 / (blocks * math.comb(blocks - 1, size)) for size in range(blocks)], dtype=torch.float64
    )
    inside = gates * weight[(sizes - 1).clamp(min=0)].unsqueeze(1)
    outside = (1 - gates) * weight[sizes.clamp(max=blocks - 1)].unsqueeze(1)
    return values.T @ (inside - outside)


def affordable(blocks: int, permutations: int) -> bool:
    """Whether all subsets take no more branches than that many sampled permutations."""
    return blocks <= 20 and 2**blocks - 1 <= permutations * blocks * (blocks + 3) / 4


def pairs(numbers: Sequence[int]) -> Iterable[tuple[int, int]]:
    return combinations(numbers, 2)


def _open(blocks: int) -> Tensor:
    return torch.ones(1, blocks, dtype=torch.float64)


def _seed(*what: object) -> int:
    digest = hashlib.sha256(repr(what).encode()).digest()
    return int.from_bytes(digest[:7], "big")
