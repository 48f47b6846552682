"""The classifier applied after every block: what the network would answer there.

The "logit lens" (nostalgebraist 2020) on a residual network: the state behind block b is carried on
by the shortcuts of the blocks that remain, and by nothing else, and the head reads what arrives.
Parameter-free shortcuts (option A) only subsample and pad; where a shortcut has weights
(a projection), the state goes through them, and the table says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings
from resnet_probe.stats import wilson
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.study import Arrays, Measured, Run, Study, Subject, Summed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_probe.chain import ResidualBlock, ResidualChain
    from resnet_probe.engine.images import Images
    from resnet_probe.engine.recalibrate import States
    from resnet_probe.state import AnyState

    Tail = tuple[tuple[ResidualBlock, ...], nn.Module]
    """The blocks whose shortcuts carry a state on, and the head."""

RENEWED = "recalibrated_"
MEASURED = {
    "accuracy_pct": "% of images that the head has right; Wilson interval",
    "entropy_nats": "mean entropy of the softmax, in nats; Student's t interval",
    "agreement_pct": "% of images with the whole network's answer; Wilson interval",
    "kl_nats": "mean Kullback–Leibler divergence of the whole network's distribution from that of "
    "the head here, in nats (Belrose et al. 2023, arXiv 2303.08112); Student's t interval",
}
COLUMNS: dict[str, str] = {
    "block": "the depth: how many blocks have run; 0 is the state behind the stem",
    "name": "of the last block that has run",
    "stage": "its stage",
    "carried_by": "the shortcuts that carry the state on, by kind, identities left out",
    "images": "how many",
    "correct": "how many of them the head has right",
    **{
        f"{kind}{end.join(name.rsplit('_', 1))}": note + what + suffix
        for kind, note in (("", ""), (RENEWED, "with batch-norm statistics of this depth: "))
        for name, what in MEASURED.items()
        for end, suffix in (("_", ""), ("_low_", ", lower end"), ("_high_", ", upper end"))
    },
}
"""What the columns hold.

