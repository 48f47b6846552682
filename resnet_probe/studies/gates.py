"""How the loss bends as one branch is turned down or up: a Taylor test of every block's gate.

Each branch is multiplied by gates from 0 to 2, all others staying as they are.  The gradient of the
loss with respect to the gate, at 1, foretells each change as if the loss were a straight line; what
is left over is how far it bends.  Scores that estimate a deletion by a gradient (Molchanov et al.
2017, arXiv 1611.06440, section 2.2) take the line all the way to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from resnet_probe.edits import Edit
from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings, listed, option
from resnet_probe.stats import Floats, jackknife
from resnet_probe.stats.moments import Moments
from resnet_probe.stats.simultaneous import SignFlips
from resnet_probe.studies.lesion import LesionSettings, rows_of
from resnet_probe.studies.scores import judged, metric_for
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.chain import ResidualChain
    from resnet_probe.engine.images import Images

GATES = (0.0, 0.25, 0.5, 0.75, 1.25, 1.5, 1.75, 2.0)
GROUPS = 20
"""Of images, for the jackknife."""
MOST = 1000
"""Gates of one block, at most."""


def grid(text: str) -> tuple[float, ...]:
    """`0:2:0.5` as (0, 0.5, 1, 1.5, 2); numbers with commas as they are."""
    try:
        if ":" not in text:
            return tuple(float(part) for part in text.split(","))
        first, last, step = (float(part) for part in text.split(":"))
        steps = round((last - first) / step)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ProbeError(
            f"gates={text!r} are neither numbers nor FROM:TO:STEP, such as 0:2:0.25"
        ) from None
    if step <= 0 or not 0 <= steps < MOST:
        raise ProbeError(f"gates={text!r}: FROM:TO:STEP goes up from FROM to TO by a positive STEP")
    return tuple(round(first + place * step, 6) for place in range(steps + 1))


@dataclass(frozen=True, kw_only=True)
class GateSettings(Settings):
    """Which gates each block gets in turn."""

    gates: tuple[float, ...] = option(
        GATES,
        "what a branch is multiplied by, numbers or FROM:TO:STEP (default: 0:2:0.25)",
        read=grid,
        write=listed,
        metavar="FROM:TO:STEP",
    )
    margin: float = option(
        0.5,
        "points of error: a change that is shown to be smaller is harmless (default: 0.5)",
        metavar="POINTS",
    )
    seed: int = option(
        0, "of the draws behind joint intervals (default: 0)", least=0, metavar="N", group="run"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        LesionSettings(margin=self.margin)
        bad = [gate for gate in self.gates if not abs(gate) <= MOST]
        if bad:
            raise ProbeError(f"gates= takes numbers up to {MOST}, found {bad[0]:g}")
        others = tuple(sorted({float(gate) for gate in self.gates} - {1.0}))
        if not others or len(others) > MOST:
            raise ProbeError(
                f"gates= has {len(others)} beside 1, which every block has: give 1 to {MOST}"
            )
        object.__setattr__(self, "gates", others)


def fit(subject: Subject, settings: GateSettings) -> GateSettings:
    from resnet_probe.studies.checks import check_gradients, check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    check_gradients(subject.chain)
    if not subject.chain.residual:
        raise ProbeError(
            f"{subject.chain.name} is a plain network: its layers have no branch beside a "
            "shortcut, and so no gate"
        )
    return settings


def edits_of(chain: ResidualChain, settings: GateSettings) -> list[Edit]:
    """The whole network, then block by block each gate."""
    return [Edit()] + [
        Edit.scale({block.number: gate}) for block in chain.blocks for gate in settings.gates
    ]


def gather(subject: Subject, settings: GateSettings, run: Run) -> Arrays:
    """What every network answers, and the `slope` of each image's loss, `[blocks, n]`."""
    from resnet_probe.engine.sweep import Sweep

    chain, images, labels, _ = subject
    sweep = Sweep(chain, batch=run.batch, memory=run.memory)
    metric = metric_for(subject, None)
    found = judged(sweep, edits_of(chain, settings), subject, run, metric=metric)
    return {**found, "slope": slopes(chain, images, labels, run)}


