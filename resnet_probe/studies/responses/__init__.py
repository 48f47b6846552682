"""How large the residuals of a network are, and which way they point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from resnet_probe.results import Result
from resnet_probe.settings import Settings, option
from resnet_probe.studies.responses.quantities import COLUMNS, QUANTITIES, Quantity
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.studies.responses.collect import Collector

__all__ = ["COLUMNS", "QUANTITIES", "STUDY", "Quantity", "responses", "together"]

KEEP_EVERY = 512
"""Images after which what is known is handed to the journal."""


@dataclass(frozen=True, kw_only=True)
class ResponseSettings(Settings):
    """Whose responses."""

    init: bool = option(
        False,
        "freshly initialised (by seed), batch-norm statistics those of the images",
        group="networks",
    )
    costs: bool = option(
        False, "also delete each block: do cheap scores order the blocks by what that costs?"
    )


def fit(subject: Subject, settings: ResponseSettings) -> ResponseSettings:
    from resnet_probe.studies.checks import check_gradients, check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    check_gradients(subject.chain)
    return settings


def gather(subject: Subject, settings: ResponseSettings, run: Run) -> Arrays:
    """What the collector knows of all images."""
    from resnet_probe.engine.precision import full_precision
    from resnet_probe.engine.recalibrate import has_batch_norm, recalibrated
    from resnet_probe.studies.responses.collect import Collector
    from resnet_probe.studies.responses.passes import Passes

    chain, images, labels, _ = subject
    share = run.share_of(len(images))
    if settings.init and has_batch_norm(chain):
        chain = recalibrated(chain, images, memory=run.memory)
    passes = Passes(chain)
    with full_precision(chain.device):
        size = passes.batch_for(images, labels, asked=run.batch, memory=run.memory)
        found = Collector(chain, len(passes.layers), share.whole)
        first = kept = _go_on(found, run)
        for start in range(first, len(images), size):
            stop = min(start + size, len(images))
            found.add(passes(images[start:stop], labels[start:stop], share.rows[start:stop]))
            if run.journal is not None and stop >= kept + KEEP_EVERY:
                run.journal.put("state", {**found.state(), "stop": np.array(stop)})
                kept = stop
            if run.progress is not None:
                run.progress(stop, len(images))
    costs = _costs(chain, subject, run) if settings.costs else {}
    return {**found.state(), **costs}


def _costs(chain: ResidualChain, subject: Subject, run: Run) -> Arrays:
    """By how much each image's loss rises when a block is deleted, `cost` `[blocks, n]`."""
    from resnet_probe.edits import Edit
    from resnet_probe.engine.sweep import Sweep
    from resnet_probe.studies.outcomes import outcomes

    images, labels = subject.images, subject.labels
    edits = [Edit(), *(Edit.delete(block.number) for block in chain)]
    sweep = Sweep(chain, batch=run.batch, memory=run.memory)
    loss = outcomes(sweep, edits, images, labels, _losses, run, key="cost ")["loss"]
    return {"cost": (loss[1:] - loss[:1]).astype(np.float64)}


def _losses(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    from torch import stack

    from resnet_probe.engine.task import losses

    return {"loss": stack([losses(one.double(), labels) for one in logits])}


def of_state(subject: Subject, settings: ResponseSettings, state: Arrays) -> Measured:
    from resnet_probe.engine.observe import weight_layers
    from resnet_probe.studies.responses.collect import Collector
    from resnet_probe.studies.responses.table import tabulate

    chain, images = subject.chain, len(subject.images)
    layers = weight_layers(chain)
    found = Collector(chain, len(layers), images)
    found.restore(state)
    for values, cost in zip(found.blocks, state.get("cost", ()), strict=False):
        values.per_image["deletion_cost"] = [cost]
    return Measured(tabulate(chain, layers, found, images=images), {})


def hindered(settings: ResponseSettings) -> str:
    if not settings.init:
        return ""
    return "init= takes batch-norm statistics of all images before it measures any"


def _go_on(found: Collector, run: Run) -> int:
    """How many images an earlier run has seen, whose state is taken over."""
    state = None if run.journal is None else run.journal.get("state")
    if state is None:
        return 0
    stop = int(state.pop("stop"))
    found.restore(state)
    return stop


def together(results: Sequence[Result]) -> Result:
    """The results of `responses` on the same images as one, a network after the other.

    The column `arch` tells them apart; facts become lists.
    """
    if len(results) == 1:
        return results[0]
    table = pd.concat([result.table for result in results], ignore_index=True)
    records = [result.provenance for result in results]
    identity = {**results[0].identity, "arch": [result.identity["arch"] for result in results]}
    facts = {
        key: [record[key] for record in records]
        for key in records[0]
        if key not in ("identity", "seconds")
    }
    seconds = sum(record["seconds"] for record in records)
    return Result(results[0].study, table, {"identity": identity, **facts, "seconds": seconds})


STUDY = Study(
    "responses",
    description="""\
Measure what every weight layer and every residual branch gives: the standard deviation of the
layers (He et al. 2015, arXiv 1512.03385, figure 7), for several networks in one figure; and per
block the size of F(h) beside the shortcut, its direction beside the gradient of the loss, its
variance, its stable rank, the way to the end of the stage, dead and always-on units.""",
    examples=(
        "--arch resnet20 resnet56 resnet110 plain20",
        "--arch preresnet110 --init",
        "--arch resnet20 resnet56 --weights resnet20.th resnet56.th --normalize imagenet "
        "--data parquet:test.parquet",
    ),
    settings=ResponseSettings,
    fit=fit,
    sums=Summed(gather, of_state, hindered=hindered),
    several="apart",
    labels=("classes", "places", "numbers"),
)
responses = STUDY.function(
    """The responses of a network on `images` `[n, …]` with `labels` `[n]`, in one pass.

    The table is in long form: `COLUMNS` says what its columns hold, `QUANTITIES` what is measured,
    in which unit, and after whom.  A quantity that is not defined (no two terms to compare, a
    length or variance of 0) is NaN.  The result does not depend on `batch` and `memory` (bytes) but
    for rounding in the forward pass.

    Raises `ProbeError` for one image alone, labels outside the head's classes, images of another
    shape than the chain's, weights that are not finite (by name), and a budget too small."""
)
