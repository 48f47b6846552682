"""What many edited networks answer, image by image: run once, kept, and counted in many ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from resnet_probe.edits import Edit
from resnet_probe.engine.images import Images
from resnet_probe.engine.sweep import Sweep
from resnet_probe.errors import ProbeError
from resnet_probe.studies.study import Arrays, Run

KEEP_EVERY = 512
"""Images after which what is known is handed to the journal."""
NEAR_TIE = 1e-4
"""Two best logits nearer than this may change places by rounding alone, in float32."""
NEAR_TIES = {torch.float64: 1e-12, torch.float16: 0.05, torch.bfloat16: 0.5}
"""The same in other types."""
TOP = 5
MANY = 100
"""Classes from which on the top-5 error says something that the top-1 error does not."""
SUM = "sum."
"""Arrays of a name that begins so are added up over the images, all others stand side by side."""

Judge = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""From logits `[edits, n, classes]` and labels `[n]` to tensors whose last axis is the images, or,
where the name begins with `SUM`, sums over them."""


Judged = Callable[[Tensor, int, int], dict[str, Tensor]]


class Batch(NamedTuple):
    """Logits `[edits, stop − start, classes]` of the images `start` to `stop − 1`, or what was
    judged of them; `finite` `[edits]` says whose logits were."""

    start: int
    stop: int
    logits: Any
    finite: Tensor


def batches(
    sweep: Sweep, edits: Sequence[Edit], images: Images, run: Run, judge: Judged | None = None
) -> Iterator[Batch]:
    """The logits of all edits, a batch of images at a time, on the device.

    With a `judge` of one edit's logits `[1, n, …]` and the batch's first and last image, what it
    says stands in their place, so that no more than the logits of one edit are held.
    """
    found: list[Any] = [None] * len(edits)
    finite: list[Tensor | None] = [None] * len(edits)
    left = len(edits)
    for piece in sweep.run(edits, images, progress=run.progress):
        logits, fine = piece.logits, all_finite(piece.logits)
        made = logits if judge is None else judge(logits.unsqueeze(0), piece.start, piece.stop)
        for index in piece.edits:
            found[index], finite[index] = made, fine
        left -= len(piece.edits)
        start, stop = piece.start, piece.stop
        del piece, logits, made  # before the next are made
        if not left:
            fine = torch.stack([each for each in finite if each is not None])
            yield Batch(start, stop, _together(found), fine)
            found, left = [None] * len(edits), len(edits)


def all_finite(values: Tensor) -> Tensor:
    """Whether all numbers are finite: what is not one is their smallest or largest."""
    return torch.isfinite(torch.stack(torch.aminmax(values))).all()


def _together(found: Sequence[Any]) -> Any:
    """Logits `[edits, n, …]`, or by name what was made of the logits of each edit."""
    if isinstance(found[0], Tensor):
        return torch.stack(list(found))
    return {name: torch.cat([each[name] for each in found]) for name in found[0]}


def outcomes(
    sweep: Sweep,
    edits: Sequence[Edit],
    images: Images,
    labels: Tensor,
    judge: Judge,
    run: Run,
    *,
    key: str = "",
    apart: bool = False,
) -> Arrays:
    """What `judge` says of every edit and image; finished steps come from the run's journal.

    It is asked about all edits together, or, where their logits are large, about each `apart`.

    Raises `ProbeError` for logits that are not finite, naming the edit.
    """
    parts: list[Arrays] = []
    first = 0
    while first < len(images) and (kept := _kept(run, f"{key}{first}")) is not None:
        parts.append(kept)
        first += _images(kept)
    if first < len(images):
        here = labels.to(sweep.chain.device)
        left = run.part(first, len(images) - first, len(images)) if first else run
        parts += _measured(
            sweep, edits, images[first:], here[first:], judge, left, key, first, apart
        )
    return joined(parts)