def slopes(chain: ResidualChain, images: Images, labels: Tensor, run: Run) -> Floats:
    """The derivative of each image's loss with respect to each block's gate, at 1: `[blocks, n]`.

    One pass forward and one back for all blocks.
    """
    from resnet_probe.engine.memory import held_for_gradients, spans
    from resnet_probe.engine.observe import without_gradients
    from resnet_probe.engine.precision import full_precision

    frozen = chain.map(without_gradients)
    parts = []
    with full_precision(chain.device):
        one = partial(_slopes, frozen, images[:1], labels[:1], 0)
        held = held_for_gradients(frozen, one)
        for start, stop in spans(
            chain, images, states=1, memory=run.memory, asked=run.batch, held=held
        ):
            step = partial(_slopes, frozen, images[start:stop], labels[start:stop], start)
            parts.append(run.kept(f"slope {start}-{stop}", step)["slope"])
    return np.concatenate(parts, axis=1)


def _slopes(chain: ResidualChain, images: Images, labels: Tensor, start: int) -> Arrays:
    import torch

    from resnet_probe.engine.task import losses
    from resnet_probe.studies.checks import check_finite

    h = chain.stem(images.to(chain.device))
    gates = []
    with torch.enable_grad():
        for block in chain.blocks:
            branch = block.branch(h)
            ones = torch.ones(len(branch), *[1] * (branch.dim() - 1)).to(branch).requires_grad_()
            h = block.close(h, block.add(block.shortcut(h), ones * branch))
            gates.append(ones)
        logits = chain.head(h)
        check_finite(logits, chain, start)
        loss = losses(logits.double(), labels.to(logits.device)).sum()
        found = torch.autograd.grad(loss, gates)
    return {"slope": torch.stack([each.flatten() for each in found]).double().cpu().numpy()}


def of_answers(subject: Subject, settings: GateSettings, found: Arrays) -> Measured:
    chain = subject.chain
    edits, loss = edits_of(chain, settings), found["loss"].astype(np.float64)
    lesion = LesionSettings(margin=settings.margin, seed=settings.seed)
    answered = {name: array for name, array in found.items() if name != "slope"}
    (table, facts, kept), _ = rows_of(subject, edits, answered, lesion)
    table = table.drop(columns=["edits", "tau", "draw", "shortcut"])
    table = table.rename(columns={"blocks": "block", "names": "name"})
    steps = np.array([0.0, *np.tile(np.array(settings.gates) - 1, len(chain))])
    slope = np.concatenate([np.zeros((1, loss.shape[1])), found["slope"]])
    place = np.concatenate([[0], np.repeat(np.arange(len(chain)) + 1, len(settings.gates))])
    table = table.assign(kind=["baseline", *["gate"] * (len(edits) - 1)], gate=1 + steps)
    table = table.assign(**_foretold(steps, slope[place]), **_joint(loss, settings.seed))
    facts |= taylor(loss, found["slope"], settings.gates)
    return Measured(table, facts, {**kept, "slope": found["slope"].astype(np.float32)})


def _foretold(steps: Floats, slope: Floats) -> dict[str, Floats]:
    """What the gradient says of the change in loss, with Student's interval over images."""
    mean = Moments.over(steps[:, None] * slope, axis=1)
    low, high = mean.interval()
    return {"foretold_loss": mean.mean, "foretold_low": low, "foretold_high": high}


def _joint(loss: Floats, seed: int) -> dict[str, Floats]:
    """Intervals of the change in loss that hold for all blocks and gates together."""
    low, high = SignFlips.of(loss[1:] - loss[:1], seed=seed).interval()
    return {
        "joint_loss_low": np.concatenate([[np.nan], low]),
        "joint_loss_high": np.concatenate([[np.nan], high]),
    }


