"""Gradient by path length: the exact spectrum, and sampled paths, against the naive ways."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.benchmarks.clock import peak_memory, timed
from resnet_probe.chain import ResidualChain
from resnet_probe.engine.precision import full_precision
from resnet_probe.studies.paths import path_gradients
from resnet_probe.studies.paths.exact import Exact
from resnet_probe.studies.paths.passes import Passes
from resnet_probe.studies.paths.request import Request, request
from resnet_probe.studies.paths.sample import SampledPaths

ORDINARY_BATCHES = (8, 16, 32, 64, 128)
CHECKED = 8
TELLABLE = 1e-30
"""Norms below this hold numbers that float32 has no full precision for."""


@dataclass(frozen=True)
class PathsBenchmark:
    """Seconds are medians over the rounds.

    `ordinary` is one forward and backward pass over all images, at its best batch size; `exact`
    everything that the method of that name collects, for all lengths; `loop` and `sample` the same
    sampled paths, `paths` of them on `group` images.  `error` is that of the lengths' sum against
    autograd, relative; `loop_error` the largest relative difference between a path's mean norms, of
    those that autograd can tell from zero in float32.
    """

    ordinary: float
    ordinary_batch: int
    exact: float
    exact_batch: int
    lengths: int
    products: float
    loop: float
    sample: float
    paths: int
    group: int
    peak_bytes: int | None
    error: float
    loop_error: float


def benchmark(
    chain: ResidualChain,
    images: Tensor,
    labels: Tensor,
    *,
    samples: int,
    rounds: int,
    memory: int,
    batch: int | None,
) -> PathsBenchmark:
    """Time the four in turn, `rounds` times, on the same images `[n, …]`.

    The naive ways run the network's own modules under autograd, gradients with respect to the
    images only, in the memory layout that PyTorch gives a model.
    """
    plain_images = images.contiguous()
    asked = request(chain, method="every", samples=samples, images_per_path=len(images))
    passes = Passes.of(chain, images, labels, asked, batch=batch, memory=memory)
    with full_precision(chain.device):
        with peak_memory(chain.device) as peak:
            exact_spectrum(passes, asked)
        peak_bytes = peak()
        best = best_batch(chain, plain_images, labels)
        calls: dict[str, Callable[[], Any]] = {
            "ordinary": partial(ordinary, chain, plain_images, labels, best),
            "exact": partial(exact_spectrum, passes, asked),
            "sample": partial(sampled_paths, passes, asked),
            "loop": partial(path_by_path, chain, plain_images, labels, asked),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        outputs: dict[str, Any] = {}
        for _ in range(rounds):
            for name, call in calls.items():
                took, outputs[name] = timed(call, chain.device)
                times[name].append(took)
    some, theirs = images[:CHECKED], outputs["ordinary"][:CHECKED]
    whole = path_gradients(chain, some, labels[:CHECKED], memory=memory).sum(0)
    blocks = len(chain)
    return PathsBenchmark(
        **{name: median(taken) for name, taken in times.items()},
        ordinary_batch=best,
        exact_batch=passes.room.images,
        lengths=blocks + 1,
        products=(blocks + 1) / 2,
        paths=samples * (blocks + 1),
        group=len(images),
        peak_bytes=peak_bytes,
        error=float((whole - theirs).norm() / theirs.norm()),
        loop_error=_difference(outputs["sample"], outputs["loop"]),
    )


@torch.no_grad()
def exact_spectrum(passes: Passes, asked: Request) -> None:
    """All that `exact` collects."""
    found = Exact(asked)
    for batch in passes.over(0, passes.count):
        found.take(found.measure(batch))


@torch.no_grad()
def sampled_paths(passes: Passes, asked: Request) -> Tensor:
    """Mean norms over the images, `[draws, lengths]`, by the study's own way."""
    found = SampledPaths(asked)
    for batch in passes.over(0, passes.count):
        for draw in range(asked.samples):
            found.add(batch, draw)
    return torch.from_numpy(found.sums / found.images)


def ordinary(chain: ResidualChain, images: Tensor, labels: Tensor, batch: int) -> Tensor:
    """The whole gradient of each image's loss `[n, …]`, batch by batch."""
    parts = zip(images.split(batch), labels.split(batch), strict=True)
    return torch.cat([_gradient(chain, part, named, None) for part, named in parts])


def path_by_path(chain: ResidualChain, images: Tensor, labels: Tensor, asked: Request) -> Tensor:
    """Mean norms `[draws, lengths]` of the same paths: a forward and a gated backward pass each."""
    draws, found = SampledPaths(asked), []
    for draw in range(asked.samples):
        order = draws.order(draw)
        norms = []
        for length in range(len(chain) + 1):
            gradient = _gradient(chain, images, labels, set(order[:length]))
            norms.append(gradient.flatten(1).double().norm(dim=1).mean())
        found.append(torch.stack(norms))
    return torch.stack(found).cpu()


def best_batch(chain: ResidualChain, images: Tensor, labels: Tensor) -> int:
    """The batch size at which the ordinary pass is fastest, after a warm-up."""
    sizes = sorted({min(size, len(images)) for size in ORDINARY_BATCHES})
    times: dict[int, float] = {}
    for _ in range(2):
        for size in sizes:
            call = partial(ordinary, chain, images, labels, size)
            times[size] = min(times.get(size, float("inf")), timed(call, chain.device)[0])
    return min(sizes, key=times.__getitem__)


def _difference(found: Tensor, expected: Tensor) -> float:
    known = expected > TELLABLE
    return float((found[known] / expected[known] - 1).abs().max())


def _gradient(
    chain: ResidualChain, images: Tensor, labels: Tensor, path: Collection[int] | None
) -> Tensor:
    """The gradient along one path, a set of positions from 0, or along all of them for None."""
    x = images.detach().requires_grad_()
    h = chain.stem(x)
    for position, block in enumerate(chain.blocks):
        taken = path is not None and position in path
        with torch.set_grad_enabled(not taken):
            short = block.shortcut(h.detach() if taken else h)
        with torch.set_grad_enabled(path is None or taken):
            branch = block.branch(h if path is None or taken else h.detach())
        h = block.after(short + branch)
    loss = F.cross_entropy(chain.head(h), labels.to(x.device), reduction="sum")
    return torch.autograd.grad(loss, x)[0]
