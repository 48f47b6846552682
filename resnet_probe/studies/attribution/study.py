"""`attribute`: each block's share of the decision."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from resnet_probe.engine.images import Images
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.sweep import PrefixTree, Progress, Sweep
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.attribution.chunk import Attributor, Found, Ticks
from resnet_probe.studies.attribution.gates import SMOOTH, gated
from resnet_probe.studies.attribution.gradients import GatedChain
from resnet_probe.studies.attribution.request import Request, request
from resnet_probe.studies.attribution.table import tabulate
from resnet_probe.studies.study import Arrays, Measured, Run, Subject

if TYPE_CHECKING:
    from resnet_probe.studies.attribution import AttributeSettings

CHUNK = 512
"""Images whose attributions are finished, and kept, together."""
WHOLE = 1000
"""Steps of the progress of a chunk."""
GRADIENT_RUNS = 400
"""What integrated gradients cost, in runs of each branch: about, for the progress alone."""


def gather(subject: Subject, settings: AttributeSettings, run: Run) -> Arrays:
    """Moments over the images, as `Found`."""
    chain, images, labels, _ = subject
    asked = asked_of(subject, settings)
    with full_precision(chain.device):
        gated = GatedChain.of(chain) if "gradients" in asked.methods else None
        sweep = Sweep(chain, batch=run.batch, memory=run.memory, exact=settings.exact)
        return _arrays(_measure(Attributor(asked, sweep, gated), images, labels, run))


def of_moments(subject: Subject, settings: AttributeSettings, arrays: Arrays) -> Measured:
    """The table of `attribute`, and how complete integrated gradients are."""
    asked, found = asked_of(subject, settings), _found(arrays)
    facts = {"gates": len(asked.gates), **completeness(found)}
    several, images = subject.labels.dim() > 1, len(subject.images)
    table = tabulate(subject.chain, asked, found, images=images, shares=several)
    return Measured(table, facts)


def asked_of(subject: Subject, settings: AttributeSettings) -> Request:
    return request(
        subject.chain, methods=settings.methods, permutations=settings.permutations,
        seed=settings.seed,
    )  # fmt: skip


def together(settings: AttributeSettings, images: int) -> int:
    """Integrated gradients take as many steps as all images of a chunk need."""
    without = settings.methods is not None and "gradients" not in settings.methods
    return 1 if without else CHUNK


def completeness(found: Found) -> dict[str, float]:
    """How far, in percent, integrated gradients add up to something else than the difference."""
    if "gradients" not in found:
        return {}
    whole = (found["network"].mean - found["none"].mean)[-len(SMOOTH) :]
    gap = found["gradients"].mean.sum(-1) - whole
    shares = 100 * np.abs(gap) / np.where(whole == 0, np.nan, np.abs(whole))
    gaps = {f"gap_{name}_pct": float(gap) for name, gap in zip(SMOOTH, shares, strict=True)}
    return {**gaps, "steps": float(found["steps"].mean.item())}


def _measure(attributor: Attributor, images: Images, labels: Tensor, run: Run) -> Found:
    starts = range(0, len(images), CHUNK)
    parts: list[Found] = []
    for place, start in enumerate(starts):
        some = slice(start, start + CHUNK)
        tick = _portion(run.progress, place, len(starts), attributor)
        make = partial(_step, attributor, images[some], labels[some], run.memory, tick)
        parts.append(_found(run.kept(str(start), make)))
    return {name: Moments.stack([part[name] for part in parts]).pooled() for name in parts[0]}


def _step(
    attributor: Attributor, images: Images, labels: Tensor, memory: int, tick: Ticks | None
) -> Arrays:
    return _arrays(attributor(images, labels, memory=memory, progress=tick))


def _arrays(found: Found) -> Arrays:
    return {key: part for name, m in found.items() for key, part in m.named(name).items()}


def _found(step: Arrays) -> Found:
    names = dict.fromkeys(name.rpartition(".")[0] for name in step)
    return {name: Moments.of_name(name, step) for name in names}


def _portion(
    progress: Progress | None, place: int, chunks: int, attributor: Attributor
) -> Ticks | None:
    """The callbacks of a chunk's sweep and of its gradients, as parts of the whole."""
    if progress is None:
        return None
    runs = PrefixTree.of(
        [gated(gates) for gates in attributor.asked.gates], attributor.sweep.chain
    ).branch_runs
    back = GRADIENT_RUNS * len(attributor.sweep.chain) if attributor.gradients else 0
    share = runs / (runs + back)

    def sweep(done: int, total: int) -> None:
        progress(round(WHOLE * (place + share * done / total)), WHOLE * chunks)

    def gradients(done: int, total: int) -> None:
        progress(round(WHOLE * (place + share + (1 - share) * done / total)), WHOLE * chunks)

    return Ticks(sweep, gradients)
