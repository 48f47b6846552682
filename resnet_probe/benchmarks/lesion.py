"""Many edits of one network: the plain loop against the engine, at equal outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_probe.benchmarks.clock import (
    Comparison,
    fastest,
    in_turn,
    peak_memory,
    ratio,
    size_said,
)
from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.edits.variants import branch_runs
from resnet_probe.engine.sweep import PrefixTree, Sweep
from resnet_probe.errors import ProbeError
from resnet_probe.studies import gates
from resnet_probe.studies.greedy import GreedySettings, choose
from resnet_probe.studies.lesion import lesion
from resnet_probe.studies.outcomes import NEAR_TIE
from resnet_probe.studies.plan import plan
from resnet_probe.studies.study import Resources, Run
from resnet_probe.studies.sweeps import SWEEPS

PLAIN_BATCHES = (16, 32, 64, 128, 256)
PUBLISHED_BATCH = 128
TRIAL_EDITS = 3
WHAT = {
    "delete": "every single deletion",
    "ranges": "every range of consecutive blocks deleted",
    "gates": "every block at every gate",
    "greedy": "the block that costs least, again and again",
}


def _ranges(chain: ResidualChain) -> list[Edit]:
    return [Edit(), *(edit for _, edit in SWEEPS["ranges"](chain, None))]


EDITS: dict[str, Callable[[ResidualChain], list[Edit]]] = {
    "delete": plan,
    "ranges": _ranges,
    "gates": partial(gates.edits_of, settings=gates.GateSettings()),
    "greedy": plan,
}
"""By name, the edits that are known before; of greedy those of its first round."""


def benchmark(
    chain: ResidualChain,
    images: Tensor,
    labels: Tensor,
    *,
    rounds: int,
    seed: int,
    memory: int,
    batch: int | None,
    edit: str = "delete",
    precision: float | None = None,
) -> Comparison:
    """Time both ways in turn, `rounds` times, on the same images `[n, …]`.

    The plain loop runs the network's own modules, edit after edit and batch after batch, as one
    would write it by hand, at the batch size that is best for it.  With `precision` (points) the
    full study of single deletions is held against one that stops each edit when it is decided.
    """
    if precision is not None:
        if edit != "delete":
            raise ProbeError(f"precision= is of single deletions: leave out edit={edit}")
        run = partial(ran, chain, images, labels, seed=seed, memory=memory, batch=batch)
        return against_precision(run, precision, rounds=rounds, device=chain.device)
    if edit not in EDITS:
        raise ProbeError(f"there is no benchmark of edit={edit!r}: there are {', '.join(EDITS)}")
    sweep = Sweep(chain, memory=memory, batch=batch)
    if edit == "greedy":
        return of_greedy(sweep, images.contiguous(), labels, rounds=rounds)
    return of_list(sweep, EDITS[edit](chain), images.contiguous(), edit, rounds=rounds)


def of_list(
    sweep: Sweep, edits: Sequence[Edit], images: Tensor, edit: str, *, rounds: int
) -> Comparison:
    """The edits of a list, all known before; of single deletions also at a batch of 128, as they
    were published, and beside the engine's convolutions alone."""
    chain, device = sweep.original, sweep.original.device
    tree = PrefixTree.of(edits, chain)
    with peak_memory(device) as peak:
        fast = predict_engine(sweep, edits, images)
    peak_bytes = peak()
    best = best_batch(chain, edits, images)
    plain, engine, bare = f"plain loop, batch {best} (its best)", "engine", "its convolutions alone"
    engine += f", batch {sweep.batch_for(tree, images)}"
    published = f"plain loop, batch {PUBLISHED_BATCH}"
    calls: dict[str, Callable[[], Any]] = {
        plain: partial(predict_plain, chain, edits, images, best),
        published: partial(predict_plain, chain, edits, images, PUBLISHED_BATCH),
        engine: partial(predict_engine, sweep, edits, images),
        bare: bare_convolutions(sweep, edits, images),
    }
    if edit != "delete":
        del calls[published], calls[bare]
    times, outputs = in_turn(calls, rounds, device)
    differing = int((outputs[plain].argmax(-1) != fast.argmax(-1)).sum())
    ties = count_near_ties(fast)
    remarks = [ratio("engine against the plain loop at its best", times[plain], times[engine])]
    if edit == "delete":
        remarks += [
            ratio("engine against the plain loop at 128", times[published], times[engine]),
            ratio("engine over its bare convolutions", times[engine], times[bare]),
        ]
    remarks += [
        f"branches run: {plain_runs(edits, chain):,} plain, {tree.branch_runs:,} engine",
        f"peak memory of the engine: {size_said(peak_bytes)}",
        f"predictions that differ: {differing} (near-ties: {ties})",
    ]
    return Comparison(list(times.items()), remarks, differing <= ties, f"{WHAT[edit]}")