def _measured(
    sweep: Sweep,
    edits: Sequence[Edit],
    images: Images,
    labels: Tensor,
    judge: Judge,
    run: Run,
    key: str,
    first: int,
    apart: bool,
) -> Iterator[Arrays]:
    """One step of about `KEEP_EVERY` images after another, kept as soon as it is whole."""
    waiting: list[Arrays] = []

    def each(logits: Tensor, start: int, stop: int) -> dict[str, Tensor]:
        return judge(logits, labels[start:stop])

    for batch in batches(sweep, edits, images, run, each if apart else None):
        found = batch.logits if apart else each(batch.logits, batch.start, batch.stop)
        waiting.append({name: value.cpu().numpy() for name, value in found.items()})
        refuse_infinite(batch, edits, f"images {first + batch.start}–{first + batch.stop - 1}")
        if batch.stop == len(images) or sum(map(_images, waiting)) >= KEEP_EVERY:
            step = joined(waiting)
            waiting = []
            start = first + batch.stop - _images(step)
            yield run.kept(f"{key}{start}", lambda step=step: step)  # type: ignore[misc]


def joined(parts: Sequence[Arrays]) -> Arrays:
    """The arrays of parts of the images as those of all: side by side, or added up."""
    return {
        name: np.sum([part[name] for part in parts], axis=0)
        if name.startswith(SUM)
        else np.concatenate([part[name] for part in parts], axis=-1)
        for name in parts[0]
    }


def answers(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """`answer` and `loss` of each edit and image `[edits, n]`, and sums over images `[edits]`.

    `answer` is the predicted class, `loss` the cross-entropy in nats.  Summed up: `near_ties`,
    images whose two best logits rounding alone may exchange; `kl`, the Kullback–Leibler divergence
    of the edited network's distribution from that of the first edit, the whole network, in nats;
    `margin`, the true class's logit less the largest other one; and from 100 classes on
    `top5_correct`.
    """
    tie, logits = NEAR_TIES.get(logits.dtype, NEAR_TIE), logits.float()
    classes = logits.shape[2]
    best = logits.topk(min(TOP if classes >= MANY else 2, classes), dim=2)
    true = labels.view(1, -1, 1).expand(len(logits), -1, 1)
    log_p = torch.log_softmax(logits.double(), dim=2)
    others = logits.scatter(2, true, -torch.inf).amax(2)
    apart = log_p[:1] - log_p
    found = {
        "answer": best.indices[..., 0].to(_whole_number(classes)),
        "loss": -log_p.gather(2, true).squeeze(2).float(),
        f"{SUM}near_ties": _near(best.values, tie),
        f"{SUM}kl": (log_p[:1].exp() * apart).nan_to_num(0.0).sum(2).sum(1),
        f"{SUM}margin": (logits.gather(2, true).squeeze(2) - others).double().sum(1),
    }
    if classes >= MANY:
        found[f"{SUM}top5_correct"] = (best.indices == true).any(2).sum(1)
    return found


def _near(best: Tensor, tie: float) -> Tensor:
    if best.shape[2] < 2:
        return torch.zeros(len(best), dtype=torch.int64, device=best.device)
    return (best[..., 0] - best[..., 1] < tie).sum(1)


def _whole_number(classes: int) -> torch.dtype:
    """The smallest type that holds the number of a class."""
    return torch.uint8 if classes <= 256 else torch.int16 if classes < 2**15 else torch.int32


def _kept(run: Run, key: str) -> Arrays | None:
    return None if run.journal is None else run.journal.get(key)


def _images(part: Arrays) -> int:
    return next(value.shape[-1] for name, value in part.items() if not name.startswith(SUM))


def refuse_infinite(batch: Batch, edits: Sequence[Edit], which: str) -> None:
    """Raises `ProbeError` for logits of these images that are not finite, naming the edit."""
    finite = batch.finite.cpu().numpy()
    if finite.all():
        return
    edit = edits[int(np.flatnonzero(~finite)[0])]
    raise ProbeError(
        f"the logits of {which} are not finite ({edit.kind} {edit.blocks}".rstrip()
        + "): the network or its input holds NaN or Inf"
    )
