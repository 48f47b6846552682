"""Random draws of edits, after Veit et al. 2016, section 4, from an explicit `torch.Generator`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    import torch


def kendall_tau(order: Sequence[int]) -> float:
    """Kendall's τ of a permutation of 1 … N with the sorted order: 1 − 4·inversions/N(N−1)."""
    n = len(order)
    inversions = sum(order[i] > order[j] for i in range(n) for j in range(i + 1, n))
    return 1 - 4 * inversions / (n * (n - 1)) if n > 1 else 1.0


def generator_for(seed: int, *what: object) -> torch.Generator:
    """A random state for each draw, made from the seed and what is drawn.

    So the same draw comes out whatever else is drawn beside it, and in whatever batches.
    """
    import torch

    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_numbers(among: Sequence[int], count: int, generator: torch.Generator) -> list[int]:
    """`count` different block numbers, uniform among `among`, in ascending order."""
    if not 0 <= count <= len(among):
        raise ProbeError(f"{count} blocks cannot be drawn: there are {len(among)} to choose from")
    import torch

    picked = torch.randperm(len(among), generator=generator)[:count].tolist()
    return sorted(among[i] for i in picked)


def draw_swaps(
    ranges: Sequence[Sequence[int]], count: int, generator: torch.Generator
) -> list[tuple[int, int]]:
    """`count` swaps of two different blocks of one range, uniform over all such pairs."""
    pairs = [(i, j) for numbers in ranges for i in numbers for j in numbers if i < j]
    if not pairs:
        raise ProbeError("no two blocks can change places: every stage has fewer than two to swap")
    import torch

    picked = torch.randint(len(pairs), (count,), generator=generator).tolist()
    return [pairs[i] for i in picked]


def draw_order(
    blocks: int, ranges: Sequence[Sequence[int]], tau: float, generator: torch.Generator
) -> list[int]:
    """An order of the blocks with Kendall's τ as near to `tau` as can be, each range kept together.

    Uniform among all permutations inside `ranges` with that number of inversions: a permutation
    corresponds to its Lehmer code, whose digits add up to the inversions, so digits are drawn one
    by one with the exact number of completions of each as weight.
    """
    inversions = inversions_at(blocks, ranges, tau)
    lengths = [len(numbers) for numbers in ranges]
    bases = [base for n in lengths for base in range(n, 0, -1)]
    ways = _completions(tuple(bases))
    digits, left = [], inversions
    for position, base in enumerate(bases):
        options = [ways[position + 1].get(left - digit, 0) for digit in range(base)]
        digits.append(_weighted(options, generator))
        left -= digits[-1]
    order = list(range(1, blocks + 1))
    for numbers in ranges:
        rest = list(numbers)
        for place in numbers:
            order[place - 1] = rest.pop(digits.pop(0))
    return order


def inversions_at(blocks: int, ranges: Sequence[Sequence[int]], tau: float) -> int:
    """How many inversions give Kendall's τ nearest to `tau`; raises `ProbeError` out of reach."""
    most = sum(len(numbers) * (len(numbers) - 1) // 2 for numbers in ranges)
    lowest = 1 - 4 * most / (blocks * (blocks - 1)) if blocks > 1 else 1.0
    step = 4 / (blocks * (blocks - 1)) if blocks > 1 else 1.0
    if not lowest - step / 2 <= tau <= 1 + 1e-9:
        raise ProbeError(
            f"Kendall's τ = {tau:g} cannot be reached by permuting blocks inside their stages: "
            f"between {lowest:.3f} (every stage reversed) and 1 it can"
        )
    return min(most, max(0, round((1 - tau) / step)))


@lru_cache(maxsize=8)
def _completions(bases: tuple[int, ...]) -> list[dict[int, int]]:
    """For each position, how many ways the digits from there on have to add up to each sum."""
    ways: list[dict[int, int]] = [{0: 1}]
    for base in reversed(bases):
        after = ways[0]
        totals: dict[int, int] = {}
        for total, count in after.items():
            for digit in range(base):
                totals[total + digit] = totals.get(total + digit, 0) + count
        ways.insert(0, totals)
    return ways


def _weighted(weights: Sequence[int], generator: torch.Generator) -> int:
    """An index drawn in proportion to whole-number weights too large for floating point alone."""
    import torch

    total = sum(weights)
    bits = torch.randint(2**31, (4,), generator=generator).tolist()
    point = sum(bit << (31 * i) for i, bit in enumerate(bits)) * total >> 124
    for index, weight in enumerate(weights):
        if point < weight:
            return index
        point -= weight
    raise AssertionError("a point below the total lies below one of its partial sums")