def of_greedy(sweep: Sweep, images: Tensor, labels: Tensor, *, rounds: int) -> Comparison:
    """The choice of the block that costs least, again and again, until none is left."""
    chain = sweep.original
    run = Run(Resources(memory=sweep.memory, batch=sweep.batch))
    best = best_batch(chain, plan(chain), images)
    plain, engine = f"plain loop, batch {best} (its best)", "engine"
    times, found = in_turn(
        {
            plain: partial(choose_plain, chain, images, labels, best),
            engine: partial(choose, sweep, images, labels, GreedySettings(), run),
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
    return Comparison(list(times.items()), remarks, equal, WHAT["greedy"])


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


def plain_runs(edits: Sequence[Edit], chain: ResidualChain) -> int:
    """How many branches a loop runs that begins each edit at the first block."""
    return sum(branch_runs(step) for edit in edits for step in edit.steps(chain))


@dataclass(frozen=True)
class Ran:
    """One way to run the same edits: branches run, over all images, and `right` `[edits, images]`.

    `right` is 1 where the answer was right, 0 where it was wrong, and −1 where the edit was decided
    before that image was run.
    """

    branch_runs: int
    right: np.ndarray


def ran(
    chain: ResidualChain, images: Tensor, labels: Tensor, precision: float | None, **options: Any
) -> Ran:
    """Every single deletion as `lesion` runs it, on all images or until it is decided."""
    found = lesion(chain, images, labels, precision=precision, **options)
    kept, count = found.outcomes, len(images)
    answer, order = kept["answer"].astype(int), kept.get("order", np.arange(count))
    right = np.empty(answer.shape, dtype=np.int8)
    right[:, order] = np.where(answer < 0, -1, answer == kept["labels"])
    every = PrefixTree.of(plan(chain), chain).branch_runs * count
    return Ran(int(found.provenance.get("branch_runs", every)), right)


def against_precision(
    run: Callable[[float | None], Ran], precision: float, *, rounds: int, device: torch.device
) -> Comparison:
    """The full sweep against one that stops an edit as soon as it is decided.

    `run(None)` runs every edit on every image, `run(precision)` each until its difference from the
    whole network is known to ± `precision` points.  Equal: wherever both ran, both give the same
    answer.
    """
    times, ran = in_turn(
        {
            "every edit on every image": partial(run, None),
            f"until known to ± {precision:g} points": partial(run, precision),
        },
        rounds,
        device,
    )
    (whole, early), (slow, fast) = ran.values(), times.values()
    both = (whole.right >= 0) & (early.right >= 0)
    differing = int((whole.right != early.right)[both].sum())
    used = (early.right >= 0).sum(axis=1)
    remarks = [
        ratio("time", slow, fast),
        ratio("branch runs", whole.branch_runs, early.branch_runs,
              f"{whole.branch_runs:,} to {early.branch_runs:,}"),
        f"images used per edit: median {np.median(used):,.0f}, {used.min():,}–{used.max():,} of "
        f"{early.right.shape[1]:,}",
        f"answers that differ where both ran: {differing}",
    ]  # fmt: skip
    what = f"every single deletion to ± {precision:g} points"
    return Comparison(list(times.items()), remarks, differing == 0, what)


def predict_engine(sweep: Sweep, edits: Sequence[Edit], images: Tensor) -> Tensor:
    """Logits `[edits, n, classes]` from the engine."""
    found = torch.empty(len(edits), len(images), sweep.chain.classes)
    for piece in sweep.run(edits, images):
        found[list(piece.edits), piece.start : piece.stop] = piece.logits.cpu()
    return found


@torch.inference_mode()
def predict_plain(
    chain: ResidualChain, edits: Sequence[Edit], images: Tensor, batch: int
) -> Tensor:
    """The same from the plain loop."""
    rows = [torch.cat([chain.run(part, edit) for part in images.split(batch)]) for edit in edits]
    return torch.stack(rows).cpu()


def best_batch(chain: ResidualChain, edits: Sequence[Edit], images: Tensor) -> int:
    """The batch size at which the plain loop is fastest, tried on a few edits after a warm-up."""
    some = edits[:TRIAL_EDITS]
    call = partial(predict_plain, chain, some, images)
    return fastest(call, PLAIN_BATCHES, len(images), chain.device, tries=2)


@torch.inference_mode()
def bare_convolutions(sweep: Sweep, edits: Sequence[Edit], images: Tensor) -> Callable[[], None]:
    """A call that makes every convolution of the engine's run, at its shapes, and nothing else."""
    calls: list[tuple[nn.Module, tuple[int, ...]]] = []
    handles = [
        module.register_forward_pre_hook(lambda m, args: calls.append((m, tuple(args[0].shape))))
        for part in sweep.chain.modules
        for module in part.modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        predict_engine(sweep, edits, images)
    finally:
        for handle in handles:
            handle.remove()
    device = sweep.chain.device
    generator = torch.Generator(device).manual_seed(0)
    inputs = {
        shape: torch.randn(shape, device=device, generator=generator).contiguous(
            memory_format=torch.channels_last
        )
        for _, shape in calls
    }

    def convolve() -> None:
        with torch.inference_mode():
            for module, shape in calls:
                module(inputs[shape])

    return convolve


def count_near_ties(logits: Tensor) -> int:
    best = logits.topk(2, dim=-1).values
    return int((best[..., 0] - best[..., 1] < NEAR_TIE).sum())
