"""All single deletions: the plain loop, the engine, and the engine's convolutions alone.

And of images in files, how long the engine waits for them; and how several processes compare.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnet_probe.benchmarks.clock import (
    Comparison,
    in_turn,
    peak_memory,
    ratio,
    size_said,
)
from resnet_probe.benchmarks.lists import of_edits
from resnet_probe.benchmarks.loops import (
    best_batch,
    count_near_ties,
    predict_engine,
    predict_plain,
)
from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.images import Images, ImageStream
from resnet_probe.engine.sweep import PrefixTree, Sweep, plain_runs
from resnet_probe.errors import ProbeError
from resnet_probe.studies.lesion import lesion
from resnet_probe.studies.plan import plan

PUBLISHED_BATCH = 128
READING = "engine, images read from files"


def benchmark(
    chain: ResidualChain,
    images: Images,
    labels: Tensor,
    *,
    rounds: int,
    seed: int,
    memory: int,
    batch: int | None,
    edit: str = "delete",
    precision: float | None = None,
    processes: int | None = None,
) -> Comparison:
    """Time the three in turn, `rounds` times, on the same images `[n, …]`.

    The plain loop runs the network's own modules, edit after edit and batch after batch, as one
    would write it by hand: at the batch size that is best for it, and at 128.  Images that are read
    from files are held for that, and the engine is timed reading them, too.  With `precision`
    (points) the full study is held against one that stops each edit when it is decided; with
    `processes` the engine in one against that many, each of one thread and with a part of the
    images; with another `edit` than delete both ways make those edits (`lists.WHAT`).
    """
    if edit != "delete":
        if precision is not None or processes is not None:
            raise ProbeError(f"precision= and processes= are of deletions: leave out edit={edit}")
        sweep = Sweep(chain, memory=memory, batch=batch)
        held = images.to(chain.device).contiguous()
        return of_edits(sweep, held, labels, edit, rounds=rounds)
    if precision is not None and processes is not None:
        raise ProbeError("precision= and processes= are two benchmarks: give one of them")
    if precision is not None:
        run = partial(ran, chain, images, labels, seed=seed, memory=memory, batch=batch)
        return against_precision(run, precision, rounds=rounds, device=chain.device)
    stream = images if isinstance(images, ImageStream) else None
    edits = plan(chain)
    images = images.to(chain.device).contiguous()
    sweep = Sweep(chain, memory=memory, batch=batch)
    if processes is not None:
        return against_processes(sweep, edits, images, processes, rounds=rounds)
    tree = PrefixTree.of(edits, chain)
    with peak_memory(chain.device) as peak:
        fast = predict_engine(sweep, edits, images)
    peak_bytes = peak()
    best = best_batch(chain, edits, images)
    calls: dict[str, Callable[[], Any]] = {
        f"plain loop, batch {best} (its best)": partial(predict_plain, chain, edits, images, best),
        "plain loop, batch 128": partial(predict_plain, chain, edits, images, PUBLISHED_BATCH),
        f"engine, batch {sweep.batch_for(tree, images)}": partial(
            predict_engine, sweep, edits, images
        ),
        "its convolutions alone": bare_convolutions(sweep, edits, images),
    }
    if stream is not None:
        calls[READING] = partial(predict_reading, sweep, edits, stream)
    times, outputs = in_turn(calls, rounds, chain.device)
    (plain_best, plain_128, engine, bare), plain = (
        list(times.values())[:4],
        next(iter(outputs.values())),
    )
    differing, ties = int((plain.argmax(-1) != fast.argmax(-1)).sum()), count_near_ties(fast)
    naive = plain_runs(edits, chain)
    remarks = [
        ratio("engine against the plain loop at its best", plain_best, engine),
        ratio("engine against the plain loop at 128", plain_128, engine),
        ratio("engine over its bare convolutions", engine, bare),
        f"branches run: {naive} plain, {tree.branch_runs} engine",
        f"peak memory of the engine: {size_said(peak_bytes)}",
        f"predictions that differ: {differing} (near-ties: {ties})",
    ]
    if stream is not None:
        read, waited = outputs[READING]
        remarks.append(
            f"of its time with images from files it waits for them: {100 * waited:.1f} %"
        )
        differing = max(differing, int((read.argmax(-1) != fast.argmax(-1)).sum()))
    return Comparison(list(times.items()), remarks, differing <= ties, "every single deletion")


def predict_reading(
    sweep: Sweep, edits: Sequence[Edit], stream: ImageStream
) -> tuple[Tensor, float]:
    """Logits from the engine, and the share of its time in which it waits for images.

    They are read and decoded by other processes meanwhile, where there are enough of them.
    """
    waited = 0.0

    def read(start: int, stop: int) -> Tensor:
        nonlocal waited
        began = time.perf_counter()
        found = stream[start:stop].to()
        waited += time.perf_counter() - began
        return found

    began = time.perf_counter()
    timed = ImageStream(read, range(len(stream)), stream.shape[1:], device=stream.device)
    found = predict_engine(sweep, edits, timed)
    return found, waited / (time.perf_counter() - began)


def against_processes(
    sweep: Sweep, edits: Sequence[Edit], images: Tensor, processes: int, *, rounds: int
) -> Comparison:
    """The engine in this process, with all its threads, against several of one thread.

    Each has a part of the images, and is forked anew each time: its start is counted.  Raises
    `ProbeError` for fewer than one process or more than images, and off a CPU.
    """
    device = sweep.chain.device
    if not 1 <= processes <= len(images):
        raise ProbeError(f"processes={processes}: 1 to {len(images)} have images to work on")
    if device.type != "cpu" or not hasattr(os, "fork"):
        raise ProbeError(f"processes= compares processes on a CPU that can fork, not {device}")
    threads = torch.get_num_threads()
    calls: dict[str, Callable[[], Any]] = {
        f"one process of {threads} threads": partial(predict_engine, sweep, edits, images),
        f"{processes} of one thread each": partial(in_processes, sweep, edits, images, processes),
    }
    times, outputs = in_turn(calls, rounds, device)
    (alone, together), (one, several) = times.values(), outputs.values()
    differing, ties = int((one.argmax(-1) != several.argmax(-1)).sum()), count_near_ties(one)
    remarks = [
        ratio("the processes against one", alone, together),
        f"predictions that differ: {differing} (near-ties: {ties})",
    ]
    return Comparison(list(times.items()), remarks, differing <= ties, "every single deletion")


def in_processes(sweep: Sweep, edits: Sequence[Edit], images: Tensor, processes: int) -> Tensor:
    """Logits `[edits, n, classes]` from forked processes, a part of the images each."""
    found = torch.empty(len(edits), len(images), sweep.chain.classes).share_memory_()
    bounds = [len(images) * place // processes for place in range(processes + 1)]

    def part(start: int, stop: int) -> None:
        torch.set_num_threads(1)
        found[:, start:stop] = predict_engine(sweep, edits, images[start:stop])

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=part, args=ends) for ends in pairwise(bounds)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        raise ProbeError("a process of the benchmark has failed: its message stands above")
    return found


@dataclass(frozen=True)
class Ran:
    """One way to run the same edits: branches run, over all images, and `right` `[edits, images]`.

    `right` is 1 where the answer was right, 0 where it was wrong, and −1 where the edit was decided
    before that image was run.
    """

    branch_runs: int
    right: np.ndarray


def ran(
    chain: ResidualChain, images: Images, labels: Tensor, precision: float | None, **options: Any
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