`recalibrated_…`: the batch-norm statistics of head and shortcuts re-estimated on the states of
other images at this depth; empty where no batch norm is left.
"""

Seen = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class LensSettings(Settings):
    """There is nothing to choose."""


def fit(subject: Subject, settings: LensSettings) -> LensSettings:
    from resnet_probe.studies.checks import check_spread, check_weights

    check_spread(subject.images, STUDY.name)
    check_weights(subject.chain)
    if subject.training is not None and not _has_norms(subject.chain, 0):
        raise ProbeError(
            f"{subject.chain.name} has no batch norm in its shortcuts, behind its additions or in "
            "its head: on the way of the lens there are no statistics to re-estimate "
            "(recalibrate=)"
        )
    return settings


def gather(subject: Subject, settings: LensSettings, run: Run) -> Arrays:
    """What is seen of every image, `DEPTH.NAME` by name."""
    import torch

    from resnet_probe.engine.memory import spans
    from resnet_probe.engine.precision import full_precision
    from resnet_probe.studies.outcomes import joined

    chain, images, labels, training = subject
    with torch.inference_mode(), full_precision(chain.device):
        tails: dict[str, list[Tail | None]] = {}
        tails[""] = [(chain.blocks[depth:], chain.head) for depth in range(len(chain) + 1)]
        if training is not None:
            tails[RENEWED] = recalibrated_tails(chain, training, memory=run.memory)
        seen: list[Arrays] = []
        for start, stop in spans(chain, images, states=2, memory=run.memory, asked=run.batch):
            step = partial(_step, chain, tails, images[start:stop], labels[start:stop], start)
            seen.append(run.kept(f"{start}-{stop}", step))
            if run.progress is not None:
                run.progress(stop, len(images))
    return joined(seen)


def by_depth(subject: Subject, settings: LensSettings, found: Arrays) -> Measured:
    chain = subject.chain
    rows = [_row(chain, depth, seen) for depth, seen in enumerate(_by_depth(found, len(chain)))]
    from resnet_probe.engine.task import kind_of

    answers = {"labels": kind_of(subject.labels)}
    return Measured(pd.DataFrame(rows).reindex(columns=list(COLUMNS)), answers)


def recalibrated_tails(chain: ResidualChain, images: Images, *, memory: int) -> list[Tail | None]:
    """For each depth, what is left of the network, with the statistics that its states give.

    None where no batch norm is left.
    """
    from resnet_probe.engine.recalibrate import into_batches

    states = [chain.stem(part) for part in into_batches(chain, images, copies=3, memory=memory)]
    tails: list[Tail | None] = []
    for depth in range(len(chain) + 1):
        tails.append(_recalibrated_tail(chain, depth, states))
        if depth < len(chain):
            states = [chain.blocks[depth].run(h) for h in states]
    return tails


def _recalibrated_tail(chain: ResidualChain, depth: int, states: States) -> Tail | None:
    from resnet_probe.engine.recalibrate import renew, renew_block

    if not _has_norms(chain, depth):
        return None
    blocks = []
    for block in chain.blocks[depth:]:
        block, states = renew_block(block, 0.0, states)
        blocks.append(block)
    head, _ = renew(chain.head, states)
    return tuple(blocks), head


def _has_norms(chain: ResidualChain, depth: int) -> bool:
    """Whether a state of that depth passes a batch norm on its way to the logits."""
    from resnet_probe.engine.recalibrate import has_norms

    parts = [chain.head, *(p for b in chain.blocks[depth:] for p in (b.shortcut, b.after))]
    return any(map(has_norms, parts))


def _step(
    chain: ResidualChain,
    tails: dict[str, list[Tail | None]],
    images: Images,
    labels: Tensor,
    start: int,
) -> Arrays:
    """What is seen of a batch, `DEPTH.NAME` by name."""
    from resnet_probe.studies.checks import check_finite

    given, here = images.to(chain.device), labels.to(chain.device)
    answers: Iterable[dict[str, Tensor]] = _answers(chain, tails, given)
    if labels.dim() > 1:  # logits of many positions are not held for all depths at once
        whole = chain(given).float()
    else:
        answers = list(answers)
        whole = answers[-1][""]
    check_finite(whole, chain, start)
    return {
        f"{depth}.{name}": values
        for depth, each in enumerate(answers)
        for name, values in _judge(each, whole, here).items()
    }


def _by_depth(step: Arrays, blocks: int) -> list[Seen]:
    found: list[Seen] = [{} for _ in range(blocks + 1)]
    for name, values in step.items():
        depth, _, quantity = name.partition(".")
        found[int(depth)][quantity] = values
    return found


def _answers(
    chain: ResidualChain, tails: dict[str, list[Tail | None]], images: Images
) -> Iterator[dict[str, Tensor]]:
    """For each depth, the logits with the trained statistics and with new ones."""
    h: AnyState = chain.stem(images)
    for depth in range(len(chain) + 1):
        here = ((kind, of_depth[depth]) for kind, of_depth in tails.items())
        yield {kind: _carry(h, tail) for kind, tail in here if tail is not None}
        if depth < len(chain):
            h = chain.blocks[depth].run(h)


def _carry(h: AnyState, tail: Tail) -> Tensor:
    blocks, head = tail
    for block in blocks:
        h = block.run(h, 0)
    return head(h).float()


def _judge(answers: dict[str, Tensor], whole: Tensor, labels: Tensor) -> Seen:
    """Of each image, by the prefix of the column: correct, entropy, agreement, divergence.

    Of several positions they are means over those whose labels count.
    """
    from resnet_probe.engine.task import over_positions, predicted

    found: Seen = {}
    last, final = whole.double().log_softmax(dim=-1), predicted(whole)
    for kind, logits in answers.items():
        chance, answer = logits.double().log_softmax(dim=-1), predicted(logits)
        each = {
            "accuracy": answer == labels,
            "entropy": -(chance.exp() * chance).nan_to_num(0).sum(-1),
            "agreement": answer == final,
            "kl": (last.exp() * (last - chance)).nan_to_num(0).sum(-1),
        }
        if labels.dim() > 1:
            each = {name: over_positions(value.double(), labels) for name, value in each.items()}
        found |= {f"{kind}{name}": value.cpu().numpy() for name, value in each.items()}
    return found


def _row(chain: ResidualChain, depth: int, seen: Seen) -> dict[str, Any]:
    row: dict[str, Any] = {
        "block": depth,
        "name": chain.blocks[depth - 1].name if depth else "stem",
        "stage": str(chain.blocks[depth - 1].stage) if depth else "",
        "carried_by": carriers(chain.blocks[depth:]),
        "images": len(seen["accuracy"]),
        "correct": seen["accuracy"].sum().item(),
    }
    for name, values in seen.items():
        unit = "nats" if name.endswith(("entropy", "kl")) else "pct"
        estimate = _mean(values) if unit == "nats" else _share(values)
        ends = (unit, f"low_{unit}", f"high_{unit}")
        row |= {f"{name}_{end}": value for end, value in zip(ends, estimate, strict=True)}
    return row


def carriers(blocks: Sequence[ResidualBlock]) -> str:
    """`2 parameter-free, 1 projection`: the shortcuts of these blocks that are not identities."""
    kinds = [block.shortcut_kind for block in blocks if block.shortcut_kind != "identity"]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _share(yes: np.ndarray) -> tuple[float, float, float]:
    if yes.dtype != bool:
        mean, least, most = _mean(yes)
        return 100 * mean, 100 * max(least, 0.0), 100 * min(most, 1.0)
    low, high = wilson(yes.sum(), len(yes))
    return 100 * float(yes.mean()), 100 * float(low), 100 * float(high)


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    moments = Moments.over(values)
    low, high = moments.interval()
    return float(moments.mean), float(low), float(high)


STUDY = Study(
    "lens",
    description="""\
Apply the classifier behind every block: its accuracy, its entropy, and how often it agrees with
the final answer, by depth. States of another width are carried on by the shortcuts that remain.""",
    examples=("--arch resnet110", "--arch resnet56 --recalibrate 512"),
    settings=LensSettings,
    fit=fit,
    sums=Summed(gather, by_depth),
    training=True,
    labels=("classes", "places"),
)
lens = STUDY.function(
    """The head's answer at every depth, for `images` `[n, …]` with `labels` `[n]`.

    A row is a depth, from 0 (the stem alone) to the whole network; `COLUMNS` says what it holds.
    `recalibrate=` `[m, …]` are other images than those: on them the batch-norm statistics of head
    and shortcuts are re-estimated for each depth.  Without them, and where no batch norm is left,
    the columns `recalibrated_…` are empty.

    Raises `ProbeError` for `recalibrate=` where there is no batch norm, for one image alone, data
    that do not fit, weights that are not finite (by name), and a budget (bytes) too small."""
)
