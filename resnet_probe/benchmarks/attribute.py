"""Shapley values of the blocks: captum driving the plain model, and driving the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor

from resnet_probe.benchmarks.clock import peak_memory, timed
from resnet_probe.benchmarks.lesion import PLAIN_BATCHES
from resnet_probe.chain import ResidualChain
from resnet_probe.edits import scale
from resnet_probe.engine.memory import DEFAULT_MEMORY
from resnet_probe.engine.sweep import PrefixTree, Sweep
from resnet_probe.studies.attribution import estimators
from resnet_probe.studies.attribution.gates import METRICS, gated_metrics, metrics


@dataclass(frozen=True)
class AttributeBenchmark:
    """Seconds are medians over the rounds; `forwards` and branch runs are per image.

    `plain`: captum calls the network once for each perturbation, every branch multiplied by its
    gate; `skipping`: branches whose gate is 0 are not run; both at `best_batch`, the batch size
    that is best for the plain way.  The largest difference between the Shapley values of the plain
    way and the engine: `accuracy_gap`, in percentage points (near-ties may flip), and `gap`, for
    loss and margin relative to the largest value.
    """

    plain: float
    skipping: float
    engine: float
    best_batch: int
    forwards: int
    branch_runs_plain: int
    branch_runs_engine: int
    peak_bytes: int | None
    accuracy_gap: float
    gap: float


def benchmark(
    chain: ResidualChain,
    images: Tensor,
    labels: Tensor,
    *,
    permutations: int,
    rounds: int,
    seed: int = 0,
    memory: int = DEFAULT_MEMORY,
    batch: int | None = None,
) -> AttributeBenchmark:
    """Time the three in turn, `rounds` times, on the same images `[n, …]`, orders and estimator."""
    images, labels = images.contiguous(), labels.to(chain.device)
    sweep = Sweep(chain, memory=memory, batch=batch)
    engine = partial(shapley_engine, sweep, images, labels, permutations, seed)
    with peak_memory(chain.device) as peak:
        engine()
    peak_bytes = peak()
    best = best_batch(chain, images, labels)
    calls: dict[str, Callable[[], Tensor]] = {
        name: partial(
            shapley_plain, chain, images, labels, permutations, seed, best, skip=name == "skipping"
        )
        for name in ("plain", "skipping")
    }
    calls["engine"] = engine
    times: dict[str, list[float]] = {name: [] for name in calls}
    values: dict[str, Tensor] = {}
    for _ in range(rounds):
        for name, call in calls.items():
            took, values[name] = timed(call, chain.device)
            times[name].append(took)
    slow, fast = values["plain"], values["engine"]
    apart = (slow - fast).abs().amax(1)
    forwards = permutations * (len(chain) + 1)
    tree = PrefixTree.of([scale(gates) for gates in asked(len(chain), permutations, seed)])
    return AttributeBenchmark(
        plain=median(times["plain"]),
        skipping=median(times["skipping"]),
        engine=median(times["engine"]),
        best_batch=best,
        forwards=forwards,
        branch_runs_plain=forwards * len(chain),
        branch_runs_engine=tree.branch_runs,
        peak_bytes=peak_bytes,
        accuracy_gap=float(apart[0]),
        gap=float((apart[1:] / fast[1:].abs().amax(1)).max()),
    )


def asked(blocks: int, permutations: int, seed: int) -> list[estimators.Gates]:
    """The gate vectors of all orders."""
    found: dict[estimators.Gates, None] = {}
    for number in range(permutations):
        order = partial(estimators.shapley, blocks=blocks, seed=seed, permutation=number)
        found.update(dict.fromkeys(estimators.asked_by(order)))
    return list(found)


def shapley_engine(
    sweep: Sweep, images: Tensor, labels: Tensor, permutations: int, seed: int
) -> Tensor:
    """Shapley values of `METRICS`, `[3, blocks]`, from one prefix tree of all orders."""
    blocks = len(sweep.chain)
    gates = asked(blocks, permutations, seed)
    values = gated_metrics(sweep, gates, images, labels).mean(-1)
    forward = estimators.answering(dict(zip(gates, values, strict=True)))
    return _mean_over_orders(forward, blocks, permutations, seed)


def shapley_plain(
    chain: ResidualChain,
    images: Tensor,
    labels: Tensor,
    permutations: int,
    seed: int,
    batch: int,
    *,
    skip: bool,
) -> Tensor:
    """The same from one forward pass of the network for each perturbation that captum asks for."""

    def forward(gates: Tensor) -> Tensor:
        return torch.stack(
            [gated_plain(chain, row.tolist(), images, labels, batch, skip=skip) for row in gates]
        )

    return _mean_over_orders(forward, len(chain), permutations, seed)


@torch.inference_mode()
def gated_plain(
    chain: ResidualChain,
    gates: Sequence[float],
    images: Tensor,
    labels: Tensor,
    batch: int,
    *,
    skip: bool,
) -> Tensor:
    """`METRICS`, `[3]`, of the network's own modules with its branches multiplied by the gates."""
    total = torch.zeros(len(METRICS), dtype=torch.float64)
    for some, classes in zip(images.split(batch), labels.split(batch), strict=True):
        h = chain.stem(some)
        for block, gate in zip(chain.blocks, gates, strict=True):
            if skip or not block.residual:
                h = block.run(h, gate)
            else:
                h = block.after(block.shortcut(h) + gate * block.branch(h))
        total += metrics(chain.head(h).float(), classes).sum(1).cpu()
    return total / len(images)


def best_batch(chain: ResidualChain, images: Tensor, labels: Tensor) -> int:
    """The batch size at which the plain way is fastest, after a warm-up."""
    sizes = sorted({min(size, len(images)) for size in PLAIN_BATCHES})
    whole = [1.0] * len(chain)
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(3):
        for size in sizes:
            call = partial(gated_plain, chain, whole, images, labels, size, skip=False)
            times[size].append(timed(call, chain.device)[0])
    return min(sizes, key=lambda size: median(times[size]))


def _mean_over_orders(
    forward: estimators.Forward, blocks: int, permutations: int, seed: int
) -> Tensor:
    orders = [
        estimators.shapley(forward, blocks, seed=seed, permutation=number)
        for number in range(permutations)
    ]
    return torch.stack(orders).double().mean(0)
