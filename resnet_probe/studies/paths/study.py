"""`paths`: which path lengths carry the gradient of a network."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial

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
from resnet_probe.studies.memo import Arrays, Memo, once
from resnet_probe.studies.paths.collected import Collected
from resnet_probe.studies.paths.passes import Batch, Passes
from resnet_probe.studies.paths.request import Request, request
from resnet_probe.studies.paths.sample import Group, SampledPaths
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
    journal: Memo | None = None,
    progress: Progress | None = None,
) -> Result:
    """The gradient of each image's cross-entropy by path length, for `images` `[n, …]`.

    `method`: exact (the gradient of every length, Σ over its paths), all (the root mean square norm
    of all single paths, from `signs` random sign vectors an image), sample (the mean norm of
    `samples` random paths a length, each on `images_per_path` images, as published) or every.
    `max_length` leaves longer paths out; `at` is where the gradient is asked: input, stem (the
    stem's output) or a block number b (the input of block b: only blocks from b on count).
    The forward pass is the chain's own, frozen; `batch` and `memory` (bytes) as in `Sweep`; the
    result does not depend on either but for rounding.  A `journal` keeps what is finished, batch by
    batch (exact, all) and group by group (sample): with it an interrupted study goes on.

    The table is in long form: `method`, `quantity` (see `table.py`), `block` (the gradient is the
    one at its input; 0 is the network's input), `name`, `stage`, `length`, how many paths have that
    length (`paths_log10`, `paths_share`), `value`, its 95 % interval over images and all that is
    drawn on them, `images`, `draws`; rows of a `group` are means without it (see `table.py`).

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
        found = _measure(passes, asked, journal, _ticker(asked, len(images), progress))
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
    """How far the lengths, added up, are from the gradient of plain autograd: by rounding.

    Where lengths are left out, how far the whole gradient is, which comes the same way back.
    """
    if found.exact is None:
        return {}
    gap, bound = np.concatenate(found.exact.gap), np.concatenate(found.exact.bound)
    known = ~np.isnan(gap)
    if not known.any():
        return {}
    if not found.exact.request.whole:
        return {"gradient_error_max": float(gap[known].max())}
    return {
        "sum_error_max": float(gap[known].max()),
        "sum_error_of_bound_max": float((gap[known] / bound[known]).max()),
    }


def _measure(
    passes: Passes, asked: Request, journal: Memo | None, tick: Callable[[int], None]
) -> Collected:
    """Exact and signed sums share their forward passes; sampled paths go group by group."""
    found = Collected.of(asked)
    if found.exact or found.signed:
        for start, stop in passes.ranges(0, passes.count):
            _add_sums(found, cache(partial(passes.at, start, stop)), start, stop, journal, tick)
    if found.sampled:
        for group in found.sampled.groups(passes.count):
            kept = once(
                journal, f"sample {group.start}-{group.stop}",
                partial(_draw, found.sampled, passes, group),
            )  # fmt: skip
            found.sampled.take(group, kept)
            tick(len(group.draws) * (group.stop - group.start))
    return found


def _add_sums(
    found: Collected,
    batch: Callable[[], Batch],
    start: int,
    stop: int,
    journal: Memo | None,
    tick: Callable[[int], None],
) -> None:
    """Exact and signed sums of the images `start` to `stop`."""
    if exact := found.exact:
        exact.take(once(journal, f"exact {start}-{stop}", lambda: exact.measure(batch())))
        tick(stop - start)
    if signed := found.signed:
        signed.take(start, once(journal, f"all {start}-{stop}", lambda: signed.measure(batch())))
        tick(signed.draws * (stop - start))


def _draw(sampled: SampledPaths, passes: Passes, group: Group) -> Arrays:
    for batch in passes.over(group.start, group.stop):
        for draw in group.draws:
            sampled.add(batch, draw)
    return sampled.found(group)


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
