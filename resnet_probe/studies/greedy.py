"""Which blocks can go, one after another: the one that costs least, measured again each time.

What a block costs depends on which others are there.  So all blocks that are left are deleted in
turn beside those that are gone, the one that leaves the smallest loss goes for good, and everything
is measured again.  Beside it stand two orders that are measured once, in the whole network: by the
cost of single deletions, and by Block Influence (Men et al. 2024, arXiv 2403.03853).  Orders are
chosen on one half of the images and judged on the other, which had no part in the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from resnet_probe.edits import Edit, generator_for
from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings, option
from resnet_probe.stats import Floats
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.lesion import LesionSettings, rows_of
from resnet_probe.studies.scores import judged, metric_for, valued
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualChain
    from resnet_probe.engine.images import Images
    from resnet_probe.engine.sweep import Sweep

NAME = "greedy"
SINGLE, INFLUENCE = "single deletion", "block influence"
ORDERS = (NAME, SINGLE, INFLUENCE)
LEAST = 4
"""Images: two in each half, over which something can vary."""


@dataclass(frozen=True, kw_only=True)
class GreedySettings(Settings):
    """How far blocks are deleted."""

    to: float | None = option(
        None,
        "points of error: stop when so many are lost on the images that are chosen on (default: "
        "until no block is left)",
        metavar="POINTS",
    )
    margin: float = option(
        0.5,
        "points of error: a change that is shown to be smaller is harmless (default: 0.5)",
        metavar="POINTS",
    )
    seed: int = option(
        0, "of the halves that images are put into (default: 0)", least=0, metavar="N", group="run"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        LesionSettings(margin=self.margin)
        if self.to is not None and not 0 < self.to <= 100:
            raise ProbeError(
                f"to={self.to:g} is no loss to stop at: give points of error above 0 and at most "
                "100"
            )


def fit(subject: Subject, settings: GreedySettings) -> GreedySettings:
    from resnet_probe.studies.checks import check_weights

    check_weights(subject.chain)
    images = len(subject.images)
    if images < LEAST:
        raise ProbeError(
            f"greedy chooses on one half of the {subject.chain.inputs} and is judged on the other: "
            f"it needs at least {LEAST}, found {images}"
        )
    return settings


def halves(images: int, seed: int) -> tuple[list[int], list[int]]:
    """The numbers of the images that are chosen on, and of those that are judged on, ascending.

    Drawn at random by `seed`; of an odd number the second half has one more.
    """
    import torch

    order = torch.randperm(images, generator=generator_for(seed, "halves")).tolist()
    return sorted(order[: images // 2]), sorted(order[images // 2 :])


@dataclass
class Choice:
    """The blocks that went, in order, and what each round said on the images chosen on.

    `error` and `loss` are those of the network without the blocks up to there, in percent and nats,
    the whole network first; `single` `[blocks]` is the loss of each single deletion.
    """

    left: list[int]
    gone: list[int] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    single: Floats = field(default_factory=lambda: np.empty(0))
    candidates: int = 0
    branch_runs: int = 0

    def take(self, found: Arrays) -> None:
        """Let the block go whose deletion leaves the smallest loss, of equal ones the first."""
        if not self.gone:
            self.single = found["loss"]
        best = int(found["loss"].argmin())
        self.error.append(float(found["error_pct"][best]))
        self.loss.append(float(found["loss"][best]))
        self.candidates += len(self.left)
        self.branch_runs += int(found["branch_runs"])
        self.gone.append(self.left.pop(best))


def choose(sweep: Sweep, subject: Subject, settings: GreedySettings, run: Run) -> Choice:
    """Delete the block that costs least, again and again; a journal keeps the rounds."""
    blocks = [block.number for block in sweep.chain.blocks]
    rounds = len(blocks) * (len(blocks) + 1) // 2
    found = Choice(blocks)
    measure = partial(costs, sweep, subject=subject, run=Run(run.resources))
    whole = run.kept("whole", lambda: measure([Edit()]))
    found.error, found.loss = [float(whole["error_pct"][0])], [float(whole["loss"][0])]
    found.branch_runs = int(whole["branch_runs"])
    while found.left and not _lost(found, settings.to):
        edits = [Edit.delete(*found.gone, block) for block in found.left]
        found.take(run.kept(f"round {len(found.gone) + 1}", partial(measure, edits)))
        if run.progress is not None:
            run.progress(found.candidates, rounds)
    return found


def _lost(found: Choice, to: float | None) -> bool:
    return to is not None and found.error[-1] - found.error[0] >= to


def costs(sweep: Sweep, edits: Sequence[Edit], *, subject: Subject, run: Run) -> Arrays:
    """Mean loss and error of each edit, `[edits]`, and how many branches ran, times images."""
    from resnet_probe.engine.sweep import PrefixTree

    metric = metric_for(subject, None)
    found = judged(sweep, edits, subject, run, metric=metric)
    if metric is None:
        share = (found["answer"] == subject.labels.cpu().numpy()).mean(1)
    else:
        share, _ = valued(metric, found, len(edits))
    runs = PrefixTree.of(edits, sweep.chain).branch_runs * len(subject.images)
    return {
        "loss": found["loss"].mean(1, dtype=np.float64),
        "error_pct": 100 * (1 - share),
        "branch_runs": np.array(runs),
    }


def influences(chain: ResidualChain, images: Images, run: Run) -> Floats:
    """Block Influence of each block, `[blocks]`, the mean of 1 − cos(h, h′) over these images.

    Infinite where a block changes the shape: by this score it goes last.
    """
    import torch

    from resnet_probe.engine.memory import spans
    from resnet_probe.engine.precision import full_precision
    from resnet_probe.state import residual
    from resnet_probe.studies.responses.collect import block_influence

    found = torch.zeros(len(chain), dtype=torch.float64, device=chain.device)
    with torch.inference_mode(), full_precision(chain.device):
        for start, stop in spans(chain, images, states=2, memory=run.memory, asked=run.batch):
            h = chain.stem(images[start:stop].to(chain.device))
            for place, block in enumerate(chain.blocks):
                before, h = h, block.run(h)
                both = residual(before), residual(h)
                found[place] += block_influence(*both, tokens=chain.of_tokens).sum()
    return np.asarray((found / len(images)).nan_to_num(nan=torch.inf).cpu().numpy())


def measure(subject: Subject, settings: GreedySettings, run: Run) -> Measured:
    from resnet_probe.engine.images import picked
    from resnet_probe.engine.sweep import Sweep

    chosen_on, judged_on = halves(len(subject.images), settings.seed)
    mine, others = (
        replace(subject, images=picked(subject.images, rows), labels=subject.labels[rows])
        for rows in (chosen_on, judged_on)
    )
    sweep = Sweep(subject.chain, batch=run.batch, memory=run.memory)
    choice = choose(sweep, mine, settings, run)
    scores = run.kept("influence", lambda: {"value": influences(sweep.chain, mine.images, run)})
    orders = orders_of(choice, scores["value"])
    edits, quiet = edits_of(orders), replace(run, progress=None)
    metric = metric_for(others, None)
    found = judged(sweep, edits, others, quiet, metric=metric, key="judged-")
    lesion = LesionSettings(margin=settings.margin, seed=settings.seed)
    (rows, facts, kept), right = rows_of(others, edits, found, lesion)
    facts |= {
        "chosen_on": len(chosen_on), "candidates": choice.candidates,
        "branch_runs": choice.branch_runs, "single_loss": [float(x) for x in choice.single],
        **against(orders, right, found["loss"]),
    }  # fmt: skip
    table = _table(subject.chain, orders, choice, rows)
    return Measured(table, facts, {**kept, "images": np.array(judged_on)})


def orders_of(choice: Choice, influence: Floats) -> dict[str, list[int]]:
    """The blocks in the order in which each way lets them go, as many as the greedy one."""
    count = len(choice.gone)
    found = {NAME: choice.gone}
    for name, score in ((SINGLE, choice.single), (INFLUENCE, influence)):
        found[name] = [int(place) + 1 for place in np.argsort(score, kind="stable")[:count]]
    return found


def edits_of(orders: Mapping[str, Sequence[int]]) -> list[Edit]:
    """The whole network, then for each order its first block deleted, its first two, …"""
    return [Edit()] + [
        Edit.delete(*order[: count + 1]) for order in orders.values() for count in range(len(order))
    ]


def _table(
    chain: ResidualChain, orders: Mapping[str, Sequence[int]], choice: Choice, rows: Any
) -> Any:
    """Each row with the order that it is of, and the block that went last."""
    last = [chain.block(number) for order in orders.values() for number in order]
    ways = [way for way, order in orders.items() for _ in order]
    chosen = np.full(len(rows), np.nan)
    chosen[: len(choice.error)] = choice.error
    rows = rows.drop(columns=["names", "shortcut", "draw", "tau"])
    return rows.assign(
        kind=["baseline", *ways],
        block=np.array([0, *(block.number for block in last)]),
        name=["", *(block.name for block in last)],
        stage=["", *(str(block.stage) for block in last)],
        chosen_error_pct=chosen,
    )


def against(
    orders: Mapping[str, Sequence[int]], right: np.ndarray, loss: np.ndarray
) -> dict[str, dict[str, list[float]]]:
    """By how much each other order costs more, in the mean over how many blocks are gone.

    In points of error (`against_pct`) and nats (`against_loss`), with Student's interval over the
    images judged on, of each image's own mean; the orders stay as they are.
    """
    count = len(orders[NAME])
    found: dict[str, dict[str, list[float]]] = {}
    for fact, values in (("against_pct", 100 * (1.0 - right)), ("against_loss", loss)):
        each = values[1:].astype(np.float64).reshape(len(orders), count, -1).mean(1)
        found[fact] = {}
        for way, own in zip(orders, each, strict=True):
            if way != NAME:
                mean = Moments.over(own - each[0])
                low, high = mean.of_changes()
                found[fact][way] = [float(mean.mean), float(low), float(high)]
    return found


STUDY = Study(
    NAME,
    description="""\
