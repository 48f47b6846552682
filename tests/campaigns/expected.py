"""What tables say, once more: from logits and labels, by the definitions, with SciPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

Floats = NDArray[np.float64]


def student(values, axis: int = -1) -> tuple[Floats, Floats, Floats]:
    """A mean with Student's interval at 95 %; NaN counts for nothing."""
    values = np.asarray(values, dtype=float)
    count = (~np.isnan(values)).sum(axis)
    with np.errstate(all="ignore"):
        mean = np.where(count > 0, np.nansum(values, axis) / count, np.nan)
        error = np.sqrt(np.nansum((values - np.expand_dims(mean, axis)) ** 2, axis) / (count - 1))
        half = stats.t.ppf(0.975, count - 1) * error / np.sqrt(count)
    return mean, mean - half, mean + half


def losses(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y, reduction="none")


def margins(logits: Tensor, y: Tensor) -> Tensor:
    true = F.one_hot(y, logits.shape[1]).bool()
    return logits[true] - logits.masked_fill(true, -torch.inf).amax(1)


def divergence(whole: Tensor, logits: Tensor) -> Tensor:
    """KL of the whole network's distribution from this one."""
    return F.kl_div(logits.log_softmax(1), whole.softmax(1), reduction="none").sum(1)


def of_edits(logits: Sequence[Tensor], y: Tensor) -> dict[str, Floats]:
    """The columns of a lesion by name, `[edits]`, from logits `[n, classes]`, the whole's first."""
    rows = [_of_edit(each, logits[0], y) for each in logits]
    return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}


def _of_edit(logits: Tensor, whole: Tensor, y: Tensor) -> dict[str, float]:
    n, right, before = len(y), logits.argmax(1) == y, whole.argmax(1) == y
    lost, gained = int((before & ~right).sum()), int((right & ~before).sum())
    error, errs = 100 * (1 - right.double().mean()), int((~right).sum())
    ends = stats.binomtest(errs, n).proportion_ci(method="wilson")
    change, low, high = student(losses(logits, y) - losses(whole, y))
    found = {
        "correct": int(right.sum()), "images": n, "error_pct": error, "lost": lost,
        "gained": gained, "delta_pct": 100 * (lost - gained) / n,
        "ci_low_pct": 100 * ends.low, "ci_high_pct": 100 * ends.high,
        "p_value": stats.binomtest(lost, lost + gained).pvalue if lost + gained else 1.0,
        "loss": losses(logits, y).mean(), "delta_loss": change, "delta_loss_low": low,
        "delta_loss_high": high, "kl_from_whole": divergence(whole, logits).mean(),
        "changed_pct": 100 * (logits.argmax(1) != whole.argmax(1)).double().mean(),
        "margin_drop": (margins(whole, y) - margins(logits, y)).mean(),
    }  # fmt: skip
    if logits is not whole:
        found |= _bonett_price(lost, gained, n)
    return {"delta_low_pct": np.nan, "delta_high_pct": np.nan, **found}


def _bonett_price(lost: int, gained: int, n: int) -> dict[str, float]:
    worse, better, z = (lost + 1) / (n + 2), (gained + 1) / (n + 2), stats.norm.ppf(0.975)
    half = z * np.sqrt((worse + better - (worse - better) ** 2) / (n + 2))
    ends = (worse - better - half, worse - better + half)
    return dict(zip(("delta_low_pct", "delta_high_pct"), np.clip(ends, -1, 1) * 100, strict=True))
