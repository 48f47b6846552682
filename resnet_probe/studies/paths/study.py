"""`paths`: which path lengths carry the gradient of a network."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import DEFAULT_MEMORY
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.sweep import Progress
from resnet_probe.results import Result
from resnet_probe.studies.lesion import check_data
from resnet_probe.studies.paths.collected import Collected
from resnet_probe.studies.paths.passes import Passes
from resnet_probe.studies.paths.request import Request, request
from resnet_probe.studies.paths.table import tabulate

STUDY = "paths"


def paths(
    chain: ResidualChain,
    images: Images,
    labels: Tensor,
    *,
    method: str = "every",
    signs: int = 16,
    samples: int = 1000,
    images_per_path: int = 4,
    max_length: int | None = None,
    at: str | int = "input",
    precision: str = "float32",
    seed: int = 0,
    batch: int | None = None,
    memory: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Result:
    """The gradient of each image's cross-entropy by path length, for `images` `[n, …]`.

    `method`: exact (the gradient of every length, Σ over its paths), all (the root mean square norm
    of all single paths, from `signs` random sign vectors an image), sample (the mean norm of
    `samples` random paths a length, each on `images_per_path` images, as published) or every.
    `max_length` leaves longer paths out; `at` is where the gradient is asked: input, stem (the
    stem's output) or a block number b (the input of block b: only blocks from b on count).
    The forward pass is the chain's own, frozen; `batch` and `memory` (bytes) as in `Sweep`; the
    result does not depend on either but for rounding.

    The table is in long form: `method`, `quantity` (see `table.py`), `block` (the gradient is the
    one at its input; 0 is the network's input), `name`, `stage`, `length`, how many paths have that
    length (`paths_log10`, `paths_share`), `value`, its 95 % interval, `images`, `draws`.

    Raises `ProbeError` for a plain network, options out of range, labels outside the classes,
    images of another shape than the chain's, a budget too small for one image, and anything not
    finite, named by block and length.
    """
    began = time.perf_counter()
    asked = request(
        chain, method=method, signs=signs, samples=samples, images_per_path=images_per_path,
        max_length=max_length, at=at, precision=precision, seed=seed,
    )  # fmt: skip
    check_data(chain, images, labels)
    with torch.no_grad(), full_precision(chain.device):
        passes = Passes.of(chain, images, labels, asked, batch=batch, memory=memory)
        found = _measure(passes, asked, _ticker(asked, len(images), progress))
    table = tabulate(chain, found, images=len(images))
    identity = {
        "study": STUDY, "arch": chain.name, "method": method, "signs": signs, "samples": samples,
        "images_per_path": images_per_path, "max_length": max_length, "at": asked.at,
        "precision": precision, "seed": seed, "images": len(images),
    }  # fmt: skip
    facts = {
        "blocks": asked.blocks,
        "longest": asked.most,
        "batch": passes.room.images,
        "seconds": time.perf_counter() - began,
    }
    return Result(STUDY, table, {"identity": identity, **facts, **_rounding(found)})


def _rounding(found: Collected) -> dict[str, float]:
    """How far the lengths, added up, are from the ordinary gradient: rounding, if all are there."""
    if found.exact is None or not found.exact.request.whole:
        return {}
    gap, bound = np.concatenate(found.exact.gap), np.concatenate(found.exact.bound)
    known = ~np.isnan(gap)
    if not known.any():
        return {}
    return {
        "sum_error_max": float(gap[known].max()),
        "sum_error_of_bound_max": float((gap[known] / bound[known]).max()),
    }


def _measure(passes: Passes, asked: Request, tick: Callable[[int], None]) -> Collected:
    """Exact and signed sums share their forward passes; sampled paths go group by group."""
    found = Collected.of(asked)
    if found.exact or found.signed:
        for batch in passes.over(0, passes.count):
            if found.exact:
                found.exact.add(batch)
                tick(len(batch))
            if found.signed:
                found.signed.add(batch, tick)
    if found.sampled:
        for group in found.sampled.groups(passes.count):
            for batch in passes.over(group.start, group.stop):
                for draw in group.draws:
                    found.sampled.add(batch, draw)
                    tick(len(batch))
    return found


def _ticker(asked: Request, images: int, progress: Progress | None) -> Callable[[int], None]:
    """Counts images through the recursion, once for each sum and each draw."""
    none = Collected.of(asked)
    total = images * ((none.exact is not None) + (none.signed.draws if none.signed else 0))
    groups = none.sampled.groups(images) if none.sampled else ()
    total += sum(len(group.draws) * (group.stop - group.start) for group in groups)
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return tick
