"""`paths`: which path lengths carry the gradient of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.sweep import Progress
from resnet_probe.studies.paths.collected import Collected
from resnet_probe.studies.paths.passes import Passes
from resnet_probe.studies.paths.request import Request, request
from resnet_probe.studies.paths.table import tabulate
from resnet_probe.studies.study import Measured, Run, Subject

if TYPE_CHECKING:
    from resnet_probe.studies.paths import PathSettings


def measure_paths(subject: Subject, settings: PathSettings, run: Run) -> Measured:
    """The table of `paths`, and how the lengths add up."""
    chain, images, labels, _ = subject
    asked = request(chain, **settings.values)
    with torch.no_grad(), full_precision(chain.device):
        passes = Passes.of(chain, images, labels, asked, batch=run.batch, memory=run.memory)
        found = _measure(passes, asked, _ticker(asked, len(images), run.progress))
    facts = {"blocks": asked.blocks, "longest": asked.most, "batch": passes.room.images}
    return Measured(tabulate(chain, found, images=len(images)), {**facts, **_rounding(found)})


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
