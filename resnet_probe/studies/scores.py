"""Lesions by another measure than one class an image: tokens, pixels, labels, numbers.

Every metric is a share, 1 where all is right, and its error is 100 % minus it.  What it is made of
is kept for each image, and every interval is over images: an image's pseudo-value is n times the
metric less n − 1 times the metric without that image (Tukey 1958, "Bias and confidence in not-quite
large samples"), which for a mean over images is the image's own share.  Differences from the whole
network are those of the same image's pseudo-values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.stats import Floats, t_interval
from resnet_probe.stats.moments import Moments
from resnet_probe.stats.simultaneous import SignFlips
from resnet_probe.studies.study import Arrays, Measured, Run, Subject

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.edits import Edit
    from resnet_probe.engine.sweep import Sweep


NAMES = ("accuracy", "auc", "iou", "mse")
See = Callable[["Tensor", "Tensor"], dict[str, "Tensor"]]
Given = str | Callable[..., Any] | None
"""A name, or a function of logits and labels."""


@dataclass(frozen=True)
class Metric:
    """`see` makes, of logits and labels of some images, arrays whose last axis they are.

    `value` makes of those of all images and one edit the share that is right, and the images'
    pseudo-values `[n]`.
    """

    name: str
    see: See
    value: Callable[[Arrays], tuple[float, Floats]]
    span: tuple[float, float] = (0.0, 100.0)
    """Between which per cent what is not right lies: a network can explain less than nothing."""


def metric_for(subject: Subject, given: Given) -> Metric | None:
    """The metric of a lesion; None for the accuracy of one class an image, which is counted.

    Raises `ProbeError` for a metric that there is not, or that the labels have no use for.
    """
    from resnet_probe.engine.task import kind_of

    kind, labels = kind_of(subject.labels), subject.labels
    if callable(given):
        return Metric(str(name_of(given)), partial(_own, given), _mean)
    if given is not None and given not in NAMES:
        raise ProbeError(
            f"there is no metric={given!r}: there are {', '.join(NAMES)}, and functions of logits "
            f"and labels that give a share from 0 to 1 for each image{did_you_mean(given, NAMES)}"
        )
    if kind == "numbers" or given == "mse":
        if kind != "numbers" or given not in (None, "mse"):
            raise ProbeError(
                "metric='mse' is of numbers: give the labels as fractions, or prepare them with "
                "loss='mse'"
                if given == "mse"
                else f"metric={given!r} is of classes: numbers have metric='mse'"
            )
        return Metric("mse", _losses, partial(_explained, _variance(labels)), (0.0, np.inf))
    if given == "iou":
        if kind != "places":
            raise ProbeError("metric='iou' is of pixels: it needs a class for each of them")
        present = np.unique(labels[labels >= 0].cpu().numpy())
        return Metric("iou", _overlaps, partial(_iou, present))
    if given == "auc":
        if subject.chain.classes != 2:
            raise ProbeError(
                "metric='auc' is of labels that are there or not: "
                f"{subject.chain.name} tells {subject.chain.classes} classes apart"
            )
        truth = labels.cpu().numpy().T if kind == "places" else labels.cpu().numpy()[None]
        _check_both(truth)
        return Metric("auc", _leads, partial(_auc, truth))
    return None if kind == "classes" else Metric("accuracy", _shares, _mean)


def name_of(given: Given) -> str | None:
    """The metric by its name; of a function its own."""
    if given is None or isinstance(given, str):
        return given
    return f"{getattr(given, '__module__', '')}.{getattr(given, '__qualname__', given)}".strip(".")


# ---- what is kept of each image


def judged(
    sweep: Sweep,
    edits: Sequence[Edit],
    subject: Subject,
    run: Run,
    *,
    metric: Metric | None,
    key: str = "",
) -> Arrays:
    """What every edit answers to the subject's images, as `metric` needs it; without one, counted.

    See `outcomes.outcomes`.
    """
    from resnet_probe.studies.outcomes import answers, outcomes

    judge, apart = (answers, False) if metric is None else (partial(seen, metric.see), True)
    images, labels = subject.images, subject.labels
    return outcomes(sweep, edits, images, labels, judge, run, key=key, apart=apart)


def seen(see: See, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Of the logits `[1, n, …]` of one edit: its losses and what its metric is made of."""
    from resnet_probe.engine.task import losses

    values = logits[0].float()
    found = {"loss": losses(values, labels), **see(values, labels)}
    return {name: each.unsqueeze(0) for name, each in found.items()}


