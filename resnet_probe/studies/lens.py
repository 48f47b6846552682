"""The classifier applied after every block: what the network would answer there.

The "logit lens" (nostalgebraist 2020) on a residual network: the state behind block b is carried on
by the shortcuts of the blocks that remain, and by nothing else, and the head reads what arrives.
Parameter-free shortcuts (option A) only subsample and pad; where a shortcut has weights
(a projection), the state goes through them, and the table says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import DEFAULT_MEMORY, batch_size, footprint
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.recalibrate import Norm, States, into_batches, renew, renew_block
from resnet_probe.engine.sweep import Progress
from resnet_probe.results import Result
from resnet_probe.stats import t_interval, wilson
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.checks import check_finite, check_spread, check_weights, predicted
from resnet_probe.studies.lesion import check_data

STUDY = "lens"
RENEWED = "recalibrated_"
MEASURED = {
    "accuracy_pct": "% of images that the head has right; Wilson interval",
    "entropy_nats": "mean entropy of the softmax, in nats; Student's t interval",
    "agreement_pct": "% of images with the whole network's answer; Wilson interval",
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

Tail = tuple[tuple[ResidualBlock, ...], torch.nn.Module]
"""The blocks whose shortcuts carry a state on, and the head."""
Seen = dict[str, np.ndarray]


def lens(
    chain: ResidualChain,
    images: Images,
    labels: Tensor,
    *,
    recalibrate: Images | None = None,
    batch: int | None = None,
    memory: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> Result:
    """The head's answer at every depth, for `images` `[n, …]` with `labels` `[n]`.

    A row is a depth, from 0 (the stem alone) to the whole network; `COLUMNS` says what it holds.
    `recalibrate` `[m, …]` are other images than those: on them the batch-norm statistics of head
    and shortcuts are re-estimated for each depth.  Without them, and where no batch norm is left,
    the columns `recalibrated_…` are empty.

    Raises `ProbeError` for one image alone, data that do not fit, weights that are not finite (by
    name), and a memory budget (bytes) too small.
    """
    began = time.perf_counter()
    check_data(chain, images, labels)
    check_spread(images, STUDY)
    check_weights(chain)
    with torch.inference_mode(), full_precision(chain.device):
        tails: dict[str, list[Tail | None]] = {}
        tails[""] = [(chain.blocks[depth:], chain.head) for depth in range(len(chain) + 1)]
        if recalibrate is not None:
            tails[RENEWED] = recalibrated_tails(chain, recalibrate, memory=memory)
        sizes = _batches(chain, images, batch, memory)
        seen: list[list[Seen]] = []
        for start, stop in sizes:
            answers = _answers(chain, tails, images[start:stop].to(chain.device))
            check_finite(answers[-1][""], chain, start)
            seen.append([_judge(depth, answers[-1][""], labels[start:stop]) for depth in answers])
            if progress is not None:
                progress(stop, len(images))
    rows = [_row(chain, depth, parts) for depth, parts in enumerate(zip(*seen, strict=True))]
    identity = {"study": STUDY, "arch": chain.name, "images": len(images)}
    identity["recalibrate"] = 0 if recalibrate is None else len(recalibrate)
    facts = {"blocks": len(chain), "residual": chain.residual}
    record = {"identity": identity, **facts, "seconds": time.perf_counter() - began}
    return Result(STUDY, pd.DataFrame(rows).reindex(columns=list(COLUMNS)), record)


def recalibrated_tails(chain: ResidualChain, images: Images, *, memory: int) -> list[Tail | None]:
    """For each depth, what is left of the network, with the statistics that its states give.

    None where no batch norm is left.
    """
    states = [chain.stem(part) for part in into_batches(chain, images, copies=3, memory=memory)]
    tails: list[Tail | None] = []
    for depth in range(len(chain) + 1):
        tails.append(_recalibrated_tail(chain, depth, states))
        if depth < len(chain):
            states = [chain.blocks[depth].run(h) for h in states]
    return tails


def _recalibrated_tail(chain: ResidualChain, depth: int, states: States) -> Tail | None:
    parts = [chain.head, *(p for b in chain.blocks[depth:] for p in (b.shortcut, b.after))]
    if not any(isinstance(module, Norm) for part in parts for module in part.modules()):
        return None
    blocks = []
    for block in chain.blocks[depth:]:
        block, states = renew_block(block, 0.0, states)
        blocks.append(block)
    head, _ = renew(chain.head, states)
    return tuple(blocks), head


def _batches(
    chain: ResidualChain, images: Images, batch: int | None, memory: int
) -> Iterator[tuple[int, int]]:
    needs = footprint(chain, images[:1].to(chain.device))
    size = batch_size(
        needs, states=2, memory=memory, images=len(images), asked=batch, device=chain.device
    )
    return ((start, min(start + size, len(images))) for start in range(0, len(images), size))


def _answers(
    chain: ResidualChain, tails: dict[str, list[Tail | None]], images: Images
) -> list[dict[str, Tensor]]:
    """For each depth, the logits with the trained statistics and with new ones."""
    h, found = chain.stem(images), []
    for depth in range(len(chain) + 1):
        here = ((kind, of_depth[depth]) for kind, of_depth in tails.items())
        found.append({kind: _carry(h, tail) for kind, tail in here if tail is not None})
        if depth < len(chain):
            h = chain.blocks[depth].run(h)
    return found


def _carry(h: Tensor, tail: Tail) -> Tensor:
    blocks, head = tail
    for block in blocks:
        h = block.run(h, 0)
    return head(h).float()


def _judge(answers: dict[str, Tensor], whole: Tensor, labels: Tensor) -> Seen:
    """Of each image, by the prefix of the column: correct, entropy, agreement."""
    found: Seen = {}
    for kind, logits in answers.items():
        chance, answer = torch.log_softmax(logits.double(), dim=1), predicted(logits)
        entropy = -(chance.exp() * chance).nan_to_num(0).sum(1)
        found[f"{kind}accuracy"] = (answer == labels.to(answer.device)).cpu().numpy()
        found[f"{kind}entropy"] = entropy.cpu().numpy()
        found[f"{kind}agreement"] = (answer == predicted(whole)).cpu().numpy()
    return found


def _row(chain: ResidualChain, depth: int, parts: Sequence[Seen]) -> dict[str, Any]:
    seen = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    row: dict[str, Any] = {
        "block": depth,
        "name": chain.blocks[depth - 1].name if depth else "stem",
        "stage": str(chain.blocks[depth - 1].stage) if depth else "",
        "carried_by": carriers(chain.blocks[depth:]),
        "images": len(seen["accuracy"]),
        "correct": int(seen["accuracy"].sum()),
    }
    for name, values in seen.items():
        unit = "nats" if name.endswith("entropy") else "pct"
        estimate = _mean(values) if unit == "nats" else _share(values)
        ends = (unit, f"low_{unit}", f"high_{unit}")
        row |= {f"{name}_{end}": value for end, value in zip(ends, estimate, strict=True)}
    return row


def carriers(blocks: Sequence[ResidualBlock]) -> str:
    """`2 parameter-free, 1 projection`: the shortcuts of these blocks that are not identities."""
    kinds = [block.shortcut_kind for block in blocks if block.shortcut_kind != "identity"]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _share(yes: np.ndarray) -> tuple[float, float, float]:
    low, high = wilson(yes.sum(), len(yes))
    return 100 * float(yes.mean()), 100 * float(low), 100 * float(high)


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    moments = Moments.over(values)
    low, high = t_interval(moments.mean, moments.error, moments.count)
    return float(moments.mean), float(low), float(high)
