"""Gradient by path length: the exact spectrum, and sampled paths, against the naive ways."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.benchmarks.clock import (
    Comparison,
    fastest,
    in_turn,
    peak_memory,
    ratio,
    size_said,
)
from resnet_probe.chain import ResidualChain
from resnet_probe.engine.memory import format_bytes
from resnet_probe.engine.precision import full_precision
from resnet_probe.errors import ProbeError
from resnet_probe.studies.paths import path_gradients
from resnet_probe.studies.paths.exact import Exact
from resnet_probe.studies.paths.passes import Passes
from resnet_probe.studies.paths.request import Request, request
from resnet_probe.studies.paths.sample import SampledPaths

ORDINARY_BATCHES = (8, 16, 32, 64, 128)
CHECKED = 8
EQUAL = 1e-3
"""Two ways in float32 may differ by this where a ReLU stands at zero."""
TOLERANCE = 1e-6
"""Of the whole gradient's norm: shorter sums are left out, where some may be."""
TELLABLE = 1e-30
"""Norms below this hold numbers that float32 has no full precision for."""


def benchmark(
    chain: ResidualChain,
    images: Tensor,
    labels: Tensor,
    *,
    samples: int,
    rounds: int,
    seed: int,
    memory: int,
    batch: int | None,
) -> Comparison:
    """Time five ways in turn, `rounds` times, on the same images `[n, …]`.

    One forward and backward pass at its best batch size; everything that the method `exact`
    collects, for all lengths, and with a tolerance of 1e-6; and the same sampled paths one by one
    and at once.  The naive ways run the network's own modules under autograd, gradients with
    respect to the images only, in the memory layout that PyTorch gives a model.  Raises
    `ProbeError` for less than one sample.
    """
    if samples < 1:
        raise ProbeError(f"samples={samples}: at least one path of each length is needed")
    plain = images.contiguous()
    asked = request(chain, method="every", samples=samples, images_per_path=len(images))
    passes = Passes.of(chain, images, labels, asked, batch=batch, memory=memory)
    died = replace(asked, tolerance=TOLERANCE)
    count, lengths = samples * (len(chain) + 1), len(chain) + 1
    with full_precision(chain.device):
        with peak_memory(chain.device) as peak:
            exact_spectrum(passes, asked)
        peak_bytes = peak()
        best = best_batch(chain, plain, labels)
        calls: dict[str, Callable[[], Any]] = {
            f"forward and backward, batch {best} (its best)": partial(
                ordinary, chain, plain, labels, best
            ),
            f"exact spectrum, {lengths} lengths, batch {passes.room.images}": partial(
                exact_spectrum, passes, asked
            ),
            f"the same, a tolerance of {TOLERANCE:g}": partial(exact_spectrum, passes, died),
            f"{count} sampled paths, one by one": partial(
                path_by_path, chain, plain, labels, asked
            ),
            f"{count} sampled paths, at once": partial(sampled_paths, passes, asked),
        }
        times, outputs = in_turn(calls, rounds, chain.device)
    once, exact, fewer, loop, sample = times.values()
    whole, _, left_out, alone, together = outputs.values()
    error, loop_error = _sum_error(chain, images, labels, whole, memory), _gap(together, alone)
    products = f"branch products alone: {lengths / 4:.2f}x"
    peak_said = f"{size_said(peak_bytes)} (budget {format_bytes(memory)})"
    remarks = [
        ratio("exact spectrum over one ordinary pass", exact, once, products),
        ratio("the same with the tolerance", fewer, once, f"{left_out:.1e} of the norm left out"),
        ratio("sampled at once against one by one", loop, sample),
        f"peak memory of the exact spectrum: {peak_said}",
        f"sum of all lengths against autograd: {error:.1e}",
        f"norms of sampled paths, both ways: {loop_error:.1e}",
    ]
    return Comparison(list(times.items()), remarks, max(error, loop_error) <= EQUAL)


@torch.no_grad()
def exact_spectrum(passes: Passes, asked: Request) -> float:
    """All that `exact` collects; returns what is left out, of the whole gradient's norm."""
    found = Exact(asked)
    for batch in passes.over(0, passes.count):
        found.take(found.measure(batch))
    return float(found.means["left_out"].mean) if "left_out" in found.means else 0.0


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
    call = partial(ordinary, chain, images, labels)
    return fastest(call, ORDINARY_BATCHES, len(images), chain.device, tries=2)


def _sum_error(
    chain: ResidualChain, images: Tensor, labels: Tensor, whole: Tensor, memory: int
) -> float:
    """How far the sum of all lengths is from autograd's gradient, relative, on a few images."""
    some, theirs = images[:CHECKED], whole[:CHECKED]
    found = path_gradients(chain, some, labels[:CHECKED], memory=memory).sum(0)
    return float((found - theirs).norm() / theirs.norm())


def _gap(found: Tensor, expected: Tensor) -> float:
    """The largest relative difference between the paths that autograd can tell from zero."""
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
