"""What an attribution is asked for, and the gate vectors that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from resnet_probe.chain import ResidualChain
from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.studies.attribution import estimators
from resnet_probe.studies.attribution.gates import Gates, network, without
from resnet_probe.studies.plan import MOST

METHODS = ("ablation", "shapley", "gradients", "interactions")
PERMUTATIONS = 20


@dataclass(frozen=True)
class Request:
    """`permutations` 0 means all subsets of the blocks, exactly; `gates` are all that is to run."""

    blocks: int
    methods: tuple[str, ...]
    permutations: int
    seed: int
    gates: tuple[Gates, ...] = field(repr=False)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(1, self.blocks + 1), 2))


def request(
    chain: ResidualChain,
    *,
    methods: Sequence[str] | None,
    permutations: int | None,
    seed: int,
) -> Request:
    """Raises `ProbeError` for unknown methods, fewer permutations than two, gradients of a plain
    network, and interactions of a single block."""
    chosen = _methods(chain, methods)
    count = PERMUTATIONS if permutations is None else permutations
    if count < 2:
        raise ProbeError(f"{count} permutations have no spread: give at least 2")
    if "shapley" in chosen and count * len(chain) > MOST:
        raise ProbeError(
            f"{count:,} permutations of {len(chain)} blocks are {count * len(chain):,} networks: "
            f"at most {MOST:,} are measured at once, so permutations= goes up to "
            f"{MOST // len(chain):,}"
        )
    if permutations is None and estimators.affordable(len(chain), count):
        count = 0
    asked = Request(len(chain), chosen, count if "shapley" in chosen else 0, seed, ())
    gates = tuple(dict.fromkeys(_gates(asked)))
    return Request(asked.blocks, chosen, asked.permutations, seed, gates)


def _methods(chain: ResidualChain, methods: Sequence[str] | None) -> tuple[str, ...]:
    if methods is None:
        apply = {"gradients": chain.residual, "interactions": len(chain) > 1}
        return tuple(m for m in METHODS if apply.get(m, True))
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        named = repr(unknown[0]) if unknown else "no method"
        there = ", ".join(METHODS) + did_you_mean("".join(unknown[:1]), METHODS)
        raise ProbeError(f"{named} is not a method of attribution: there are {there}")
    if "gradients" in methods and not chain.residual:
        raise ProbeError(
            f"{chain.name} has no branches whose gates could open gradually: gradients are for "
            "residual networks"
        )
    if "interactions" in methods and len(chain) < 2:
        raise ProbeError(f"{chain.name} has one block: interactions are between two")
    return tuple(method for method in METHODS if method in methods)


def _gates(asked: Request) -> list[Gates]:
    blocks = asked.blocks
    found = [network(blocks), (0.0,) * blocks]
    if {"ablation", "interactions"} & set(asked.methods):
        found += estimators.asked_by(lambda forward: estimators.ablation(forward, blocks))
    if "interactions" in asked.methods:
        found += [without(blocks, *pair) for pair in asked.pairs]
    if "shapley" in asked.methods and not asked.permutations:
        found += estimators.subsets(blocks)
    elif "shapley" in asked.methods:
        for number in range(asked.permutations):
            found += estimators.asked_by(
                lambda forward, number=number: estimators.shapley(  # type: ignore[misc]
                    forward, blocks, seed=asked.seed, permutation=number
                )
            )
    return found
