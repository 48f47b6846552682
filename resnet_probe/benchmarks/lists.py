"""Lists of edits that papers make, and a choice block by block: the plain loop and the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from resnet_probe.benchmarks.clock import Comparison, in_turn, peak_memory, ratio, size_said
from resnet_probe.benchmarks.loops import (
    best_batch,
    count_near_ties,
    predict_engine,
    predict_plain,
)
from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.sweep import PrefixTree, Sweep, plain_runs
from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.studies import gates
from resnet_probe.studies.greedy import GreedySettings, choose
from resnet_probe.studies.plan import plan
from resnet_probe.studies.study import Resources, Run, Subject
from resnet_probe.studies.sweeps import SWEEPS

GREEDY = "greedy"
WHAT = {
    "ranges": "every range of consecutive blocks deleted",
    "gates": "every block at every gate",
    GREEDY: "the block that costs least, again and again",
}


def _ranges(chain: ResidualChain) -> list[Edit]:
    return [Edit(), *(edit for _, edit in SWEEPS["ranges"](chain, None))]


LISTS: dict[str, Callable[[ResidualChain], list[Edit]]] = {
    "ranges": _ranges,
    "gates": partial(gates.edits_of, settings=gates.GateSettings()),
}
"""By name, edits that are all known before."""


def of_edits(sweep: Sweep, images: Tensor, labels: Tensor, edit: str, *, rounds: int) -> Comparison:
    """Both ways in turn, the plain loop at the batch size that is best for it.

    Raises `ProbeError` for a name that there is not.
    """
    if edit == GREEDY:
        return of_greedy(sweep, images, labels, rounds=rounds)
    if edit not in LISTS:
        known = ["delete", *WHAT]
        there = ", ".join(known) + did_you_mean(edit, known)
        raise ProbeError(f"there is no benchmark of edit={edit!r}: there are {there}")
    return of_list(sweep, LISTS[edit](sweep.original), images, WHAT[edit], rounds=rounds)


def of_list(
    sweep: Sweep, edits: Sequence[Edit], images: Tensor, what: str, *, rounds: int
) -> Comparison:
    """The edits of a list."""
    chain, device = sweep.original, sweep.original.device
    tree = PrefixTree.of(edits, chain)
    with peak_memory(device) as peak:
        predict_engine(sweep, edits, images)
    peak_bytes = peak()
    best = best_batch(chain, edits, images)
    times, outputs = in_turn(
        {
            f"plain loop, batch {best} (its best)": partial(
                predict_plain, chain, edits, images, best
            ),
            f"engine, batch {sweep.batch_for(tree, images)}": partial(
                predict_engine, sweep, edits, images
            ),
        },
        rounds,
        device,
    )
    (slow, fast), (plain, engine) = times.values(), outputs.values()
    differing, ties = int((plain.argmax(-1) != engine.argmax(-1)).sum()), count_near_ties(engine)
    remarks = [
        ratio("engine against the plain loop at its best", slow, fast),
        f"branches run: {plain_runs(edits, chain):,} plain, {tree.branch_runs:,} engine",
        f"peak memory of the engine: {size_said(peak_bytes)}",
        f"predictions that differ: {differing} (near-ties: {ties})",
    ]
    return Comparison(list(times.items()), remarks, differing <= ties, what)


def of_greedy(sweep: Sweep, images: Tensor, labels: Tensor, *, rounds: int) -> Comparison:
    """The choice of the block that costs least, again and again, until none is left."""
    chain = sweep.original
    run = Run(Resources(memory=sweep.memory, batch=sweep.batch))
    best = best_batch(chain, plan(chain), images)
    plain, engine = f"plain loop, batch {best} (its best)", "engine"
    times, found = in_turn(
        {
            plain: partial(choose_plain, chain, images, labels, best),
            engine: partial(choose, sweep, Subject(chain, images, labels), GreedySettings(), run),
        },
        rounds,
        chain.device,
    )
    (order, losses, runs), fast = found[plain], found[engine]
    other = sum(one != own for one, own in zip(order, fast.gone, strict=True))
    remarks = [
        ratio("engine against the plain loop at its best", times[plain], times[engine]),
        f"branches run: {runs:,} plain, {fast.branch_runs // len(images):,} engine",
        f"edits tried: {fast.candidates:,}",
        f"rounds in which another block goes: {other} of {len(order)}",
    ]
    equal = np.allclose(losses, fast.loss, rtol=1e-3)
    return Comparison(list(times.items()), remarks, equal, WHAT[GREEDY])


@torch.inference_mode()
def choose_plain(
    chain: ResidualChain, images: Tensor, labels: Tensor, batch: int
) -> tuple[list[int], list[float], int]:
    """The same order from the plain loop, the loss before and behind each round, branches run."""
    left, truth = [block.number for block in chain.blocks], labels.to(chain.device)
    gone: list[int] = []

    def loss(edit: Edit) -> float:
        logits = torch.cat([chain.run(part, edit) for part in images.split(batch)])
        return float(functional.cross_entropy(logits.double(), truth))

    losses, runs = [loss(Edit())], len(left)
    while left:
        edits = [Edit.delete(*gone, number) for number in left]
        found = [loss(edit) for edit in edits]
        losses.append(min(found))
        runs += plain_runs(edits, chain)
        gone.append(left.pop(found.index(min(found))))
    return gone, losses, runs
