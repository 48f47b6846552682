"""What deleting a block does to what every later block does: do blocks build on each other?

In an ensemble of paths a block deleted leaves the others as they were; in a chain of computations
each needs what came before.  So every block is deleted in turn, and the change of each later
block's branch is set beside its size (Csordás et al. 2025, arXiv 2505.13898).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from resnet_probe.settings import Settings
from resnet_probe.stats import Floats, t_interval
from resnet_probe.stats.bootstrap import joint
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.engine.images import Images

NAME = "influence"
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
"""Changes from which on a block is said to build on an earlier one, ‖Δ‖ / ‖F‖."""
QUANTITIES: dict[str, str] = {
    "influence": "‖Δ‖ / ‖F‖ of an image, mean over images: F is the branch of block `on`, Δ how it "
    "changes where `block` is deleted; Student's interval over images",
    "depth": "blocks of the longest chain in which each changes the next one's branch by at least "
    "`threshold` when it is deleted; its ends are those of the joint intervals of all pairs "
    "(Bonferroni)",
}
COLUMNS = (
    "quantity", "block", "name", "stage", "on", "on_name", "on_stage", "threshold", "value",
    "ci_low", "ci_high", "images",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class InfluenceSettings(Settings):
    """There is nothing to choose: every block, on every later one."""


def fit(subject: Subject, settings: InfluenceSettings) -> InfluenceSettings:
    from resnet_probe.errors import ProbeError
    from resnet_probe.studies.checks import check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    if len(subject.chain) < 2:
        raise ProbeError(
            f"{subject.chain.name} has {len(subject.chain)} {subject.chain.unit}: influence is of "
            "one on a later one, so it needs at least 2"
        )
    return settings


def gather(subject: Subject, settings: InfluenceSettings, run: Run) -> Arrays:
    """Moments over the images of what each deletion changes."""
    from resnet_probe.engine.fold import folded
    from resnet_probe.engine.memory import spans

    chain, images = folded(subject.chain), subject.images
    states = len(chain) + 1
    parts = []
    for start, stop in spans(chain, images, states=states, memory=run.memory, asked=run.batch):
        found = run.kept(f"{start}-{stop}", partial(_moments, chain, images[start:stop], start))
        parts.append(Moments.of_name(NAME, found))
        if run.progress is not None:
            run.progress(stop, len(images))
    return Moments.stack(parts).pooled().named(NAME)


def tabulate(subject: Subject, settings: InfluenceSettings, found: Arrays) -> Measured:
    whole, images = Moments.of_name(NAME, found), len(subject.images)
    rows = [*_pairs(subject.chain, whole), *_depths(whole)]
    table = pd.DataFrame(rows).assign(images=images).reindex(columns=list(COLUMNS))
    return Measured(table.astype(dict.fromkeys(("block", "on"), "Int64")), {})


def _moments(chain: ResidualChain, images: Images, start: int) -> Arrays:
    changes = influences(chain, images, start).double().cpu().numpy()
    return Moments.over(changes, axis=-1).named(NAME)


def influences(chain: ResidualChain, images: Images, start: int = 0) -> Tensor:
    """‖Δ‖ / ‖F‖ of each image, `[blocks, blocks, n]`: row s deleted, column t changed.

    NaN where t is not later than s, and where F is 0.  One state for each deletion goes through the
    blocks beside the whole network's: N(N + 1)/2 branch runs.  `start` is the first image's number.
    """
    import torch

    from resnet_probe.engine.precision import full_precision
    from resnet_probe.studies.checks import check_finite

    with torch.inference_mode(), full_precision(chain.device):
        states = [chain.stem(images.to(chain.device))]
        found = torch.full((len(chain), len(chain), len(images)), torch.nan, device=chain.device)
        for place, block in enumerate(chain.blocks):
            deleted = block.run(states[0], 0.0)
            own = None
            for source, h in enumerate(states):
                branch = block.branch(h)
                total = block.add(block.shortcut(h), branch) if block.residual else branch
                states[source] = block.close(h, total)
                if own is None:
                    own = branch
                else:
                    found[source - 1, place] = _apart(branch, own)
            states.append(deleted)
        check_finite(chain.head(states[0]), chain, start)
    return found


def _apart(branch: Tensor, own: Tensor) -> Tensor:
    """‖branch − own‖ / ‖own‖ of each image, NaN where that is 0."""
    import torch

    size = own.flatten(1).norm(dim=1)
    change = (branch - own).flatten(1).norm(dim=1)
    return torch.where(size > 0, change / torch.where(size > 0, size, 1.0), torch.nan)


def longest_chain(linked: np.ndarray) -> int:
    """Blocks of the longest chain s < t < … in which `linked[s, t]` holds for each and the next."""
    reach = np.ones(len(linked), dtype=int)
    for later in range(1, len(linked)):
        before = reach[:later][linked[:later, later]]
        reach[later] += before.max(initial=0)
    return int(reach.max())


def _pairs(chain: ResidualChain, found: Moments) -> Iterator[Row]:
    value = np.where(found.count > 0, found.mean, np.nan)
    low, high = t_interval(value, found.error, found.count)
    for s, t in zip(*np.triu_indices(len(chain), 1), strict=True):
        source, target = chain.blocks[s], chain.blocks[t]
        yield {
            "quantity": NAME, "block": source.number, "name": source.name,
            "stage": str(source.stage), "on": target.number, "on_name": target.name,
            "on_stage": str(target.stage), "value": value[s, t], "ci_low": low[s, t],
            "ci_high": high[s, t],
        }  # fmt: skip


def _depths(found: Moments) -> Iterator[Row]:
    """By threshold, with ends that hold where the intervals of all pairs do."""
    pairs = len(found.mean) * (len(found.mean) - 1) // 2
    mean = np.where(found.count > 0, found.mean, np.nan)
    low, high = t_interval(mean, found.error, found.count, joint(0.95, pairs))
    for threshold in THRESHOLDS:
        ends = [_depth(part, threshold) for part in (mean, low, high)]
        yield {
            "quantity": "depth", "name": "", "stage": "", "on_name": "", "on_stage": "",
            "threshold": threshold, **dict(zip(("value", "ci_low", "ci_high"), ends, strict=True)),
        }  # fmt: skip


def _depth(influence: Floats, threshold: float) -> int:
    return longest_chain(np.nan_to_num(influence, nan=-np.inf) >= threshold)


STUDY = Study(
    NAME,
    description="""\
Delete each block in turn and measure by how much the branch of every later block changes (Csordás
et al. 2025, arXiv 2505.13898): blocks that build on each other, or voices that speak by themselves.
From the matrix comes an effective depth: the longest chain of blocks in which each needs the one
before.""",
    examples=("--arch resnet110", "--arch resnet56 --limit 128"),
    settings=InfluenceSettings,
    fit=fit,
    sums=Summed(gather, tabulate),
    limit=512,
    labels=("classes", "places", "numbers"),
)
influence = STUDY.function(
    """How much deleting a block changes what each later block does, on `images` `[n, …]`.

    The table is in long form: `QUANTITIES` is its key, `COLUMNS` its columns.  `influence` is a row
    for each `block` and each later one, `on`; `depth` a row for each `threshold`.  The result does
    not depend on `batch` and `memory` (bytes) but for rounding.

    Raises `ProbeError` for a network of one block, one image alone, weights that are not finite (by
    name), and data that do not fit."""
)
