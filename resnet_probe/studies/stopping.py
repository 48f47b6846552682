"""A lesion on as many images as the question needs: every edit until it is decided.

Images come in a seeded random order.  After each step an edit leaves the prefix tree whose change
in error is known well enough: its confidence sequence, which may be watched at any time, is no
wider than ± `precision`, or says already on which side of 0 and of ± `margin` the change lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from resnet_probe.edits import Edit, generator_for
from resnet_probe.engine.images import Images, picked
from resnet_probe.engine.sweep import PrefixTree, Sweep
from resnet_probe.stats.sequential import ConfidenceSequence
from resnet_probe.studies.outcomes import answers, batches, joined, refuse_infinite
from resnet_probe.studies.study import Arrays, Run

STEP = 64
"""Images between two looks."""
UNSEEN = -1
"""The answer where an edit did not run."""
PRECISE, DECIDED, ALL = "precise", "decided", "all images"


@dataclass(eq=False)
class Watched:
    """What is known so far, in the random order of the images.

    `answer` and `loss` `[edits, images]`, `UNSEEN` and NaN where an edit did not run; `reason`
    why each edit stopped, empty while it runs; `branch_runs` counts branches times images.
    """

    answer: np.ndarray
    loss: np.ndarray
    sums: Arrays
    sequence: ConfidenceSequence
    margin: float
    reason: list[str] = field(default_factory=list)
    branch_runs: int = 0

    @property
    def active(self) -> list[int]:
        """The edits that go on: the baseline as long as any other does."""
        going = [edit for edit, why in enumerate(self.reason) if not why]
        return [] if going == [0] else going

    def take(self, start: int, edits: list[int], step: Arrays, labels: np.ndarray) -> None:
        """Add a step of all `edits`, the baseline first, and let those go that are decided."""
        stop = start + step["answer"].shape[1]
        self.answer[edits, start:stop], self.loss[edits, start:stop] = step["answer"], step["loss"]
        for name, total in self.sums.items():
            total[edits] += step[name]
        right = step["answer"] == labels[start:stop]
        lost = right[:1].astype(np.int8) - right[1:].astype(np.int8)
        self.sequence.update(lost, [edit - 1 for edit in edits[1:]])
        low, high = self.sequence.interval
        precise = self.sequence.precise
        for edit in edits[1:]:
            if _placed(low[edit - 1], high[edit - 1], self.margin):
                self.reason[edit] = DECIDED
            elif precise[edit - 1]:
                self.reason[edit] = PRECISE


def _placed(low: float, high: float, margin: float) -> bool:
    """Whether a change lies on a known side of 0 and of ± margin, or is shown harmless."""
    if -margin < low and high < margin:
        return True
    return not any(low <= point <= high for point in (-margin, 0.0, margin))


def until_decided(
    sweep: Sweep,
    edits: Sequence[Edit],
    images: Images,
    labels: Tensor,
    run: Run,
    *,
    precision: float,
    margin: float,
    seed: int,
) -> tuple[Watched, np.ndarray]:
    """What was seen of each edit until it was decided, and the order of the images, `[n]`.

    `precision` and `margin` are shares.  The images are the whole set that is asked about, so that
    the sequence is one without replacement.
    """
    count = len(images)
    order = torch.randperm(count, generator=generator_for(seed, "order of the images"))
    truth = labels.cpu().numpy()[order.numpy()]
    found = Watched(
        answer=np.full((len(edits), count), UNSEEN, dtype=np.int32),
        loss=np.full((len(edits), count), np.nan, dtype=np.float32),
        sums={},
        sequence=ConfidenceSequence(len(edits) - 1, count, precision=precision),
        margin=margin,
        reason=[""] * len(edits),
    )
    for start in range(0, count, STEP):
        going = found.active
        if not going:
            break
        rows = order[start : start + STEP]
        some = [edits[edit] for edit in going]
        make = partial(_step, sweep, some, images, labels, rows, run)
        step = run.kept(f"decided-{start}", make)
        for name in (name for name in step if name.startswith("sum.")):
            found.sums.setdefault(name, np.zeros(len(edits), dtype=step[name].dtype))
        found.branch_runs += PrefixTree.of(some, sweep.chain).branch_runs * len(rows)
        found.take(start, going, step, truth)
        if run.progress is not None:
            run.progress(min(start + STEP, count), count)
    found.reason = [why or ALL for why in found.reason]
    return found, order.numpy()


def _step(
    sweep: Sweep,
    edits: Sequence[Edit],
    images: Images,
    labels: Tensor,
    rows: Tensor,
    run: Run,
) -> Arrays:
    """The answers of these edits on these images."""
    here = sweep.chain.device
    given = picked(images, rows.tolist())
    parts = []
    for batch in batches(sweep, edits, given, Run(run.resources)):
        refuse_infinite(batch, edits, f"{batch.stop - batch.start} images in random order")
        truth = labels.cpu()[rows][batch.start : batch.stop].to(here)
        parts.append({k: v.cpu().numpy() for k, v in answers(batch.logits, truth).items()})
    return joined(parts)
