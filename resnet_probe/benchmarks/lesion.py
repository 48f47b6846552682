"""All single deletions: the plain loop, the engine, and the engine's convolutions alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe.benchmarks.clock import peak_memory, timed
from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.sweep import PrefixTree, Sweep
from resnet_probe.studies.outcomes import NEAR_TIE
from resnet_probe.studies.plan import plan

PLAIN_BATCHES = (16, 32, 64, 128, 256)
PUBLISHED_BATCH = 128
TRIAL_EDITS = 3


@dataclass(frozen=True)
class LesionBenchmark:
    """Seconds are medians over the rounds; branch runs are per image."""

    plain_best: float
    best_batch: int
    plain_128: float
    engine: float
    engine_batch: int
    convolutions: float
    branch_runs_plain: int
    branch_runs_engine: int
    peak_bytes: int | None
    differing: int
    near_ties: int


def benchmark(
    chain: ResidualChain, images: Tensor, *, rounds: int, memory: int, batch: int | None
) -> LesionBenchmark:
    """Time the three in turn, `rounds` times, on the same images `[n, …]`.

    The plain loop runs the network's own modules, edit after edit and batch after batch, as one
    would write it by hand: at the batch size that is best for it, and at 128.
    """
    edits = plan(chain)
    images = images.contiguous()
    sweep = Sweep(chain, memory=memory, batch=batch)
    tree = PrefixTree.of(edits)
    with peak_memory(chain.device) as peak:
        fast = predict_engine(sweep, edits, images)
    peak_bytes = peak()
    best = best_batch(chain, edits, images)
    calls: dict[str, Callable[[], Any]] = {
        "engine": partial(predict_engine, sweep, edits, images),
        "bare": bare_convolutions(sweep, edits, images),
        "best": partial(predict_plain, chain, edits, images, best),
    }
    if best != PUBLISHED_BATCH:
        calls["128"] = partial(predict_plain, chain, edits, images, PUBLISHED_BATCH)
    times: dict[str, list[float]] = {name: [] for name in calls}
    plain = torch.empty(0)
    for _ in range(rounds):
        for name, call in calls.items():
            took, output = timed(call, chain.device)
            times[name].append(took)
            plain = output if name == "best" else plain
    return LesionBenchmark(
        plain_best=median(times["best"]),
        best_batch=best,
        plain_128=median(times["128"] if "128" in times else times["best"]),
        engine=median(times["engine"]),
        engine_batch=sweep.batch_for(tree, images),
        convolutions=median(times["bare"]),
        branch_runs_plain=sum(gate != 0 for edit in edits for _, gate in edit.steps),
        branch_runs_engine=tree.branch_runs,
        peak_bytes=peak_bytes,
        differing=int((plain.argmax(-1) != fast.argmax(-1)).sum()),
        near_ties=count_near_ties(fast),
    )


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
    rows = [
        torch.cat([chain.run(part, edit.steps) for part in images.split(batch)]) for edit in edits
    ]
    return torch.stack(rows).cpu()


def best_batch(chain: ResidualChain, edits: Sequence[Edit], images: Tensor) -> int:
    """The batch size at which the plain loop is fastest, tried on a few edits after a warm-up."""
    sizes = sorted({min(size, len(images)) for size in PLAIN_BATCHES})
    some = edits[:TRIAL_EDITS]
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(2):
        for size in sizes:
            call = partial(predict_plain, chain, some, images, size)
            times[size].append(timed(call, chain.device)[0])
    return min(sizes, key=lambda size: min(times[size]))


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
