"""Shapley values of the blocks: captum driving the plain model, and driving the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from resnet_probe.benchmarks.clock import (
    Comparison,
    fastest,
    in_turn,
    peak_memory,
    ratio,
    size_said,
)
from resnet_probe.benchmarks.loops import PLAIN_BATCHES
from resnet_probe.chain import ResidualChain
from resnet_probe.engine.sweep import PrefixTree, Sweep
from resnet_probe.errors import ProbeError
from resnet_probe.studies.attribution import estimators
from resnet_probe.studies.attribution.gates import METRICS, gated, gated_metrics, metrics

EQUAL = 1e-3
"""Folded batch norm moves the values by rounding; more than this is another result."""


def benchmark(
    chain: ResidualChain,
    images: Tensor,
    labels: Tensor,
    *,
    permutations: int,
    rounds: int,
    seed: int,
    memory: int,
    batch: int | None,
) -> Comparison:
    """Time three ways in turn, `rounds` times, on the same images `[n, …]`, orders and estimator.

    captum calls the network once for each perturbation, every branch multiplied by its gate; the
    same without the branches whose gate is 0; both at the batch size that is best for the first;
    and captum asks the engine.  Raises `ProbeError` for less than one order.
    """
    if permutations < 1:
        raise ProbeError(f"permutations={permutations}: at least one order is needed")
    images, labels = images.contiguous(), labels.to(chain.device)
    sweep = Sweep(chain, memory=memory, batch=batch)
    engine = partial(shapley_engine, sweep, images, labels, permutations, seed)
    with peak_memory(chain.device) as peak:
        engine()
    peak_bytes = peak()
    best = best_batch(chain, images, labels)
    plain = partial(shapley_plain, chain, images, labels, permutations, seed, best)
    calls: dict[str, Callable[[], Tensor]] = {
        f"captum, plain model, batch {best} (its best)": partial(plain, skip=False),
        "captum, plain model, shut branches skipped": partial(plain, skip=True),
        "captum, engine": engine,
    }
    times, values = in_turn(calls, rounds, chain.device)
    (slow, skipping, fast), (theirs, _, ours) = times.values(), values.values()
    apart = (theirs - ours).abs().amax(1)
    gap = float((apart[1:] / ours[1:].abs().amax(1)).max())
    tree = PrefixTree.of([gated(gates) for gates in asked(len(chain), permutations, seed)], chain)
    naive = permutations * (len(chain) + 1) * len(chain)
    remarks = [
        ratio("engine against the plain model", slow, fast),
        ratio("engine against it, shut branches skipped", skipping, fast),
        f"branches run: {naive} plain, {tree.branch_runs} engine",
        f"peak memory of the engine: {size_said(peak_bytes)}",
        f"largest difference of a Shapley value: accuracy {apart[0]:.2g} points, loss and margin "
        f"{gap:.1e} of the largest",
    ]
    what = f"{permutations} random orders"
    return Comparison(list(times.items()), remarks, gap <= EQUAL, what)


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
    whole = [1.0] * len(chain)

    def call(size: int) -> Tensor:
        return gated_plain(chain, whole, images, labels, size, skip=False)

    return fastest(call, PLAIN_BATCHES, len(images), chain.device, tries=3)


def _mean_over_orders(
    forward: estimators.Forward, blocks: int, permutations: int, seed: int
) -> Tensor:
    orders = [
        estimators.shapley(forward, blocks, seed=seed, permutation=number)
        for number in range(permutations)
    ]
    return torch.stack(orders).double().mean(0)