Delete the block that costs least, measure all others again, and so on, until none is left or
--to points of error are lost.  Beside it the orders by the cost of single deletions and by Block
Influence (Men et al. 2024, arXiv 2403.03853), measured once.  The blocks are chosen on one half of
the images, and what it costs is measured on the other.""",
    examples=("--arch resnet56", "--arch resnet110 --to 5 --limit 500"),
    settings=GreedySettings,
    fit=fit,
    measure=measure,
    labels=("classes", "places", "numbers"),
)
greedy = STUDY.function(
    """Which blocks can go, one after another, on `images` `[n, …]` with `labels` `[n]`.

    A row is the network without the `edits` blocks that an order lets go first, `blocks`; `kind` is
    the order and `block` the one that went last:

    greedy: each time the block whose deletion, beside those that are gone, leaves the smallest mean
    cross-entropy.  single deletion: by the cost of each alone.  block influence: by 1 − cos(h, h′)
    between a block's input and output; one that changes the shape goes last.

    All three are chosen on one half of the images, drawn by `seed`.  Columns as in `lesion`, from
    the other half; `chosen_error_pct` is what the greedy order says on the half that it was chosen
    on.  The provenance's `against_pct` and `against_loss` have by how much the other orders cost
    more, in the mean over all numbers of blocks, with Student's interval over images; `candidates`
    counts the edits that were tried, N(N + 1)/2 at most.  Of tokens, pixels and numbers the columns
    are those of such a lesion, and all is over texts or images; Block Influence of a text is the
    mean of its tokens', whichever labels are left out.

    Raises `ProbeError` for fewer than four images, options out of range, weights that are not
    finite, and data that do not fit."""
)
