"""`paths`: which path lengths carry the gradient of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.sweep import Progress
from resnet_probe.studies.paths.collected import Collected
from resnet_probe.studies.paths.passes import Batch, Passes
from resnet_probe.studies.paths.request import Request, request
from resnet_probe.studies.paths.sample import Group, SampledPaths, group_size
from resnet_probe.studies.paths.table import tabulate
from resnet_probe.studies.study import Arrays, Measured, Run, Share, Subject

if TYPE_CHECKING:
    from resnet_probe.studies.paths import PathSettings


def gather(subject: Subject, settings: PathSettings, run: Run) -> Arrays:
    """What the methods collect.

    The run keeps what is finished: batch by batch (exact, all), group by group (sample).
    """
    chain, images, labels, _ = subject
    asked = request(chain, **settings.values)
    share = run.share_of(len(images))
    with torch.no_grad(), full_precision(chain.device):
        passes = Passes.of(
            chain, images, labels, asked, batch=run.batch, memory=run.memory, numbers=share.rows
        )
        tick = _ticker(asked, share, run.progress)
        return _measure(passes, asked, run, share, tick).arrays()


def of_collected(subject: Subject, settings: PathSettings, arrays: Arrays) -> Measured:
    """The table of `paths`, and how the lengths add up."""
    asked, images = request(subject.chain, **settings.values), len(subject.images)
    found = Collected.from_arrays(asked, arrays, images)
    facts = {"blocks": asked.blocks, "longest": asked.most}
    return Measured(tabulate(subject.chain, found, images=images), {**facts, **_rounding(found)})


def together(settings: PathSettings, images: int) -> int:
    """Images that the same paths are sampled on."""
    if settings.method not in ("sample", "every"):
        return 1
    return group_size(settings.images_per_path, images)


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
    passes: Passes, asked: Request, run: Run, share: Share, tick: Callable[[int], None]
) -> Collected:
    """Exact and signed sums share their forward passes; sampled paths go group by group."""
    found = Collected.of(asked)
    if found.exact or found.signed:
        for start, stop in passes.ranges(0, passes.count):
            _add_sums(found, cache(partial(passes.at, start, stop)), start, stop, run, tick)
    if found.sampled:
        for group, start in _groups(found.sampled, share):
            key = f"sample {group.start}-{group.stop}"
            kept = run.kept(key, partial(_draw, found.sampled, passes, group, start))
            found.sampled.take(group, kept)
            tick(len(group.draws) * (group.stop - group.start))
    return found


def _groups(sampled: SampledPaths, share: Share) -> Iterator[tuple[Group, int]]:
    """The groups of images that lie in this part, and where they begin in it."""
    place = {int(row): index for index, row in enumerate(share.rows)}
    for group in sampled.groups(share.whole):
        if group.start in place:
            yield group, place[group.start]


def _add_sums(
    found: Collected,
    batch: Callable[[], Batch],
    start: int,
    stop: int,
    run: Run,
    tick: Callable[[int], None],
) -> None:
    """Exact and signed sums of the images `start` to `stop`."""
    if exact := found.exact:
        exact.take(run.kept(f"exact {start}-{stop}", lambda: exact.measure(batch())))
        tick(stop - start)
    if signed := found.signed:
        signed.take(run.kept(f"all {start}-{stop}", lambda: signed.measure(batch())))
        tick(signed.draws * (stop - start))


def _draw(sampled: SampledPaths, passes: Passes, group: Group, start: int) -> Arrays:
    for batch in passes.over(start, start + group.stop - group.start):
        for draw in group.draws:
            sampled.add(batch, draw)
    return sampled.found(group)


def _ticker(asked: Request, share: Share, progress: Progress | None) -> Callable[[int], None]:
    """Counts images through the recursion, once for each sum and each draw."""
    none, images = Collected.of(asked), len(share.rows)
    total = images * ((none.exact is not None) + (none.signed.draws if none.signed else 0))
    groups = _groups(none.sampled, share) if none.sampled else ()
    total += sum(len(group.draws) * (group.stop - group.start) for group, _ in groups)
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return tick
