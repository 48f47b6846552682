"""Which edits a lesion study makes: all single deletions, or seeded random draws.

Each draw has a random state of its own, made from the seed, the kind of edit, how many, and the
number of the draw; so a draw is the same whatever else is drawn beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce

import torch

from resnet_probe import edits
from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.studies.units import Layers, refuse_unknown

KINDS = ("delete", "permute", "duplicate")
DEFAULT_COUNTS = tuple(range(1, 21))
MOST = 1_000_000
"""Edited networks of one study."""


def plan(
    chain: ResidualChain,
    edit: str = "delete",
    *,
    counts: Sequence[int] | None = None,
    draws: int = 60,
    tau: Sequence[float] | None = None,
    seed: int = 0,
    unit: str = "block",
) -> list[Edit]:
    """The baseline, then the edits of a study (Veit et al. 2016, sections 4.1–4.3).

    delete without `counts`: every block once.  Otherwise `draws` random edits for each number in
    `counts`: blocks to delete among all; swaps inside a stage, the first block of each left out as
    published; blocks to duplicate among those that keep the shape.  permute with `tau`: orders
    with that Kendall's τ, uniform among those inside the stages.  With `unit="layer"` the same of
    layers, each of which may be several blocks: the attention and the MLP of an encoder layer.
    `unit="branch"` is of a chain in which each branch of a sum is a block (`level="branch"`).

    Raises `ProbeError` for a kind that does not exist, counts beyond the number of blocks, fewer
    draws than one, more than a million edits, or a τ out of reach.
    """
    refuse_unknown(unit, chain)
    if unit == "layer":
        layers = Layers(chain)
        planned = _plan(layers, edit, counts=counts, draws=draws, tau=tau, seed=seed)
        return [layers.expand(one) for one in planned]
    return _plan(chain, edit, counts=counts, draws=draws, tau=tau, seed=seed)


def _plan(
    chain: ResidualChain | Layers,
    edit: str,
    *,
    counts: Sequence[int] | None,
    draws: int,
    tau: Sequence[float] | None,
    seed: int,
) -> list[Edit]:
    if edit not in KINDS:
        there = ", ".join(KINDS) + did_you_mean(edit, KINDS)
        raise ProbeError(f"unknown edit {edit!r}: there are {there}")
    if draws < 1:
        raise ProbeError(f"{draws} draws are none: ask for at least 1")
    if tau is not None and edit != "permute":
        raise ProbeError(f"tau= goes with edit='permute', not with {edit}")
    if tau is not None and counts is not None:
        raise ProbeError("permute takes either counts= (swaps) or tau=, not both")
    none = Edit()
    if edit == "delete" and counts is None:
        return [none, *(Edit.delete(block.number) for block in chain)]
    if tau is not None:
        _refuse_many(draws, len(tau))
        return [none, *_orders(chain, tau, draws, seed)]
    drawn = _draw_one(chain, edit)
    return [none, *_draws(chain, edit, drawn, counts, draws, seed)]


def swappable(chain: ResidualChain | Layers) -> list[list[int]]:
    """Blocks by stage that may change places: those that keep one shape, the first left out.

    With 54 blocks these are 2–18, 20–36 and 38–54, as in the published study.
    """
    found: dict[object, list[int]] = {}
    for stage, numbers in enumerate(chain.stages):
        for number in numbers[1:]:
            block = chain.block(number)
            if block.keeps_shape:
                found.setdefault((stage, block.in_shape), []).append(number)
    return list(found.values())


def _draw_one(chain: ResidualChain | Layers, edit: str) -> Callable[[int, torch.Generator], Edit]:
    everything = [block.number for block in chain]
    same_shape = [block.number for block in chain if block.keeps_shape]
    ranges = swappable(chain)
    if edit == "delete":
        return lambda count, g: Edit.delete(*edits.draw_numbers(everything, count, g))
    if edit == "duplicate":
        return lambda count, g: _all(map(Edit.repeat, edits.draw_numbers(same_shape, count, g)))

    def swapped(count: int, generator: torch.Generator) -> Edit:
        pairs = edits.draw_swaps(ranges, count, generator)
        found = _all(Edit.swap(*pair) for pair in pairs)
        return replace(found, tau=edits.kendall_tau([b for b, _ in found.steps(chain)]))

    return swapped


def _all(some: Iterable[Edit]) -> Edit:
    """One after another."""
    return reduce(Edit.__rshift__, some)


def _draws(
    chain: ResidualChain | Layers,
    edit: str,
    draw: Callable[[int, torch.Generator], Edit],
    counts: Sequence[int] | None,
    draws: int,
    seed: int,
) -> list[Edit]:
    duplicable = sum(block.keeps_shape for block in chain)
    most = duplicable if edit == "duplicate" else len(chain)
    wanted = counts if counts is not None else [c for c in DEFAULT_COUNTS if c <= most]
    for count in wanted:
        if not 1 <= count <= most:
            kept = " that keep the shape" if edit == "duplicate" else ""
            raise ProbeError(
                f"{edit} {count} is out of range: {chain.name} has {most} {chain.unit}s{kept}, "
                f"so counts= goes from 1 to {most}"
            )
    _refuse_many(draws, len(wanted))
    return [
        replace(draw(count, edits.generator_for(seed, edit, count, number)), draw=number)
        for count in wanted
        for number in range(1, draws + 1)
    ]


def _refuse_many(draws: int, kinds: int) -> None:
    if draws * kinds > MOST:
        raise ProbeError(
            f"{draws:,} draws of {kinds} kinds of edits are {draws * kinds:,} networks: at most "
            f"{MOST:,} are measured at once, so draws= goes up to {MOST // kinds:,}"
        )


def _orders(
    chain: ResidualChain | Layers, tau: Sequence[float], draws: int, seed: int
) -> list[Edit]:
    ranges = [numbers for numbers in swappable(chain) if numbers]
    found = []
    for value in tau:
        edits.inversions_at(len(chain), ranges, value)
        for number in range(1, draws + 1):
            generator = edits.generator_for(seed, "tau", round(value * 10**6), number)
            order = edits.draw_order(len(chain), ranges, value, generator)
            found.append(replace(Edit.order(order), draw=number, tau=edits.kendall_tau(order)))
    return found


def reachable_taus(chain: ResidualChain | Layers, values: Sequence[float]) -> tuple[float, ...]:
    """Those values of Kendall's τ that orders of the blocks inside their stages can have."""
    ranges = [numbers for numbers in swappable(chain) if numbers]
    found = []
    for value in values:
        try:
            edits.inversions_at(len(chain), ranges, value)
        except ProbeError:
            continue
        found.append(value)
    return tuple(found)