def taylor(
    loss: Floats, slope: Floats, gates: Sequence[float]
) -> dict[str, dict[str, list[float]]]:
    """How well the line foretells the changes of all blocks, by gate, with 95 % intervals.

    `taylor_r2` is 1 − Σ(change − foretold)² / Σ change² over the blocks: 1 where the loss is a
    straight line, 0 where foretelling no change would do as well.  `taylor_rank` is Spearman's ρ
    over the blocks between both.  The changes are means over images, the intervals jackknives over
    groups of images, of log(1 − R²) and of ρ.
    """
    changes = (loss[1:] - loss[:1]).reshape(len(slope), len(gates), -1)
    foretold = slope[:, None] * (np.array(gates)[:, None] - 1)
    both = [_means(values) for values in (changes, foretold)]
    rest, rank = _log_left(*both), _rank(*both)
    low, high = jackknife(rest[0], rest[1:])
    worse, better = np.clip(jackknife(rank[0], rank[1:]), -1, 1)
    r2 = 1 - np.exp(np.stack([rest[0], high, low], axis=1))
    rho = np.stack([rank[0], worse, better], axis=1)
    return {"taylor_r2": _by_gate(gates, r2), "taylor_rank": _by_gate(gates, rho)}


def _by_gate(gates: Sequence[float], values: Floats) -> dict[str, list[float]]:
    return {f"{gate:g}": ends.tolist() for gate, ends in zip(gates, values, strict=True)}


def _means(values: Floats) -> Floats:
    """Over all images, and without each group of them: `[1 + groups, blocks, gates]`."""
    images = values.shape[-1]
    groups = min(GROUPS, images)
    member = np.arange(images) % groups == np.arange(groups)[:, None]
    total, part = values.sum(-1), np.moveaxis(values @ member.T, -1, 0)
    without = (total - part) / (images - member.sum(1))[:, None, None]
    return np.concatenate([total[None] / images, without])


def _log_left(changes: Floats, foretold: Floats) -> Floats:
    """log(1 − R²) at each gate, of `[…, blocks, gates]`; NaN where nothing changes."""
    rest, whole = (np.square(part).sum(-2) for part in (changes - foretold, changes))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(rest / np.where(whole > 0, whole, np.nan)))


def _rank(changes: Floats, foretold: Floats) -> Floats:
    """Spearman's ρ over the blocks at each gate, of `[…, blocks, gates]`; NaN without spread."""
    one, other = (rankdata(part, axis=-2) for part in (changes, foretold))
    one, other = (part - part.mean(-2, keepdims=True) for part in (one, other))
    size = np.sqrt((one**2).sum(-2) * (other**2).sum(-2))
    return np.asarray((one * other).sum(-2) / np.where(size > 0, size, np.nan))


STUDY = Study(
    "gates",
    description="""\
Multiply one branch at a time by gates from 0 (deleted) to 2 and measure the loss.  Is the loss a
straight line around 1, so that the gradient foretells what a deletion costs, and is 1 the best
gate?""",
    examples=("--arch resnet56", "--arch resnet110 --gates 0,0.5,0.9,1.1 --limit 500"),
    settings=GateSettings,
    fit=fit,
    sums=Summed(gather, of_answers),
    limit=512,
    labels=("classes", "places"),
)
gates = STUDY.function(
    """The loss with each branch multiplied by gates, on `images` `[n, …]` with `labels` `[n]`.

    A row is a `block` at a `gate`.  Columns as in `lesion`; `foretold_loss` is the change in loss
    that the gradient at gate 1 foretells, (gate − 1) · ∂loss/∂gate, with Student's interval over
    images; `joint_loss_low` and `joint_loss_high` are the interval of `delta_loss` for all blocks
    and gates together (joint sign flips).  The provenance's `taylor_r2` and `taylor_rank` have, for
    each gate, R² and Spearman's ρ of the foretold changes over the blocks (`taylor`).  Of tokens
    and pixels the columns are those of such a lesion, and a text or image has the mean loss of its
    positions.

    Raises `ProbeError` for a plain network, one image alone, gates that are none, and data that do
    not fit."""
)