def _shares(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    from resnet_probe.engine.task import right

    return {"score": right(logits, labels)}


def _losses(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return {}


def _own(metric: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Any:
    """Of a function of the user's own, which has to give a share for each image."""
    from torch import Tensor

    found = metric(logits, labels)
    if not isinstance(found, Tensor) or found.shape != labels.shape[:1]:
        form = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ProbeError(
            f"metric= gives {form} for {len(labels)} images: a number for each is needed, [n]"
        )
    if not bool(((found >= 0) & (found <= 1)).all()):
        raise ProbeError(
            "metric= gives numbers outside 0 (all wrong) to 1 (all right): give a share, which is "
            "comparable between images"
        )
    return {"score": found.double()}


def _leads(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """By how much the second of two logits leads, `[labels, n]`."""
    lead = logits[..., 1] - logits[..., 0]
    return {"lead": lead.unsqueeze(0) if lead.dim() == 1 else lead.T}


def _overlaps(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Of each class, positions where answer and label are it, and where either is: `[c, n]`."""
    import torch

    classes, known = logits.shape[-1], labels >= 0
    answer = logits.argmax(-1)

    def count(which: Tensor, where: Tensor) -> Tensor:
        empty = torch.zeros(len(labels), classes, dtype=torch.int64, device=labels.device)
        return empty.scatter_add(1, which.clamp_min(0), where.long()).T

    both = count(labels, known & (answer == labels))
    return {"both": both, "either": count(labels, known) + count(answer, known) - both}


# ---- from that to the share that is right, and its pseudo-values


def _mean(found: Arrays) -> tuple[float, Floats]:
    scores = found["score"].astype(np.float64)
    return float(scores.mean()), scores


def _explained(variance: float, found: Arrays) -> tuple[float, Floats]:
    """One minus the mean square error in units of the labels' variance."""
    share = 1 - found["loss"].astype(np.float64) / variance
    return float(share.mean()), share


def _variance(labels: Tensor) -> float:
    found = float(labels.double().var(0, correction=0).mean())
    if not found > 0:
        raise ProbeError("the labels are the same for every image: there is nothing to explain")
    return found


def _iou(present: np.ndarray, found: Arrays) -> tuple[float, Floats]:
    """The mean over the classes that the labels have of intersection over union."""
    both, either = (found[name][present].astype(np.float64) for name in ("both", "either"))
    whole, union = both.sum(1), either.sum(1)
    value = float((whole / union).mean())
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.nanmean((whole[:, None] - both) / (union[:, None] - either), axis=0)
    n = both.shape[1]
    return value, n * value - (n - 1) * without


def _check_both(truth: np.ndarray) -> None:
    for label, row in enumerate(truth):
        if min((row == 1).sum(), (row == 0).sum()) < 2:
            raise ProbeError(
                f"metric='auc' needs two images with and two without each label: label {label} is "
                f"there in {(row == 1).sum()} and not in {(row == 0).sum()}"
            )


def _auc(truth: np.ndarray, found: Arrays) -> tuple[float, Floats]:
    """The mean over labels of the area under the ROC curve; ties count half.

    Leaving an image out changes it by the image's place among those of the other kind (DeLong et
    al. 1988, doi 10.2307/2531595).
    """
    n = truth.shape[1]
    values, pseudo = [], np.zeros((len(truth), n))
    for row, lead in enumerate(found["lead"].astype(np.float64)):
        yes, no = truth[row] == 1, truth[row] == 0
        rank = stats.rankdata(lead[yes | no])
        ranks = np.zeros(n)
        ranks[yes | no] = rank
        above = (ranks[yes] - stats.rankdata(lead[yes])) / no.sum()
        below = 1 - (ranks[no] - stats.rankdata(lead[no])) / yes.sum()
        area = float(above.mean())
        values.append(area)
        pseudo[row] = area  # an image without this label says nothing of it
        pseudo[row, yes] = area + (n - 1) * (above - area) / (yes.sum() - 1)
        pseudo[row, no] = area + (n - 1) * (below - area) / (no.sum() - 1)
    return float(np.mean(values)), pseudo.mean(0)


# ---- the table


def tabulate_by(
    metric: Metric, rows: pd.DataFrame, subject: Subject, settings: Any, found: Arrays
) -> Measured:
    """The table of a lesion, `rows` that say its edits, in percent of what is not right."""
    from resnet_probe.engine.task import kind_of

    values, pseudo = valued(metric, found, len(rows))
    errors = 100 * (1 - pseudo)
    table = rows.assign(
        seed=settings.seed,
        images=errors.shape[1],
        error_pct=100 * (1 - values),
        delta_pct=100 * (values[0] - values),
        **_ends("ci_low_pct", "ci_high_pct", errors, metric.span),
        **_changes(errors, settings),
        **_of_loss(found["loss"].astype(np.float64), tokens=subject.chain.of_tokens),
    )
    facts = {"metric": metric.name, "labels": kind_of(subject.labels)}
    return Measured(table, facts, {"loss": found["loss"].astype(np.float16)})


def valued(metric: Metric, found: Arrays, edits: int) -> tuple[Floats, Floats]:
    """Of each edit the share that is right, and the images' pseudo-values `[edits, images]`."""
    each = [{name: array[edit] for name, array in found.items()} for edit in range(edits)]
    values, pseudo = zip(*map(metric.value, each), strict=True)
    return np.array(values), np.array(pseudo)


def _ends(
    low: str, high: str, values: Floats, span: tuple[float, float] = (-np.inf, np.inf)
) -> dict[str, Floats]:
    """Student's interval over images of each row, `[edits, images]`, inside what there can be."""
    ends = Moments.over(values, axis=1).interval()
    return dict(zip((low, high), np.clip(ends, *span), strict=True))


def _changes(errors: Floats, settings: Any) -> dict[str, Floats]:
    """Paired intervals, tests and equivalence, edit by edit and for all together.

    An edit that moves every image by as much has none: there is nothing to tell an error from.
    """
    change, (count, images), margin = errors - errors[:1], errors.shape, settings.margin
    moments = Moments.over(change, axis=1)
    spread = np.ptp(change, axis=1) > 1e-9 * np.abs(change).max(initial=1e-300)
    error = np.where(spread, moments.error, np.nan)
    low, high = t_interval(moments.mean, error, images)
    inner = t_interval(moments.mean, error, images, 0.9)
    found = {
        "p_value": 2 * stats.t.sf(np.abs(moments.mean) / error, max(images - 1, 1)),
        "delta_low_pct": low,
        "delta_high_pct": high,
        "inside_margin": ((inner[0] > -margin) & (inner[1] < margin)).astype(float),
    }
    joint = np.full((4, count), np.nan)
    if images > 1 and count > 1:
        flips = SignFlips.of(change[1:], seed=settings.seed)
        joint[:2, 1:] = flips.interval()
        joint[2, 1:], joint[3, 1:] = flips.p_values(), flips.inside(margin)
    for values in found.values():
        values[:1] = np.nan
    names = ("joint_low_pct", "joint_high_pct", "joint_p_value", "joint_inside_margin")
    return {**found, **dict(zip(names, joint, strict=True))}


def _of_loss(loss: Floats, *, tokens: bool) -> dict[str, Any]:
    """The mean loss and its change; of tokens also as a perplexity, with its own interval."""
    change = Moments.over(loss - loss[:1], axis=1)
    low, high = change.interval()
    found = {"loss": loss.mean(1), "delta_loss": change.mean, "delta_loss_low": low,
             "delta_loss_high": high}  # fmt: skip
    if tokens:
        ends = _ends("perplexity_low", "perplexity_high", loss)
        found |= {"perplexity": np.exp(found["loss"]), **{k: np.exp(v) for k, v in ends.items()}}
    return found
