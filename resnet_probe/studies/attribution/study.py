"""`attribute`: each block's share of the decision."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.edits import scale
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import DEFAULT_MEMORY
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.sweep import PrefixTree, Progress, Sweep
from resnet_probe.results import Result
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.attribution.chunk import Attributor, Found, Ticks
from resnet_probe.studies.attribution.gates import SMOOTH
from resnet_probe.studies.attribution.gradients import GatedChain
from resnet_probe.studies.attribution.request import request
from resnet_probe.studies.attribution.table import tabulate
from resnet_probe.studies.checks import check_spread, check_weights
from resnet_probe.studies.lesion import check_data

if TYPE_CHECKING:
    from resnet_probe.studies.lesion import Keeper

STUDY = "attribute"
CHUNK = 512
"""Images whose attributions are finished, and kept, together."""
WHOLE = 1000
"""Steps of the progress of a chunk."""
GRADIENT_RUNS = 400
"""What integrated gradients cost, in runs of each branch: about, for the progress alone."""


def attribute(
    chain: ResidualChain,
    images: Images,
    labels: Tensor,
    *,
    methods: Sequence[str] | None = None,
    permutations: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    memory: int = DEFAULT_MEMORY,
    exact: bool = False,
    journal: Keeper | None = None,
    progress: Progress | None = None,
) -> Result:
    """What each block adds to accuracy, loss and margin on `images` `[n, …]` with `labels` `[n]`.

    The blocks' gates α ∈ [0, 1]^N are captum's features, all ones its input and all zeros its
    baseline.  `methods`, by default all that apply:

    - ablation: what closing one gate takes off (captum's `FeatureAblation`, Veit et al. 2016's
      lesion), for all images and for each true class;
    - shapley: the mean gain of opening a gate, over `permutations` random orders (captum's
      `ShapleyValueSampling`) with its standard error over them; without a number of permutations
      20, or exactly from all subsets of the blocks where that takes less;
    - gradients: captum's `IntegratedGradients` along α, for loss and margin (accuracy has none;
      nor has a plain network);
    - interactions: what closing two gates takes off beyond closing each: 0 for all pairs if the
      blocks add up independently, "ensemble-like".

    The table is in long form (see `COLUMNS`).  `batch`, `memory` (bytes) and `exact` as in `Sweep`;
    `seed` draws the permutations; a `journal` keeps what is finished.

    Raises `ProbeError` for unknown methods, fewer than two permutations or images, data that do not
    fit, weights that are not finite (by name), and a memory budget too small.
    """
    began = time.perf_counter()
    check_data(chain, images, labels)
    check_spread(images, STUDY)
    check_weights(chain)
    asked = request(chain, methods=methods, permutations=permutations, seed=seed)
    with full_precision(chain.device):
        gated = GatedChain.of(chain) if "gradients" in asked.methods else None
        sweep = Sweep(chain, batch=batch, memory=memory, exact=exact)
        found = _measure(Attributor(asked, sweep, gated), images, labels, memory, journal, progress)
    table = tabulate(chain, asked, found, images=len(images))
    identity = {
        "study": STUDY, "arch": chain.name, "images": len(images), "methods": list(asked.methods),
        "permutations": asked.permutations, "seed": seed, "exact": exact,
    }  # fmt: skip
    facts = {"blocks": len(chain), "residual": chain.residual, "gates": len(asked.gates)}
    record = {"identity": identity, **facts, **completeness(found)}
    return Result(STUDY, table, {**record, "seconds": time.perf_counter() - began})


def completeness(found: Found) -> dict[str, float]:
    """How far, in percent, integrated gradients add up to something else than the difference."""
    if "gradients" not in found:
        return {}
    whole = (found["network"].mean - found["none"].mean)[-len(SMOOTH) :]
    gap = found["gradients"].mean.sum(-1) - whole
    shares = 100 * np.abs(gap) / np.where(whole == 0, np.nan, np.abs(whole))
    gaps = {f"gap_{name}_pct": float(gap) for name, gap in zip(SMOOTH, shares, strict=True)}
    return {**gaps, "steps": float(found["steps"].mean.item())}


def _measure(
    attributor: Attributor,
    images: Images,
    labels: Tensor,
    memory: int,
    journal: Keeper | None,
    progress: Progress | None,
) -> Found:
    starts = range(0, len(images), CHUNK)
    parts: list[Found] = []
    for shard in journal.done() if journal else ():
        if shard.start in starts and shard.start == len(parts) * CHUNK:
            kept = shard.extra["found"].items()
            parts.append({name: Moments.from_json(record) for name, record in kept})
    for place in range(len(parts), len(starts)):
        some = slice(starts[place], starts[place] + CHUNK)
        tick = _portion(progress, place, len(starts), attributor)
        found = attributor(images[some], labels[some], memory=memory, progress=tick)
        parts.append(found)
        if journal:
            _keep(journal, starts[place], len(images[some]), found)
    return {name: Moments.stack([part[name] for part in parts]).pooled() for name in parts[0]}


def _keep(journal: Keeper, start: int, images: int, found: Found) -> None:
    record = {name: moments.to_json() for name, moments in found.items()}
    journal.record(start, start + images, np.zeros((0, images), dtype=bool), {"found": record})


def _portion(
    progress: Progress | None, place: int, chunks: int, attributor: Attributor
) -> Ticks | None:
    """The callbacks of a chunk's sweep and of its gradients, as parts of the whole."""
    if progress is None:
        return None
    runs = PrefixTree.of([scale(gates) for gates in attributor.asked.gates]).branch_runs
    back = GRADIENT_RUNS * len(attributor.sweep.chain) if attributor.gradients else 0
    share = runs / (runs + back)

    def sweep(done: int, total: int) -> None:
        progress(round(WHOLE * (place + share * done / total)), WHOLE * chunks)

    def gradients(done: int, total: int) -> None:
        progress(round(WHOLE * (place + share + (1 - share) * done / total)), WHOLE * chunks)

    return Ticks(sweep, gradients)
