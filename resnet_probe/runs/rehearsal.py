"""What a run would take, without running it: a few seconds of it are measured and thrown away."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resnet_probe.runs.job import Job
from resnet_probe.runs.progress import duration
from resnet_probe.settings import format_bytes
from resnet_probe.studies.study import Resources, Run

if TYPE_CHECKING:
    from resnet_probe.engine.sweep import PrefixTree

SECONDS = 3.0
"""As long as that, and until something is done, a study is tried."""


class Enough(BaseException):
    """Stops a study in the middle; nothing in a study catches it."""


@dataclass
class Pace:
    """Watches the progress of a study and stops it when its pace is known."""

    began: float = field(default_factory=time.perf_counter)
    starts: tuple[float, int] | None = None
    """When the first step was done, and how much it was: what comes before is done once."""
    seconds: float = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.perf_counter()
        if self.starts is None:
            self.starts = (now, done)
        since, first = self.starts
        if now - self.began < SECONDS or done >= total:
            return
        if done > first:
            self.seconds = since - self.began + (total - first) * (now - since) / (done - first)
        else:
            self.seconds = (now - self.began) * total / max(done, 1)
        raise Enough


class Rehearsal(NamedTuple):
    """What `rehearse` found; `branch_runs` is for one image, `None` for studies without edits."""

    study: str
    images: int
    edits: int | None
    branch_runs: int | None
    batch: int | None
    memory: int
    seconds: float
    folder: Path
    found: bool

    @property
    def sentence(self) -> str:
        """`lesion, 898 images: 55 edits, 1,485 branch runs an image, … about 20 s; to runs/…`."""
        if self.found:
            return f"{self.study}, {self.images:,} images: measured before, in {self.folder}"
        parts = []
        if self.edits is not None and self.branch_runs is not None:
            runs = self.branch_runs * self.images
            parts.append(f"{self.edits:,} networks, {runs:,} branch runs")
        at_once = "" if self.batch is None else f", {self.batch} images at once"
        parts.append(f"{format_bytes(self.memory)} of working memory at most{at_once}")
        parts.append(f"about {duration(self.seconds)}" if self.seconds >= 1 else "under a second")
        return f"{self.study}, {self.images:,} images: {'; '.join(parts)}; to {self.folder}"


def rehearse(job: Job, folder: Path, resources: Resources) -> Rehearsal:
    """The size of a job, and the time that it takes at the pace of its first seconds.

    Nothing is kept or written.  Raises `ProbeError` for what the study refuses while it runs.
    """
    found = job.found(folder) is not None
    edits, branch_runs, batch = _edits_of(job, resources)
    return Rehearsal(
        job.study, len(job.networks[0].images), edits, branch_runs, batch, resources.memory,
        0.0 if found else _seconds(job, resources), folder, found,
    )  # fmt: skip


def branch_runs(job: Job) -> int | None:
    """How many branches a job runs, over all its images; None for a study without edits."""
    tree = _tree(job)
    return None if tree is None else tree.branch_runs * len(job.networks[0].images)


def _seconds(job: Job, resources: Resources) -> float:
    pace = Pace()
    try:
        job.measure(Run(resources, None, pace))
    except Enough:
        return pace.seconds
    return time.perf_counter() - pace.began


def _tree(job: Job) -> PrefixTree | None:
    """The edits of a job with what begins alike together; None for a study without edits."""
    edits_of = job.row.study.edits
    if edits_of is None:
        return None
    from resnet_probe.engine.sweep import PrefixTree

    chain = job.subjects[0].chain
    return PrefixTree.of(edits_of(chain, job.settings), chain)


def _edits_of(job: Job, resources: Resources) -> tuple[int | None, int | None, int | None]:
    """How many edited networks, branches an image, and images at once, of a study of edits."""
    tree = _tree(job)
    if tree is None:
        return None, None, None
    from resnet_probe.engine.sweep import Sweep

    subject = job.subjects[0]
    sweep = Sweep(subject.chain, batch=resources.batch, memory=resources.memory)
    return tree.programs, tree.branch_runs, sweep.batch_for(tree, subject.images)
