"""Edits: what is done to a chain, as a program over its block numbers.

An `Edit` is immutable and knows nothing of a network but its number of blocks.  The draws of
random edits follow Veit et al. 2016, section 4, and take an explicit `torch.Generator`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from resnet_probe.chain import Step
from resnet_probe.errors import ProbeError


@dataclass(frozen=True)
class Edit:
    """One edited network: `steps` in the place of `1 … N`, and how a table names it.

    `kind` is baseline, delete, permute, duplicate or scale; `edits` says how many single edits it
    holds; `blocks` lists them (`"3 17"`, swaps as `"4-9 20-31"`); `tau` is Kendall's τ between the
    new order and the old one, for permutations.
    """

    kind: str
    edits: int
    blocks: str
    steps: tuple[Step, ...]
    draw: int = 0
    tau: float | None = None


def baseline(blocks: int) -> Edit:
    """The network as it is."""
    return Edit("baseline", 0, "", tuple((b, 1.0) for b in range(1, blocks + 1)))


def delete(blocks: int, numbers: Iterable[int]) -> Edit:
    """Leave out the branches of `numbers`; their shortcuts stay."""
    gone = set(_inside(blocks, numbers))
    steps = tuple((b, 0.0 if b in gone else 1.0) for b in range(1, blocks + 1))
    return Edit("delete", len(gone), " ".join(map(str, sorted(gone))), steps)


def duplicate(blocks: int, numbers: Iterable[int]) -> Edit:
    """Run each of `numbers` twice in a row."""
    twice = set(_inside(blocks, numbers))
    steps = tuple((b, 1.0) for b in range(1, blocks + 1) for _ in range(1 + (b in twice)))
    return Edit("duplicate", len(twice), " ".join(map(str, sorted(twice))), steps)


def scale(gates: Sequence[float]) -> Edit:
    """Multiply the branch of block b by `gates[b − 1]`."""
    steps = tuple((b, float(gate)) for b, gate in enumerate(gates, start=1))
    changed = [b for b, gate in steps if gate != 1]
    return Edit("scale", len(changed), " ".join(map(str, changed)), steps)


def swap(blocks: int, pairs: Sequence[tuple[int, int]]) -> Edit:
    """Exchange the blocks at two positions, for each pair in turn."""
    order = list(range(1, blocks + 1))
    for pair in pairs:
        i, j = _inside(blocks, pair)
        order[i - 1], order[j - 1] = order[j - 1], order[i - 1]
    label = " ".join(f"{i}-{j}" for i, j in pairs)
    return replace(reorder(order), edits=len(pairs), blocks=label)


def reorder(order: Sequence[int]) -> Edit:
    """Run the blocks in this order, a permutation of 1 … N; `blocks` lists the order."""
    if sorted(order) != list(range(1, len(order) + 1)):
        raise ProbeError(f"an order of {len(order)} blocks has to hold each of 1–{len(order)} once")
    moved = sum(b != position for position, b in enumerate(order, start=1))
    steps = tuple((b, 1.0) for b in order)
    return Edit("permute", moved, " ".join(map(str, order)), steps, tau=kendall_tau(order))


def kendall_tau(order: Sequence[int]) -> float:
    """Kendall's τ of a permutation of 1 … N with the sorted order: 1 − 4·inversions/N(N−1)."""
    n = len(order)
    inversions = sum(order[i] > order[j] for i in range(n) for j in range(i + 1, n))
    return 1 - 4 * inversions / (n * (n - 1)) if n > 1 else 1.0


def generator_for(seed: int, *what: object) -> torch.Generator:
    """A random state for each draw, made from the seed and what is drawn.

    So the same draw comes out whatever else is drawn beside it, and in whatever batches.
    """
    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_numbers(among: Sequence[int], count: int, generator: torch.Generator) -> list[int]:
    """`count` different block numbers, uniform among `among`, in ascending order."""
    if not 0 <= count <= len(among):
        raise ProbeError(f"{count} blocks cannot be drawn: there are {len(among)} to choose from")
    picked = torch.randperm(len(among), generator=generator)[:count].tolist()
    return sorted(among[i] for i in picked)


def draw_swaps(
    ranges: Sequence[Sequence[int]], count: int, generator: torch.Generator
) -> list[tuple[int, int]]:
    """`count` swaps of two different blocks of one range, uniform over all such pairs."""
    pairs = [(i, j) for numbers in ranges for i in numbers for j in numbers if i < j]
    if not pairs:
        raise ProbeError("no two blocks can change places: every stage has fewer than two to swap")
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
    ways = _completions(bases)
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


def _completions(bases: Sequence[int]) -> list[dict[int, int]]:
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
    total = sum(weights)
    bits = torch.randint(2**31, (4,), generator=generator).tolist()
    point = sum(bit << (31 * i) for i, bit in enumerate(bits)) * total >> 124
    for index, weight in enumerate(weights):
        if point < weight:
            return index
        point -= weight
    raise AssertionError("a point below the total lies below one of its partial sums")


def _inside(blocks: int, numbers: Iterable[int]) -> list[int]:
    found = list(numbers)
    for number in found:
        if not 1 <= number <= blocks:
            raise ProbeError(
                f"block {number} is out of range: there are {blocks} blocks (1–{blocks})"
            )
    return found
