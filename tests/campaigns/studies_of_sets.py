"""What the studies of all subsets of blocks, and of votes, have to say of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import factorial

import numpy as np
import pandas as pd
import torch
from campaigns.case import Case
from campaigns.expected import losses, margins, student
from campaigns.programs import CLASSES
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.studies.agreement import AgreementSettings, edits_of


def subsets(some: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return (each for k in range(len(some) + 1) for each in combinations(some, k))


def attribute(case: Case) -> None:
    x, y = case.some()
    n, pick = len(case.blocks), case.pick
    sampled = pick.random() < 0.3
    result = case.ask("attribute", x, y, permutations=3 if sampled else None)
    table = result.table
    values = {}
    for subset in product((0.0, 1.0), repeat=n):
        logits = case.plain.run(x, subset).logits
        right = 100 * (logits.argmax(1) == y).double()
        values[subset] = torch.stack([right, losses(logits, y), margins(logits, y)]).numpy()
    whole, none = values[(1.0,) * n], values[(0.0,) * n]

    def off(*gone: int) -> np.ndarray:
        return values[tuple(float(b not in gone) for b in case.blocks)]

    def shapley(b: int) -> np.ndarray:
        rest, found = [o for o in case.blocks if o != b], np.zeros_like(whole)
        for some in subsets(rest):
            weight = factorial(len(some)) * factorial(n - len(some) - 1) / factorial(n)
            shut = [o for o in rest if o not in some]
            found += weight * (off(*shut) - off(*shut, b))
        return found

    integrals = _integrals(case, x, y) if "gradients" in set(table["method"]) else None
    for row in table.rename(columns={"class": "of"}).itertuples():
        m = ("accuracy", "loss", "margin").index(row.metric)
        mine = np.ones(len(y), bool) if pd.isna(row.of) else (y == row.of).numpy()
        ends = [row.value, row.ci_low, row.ci_high]
        if row.method in ("network", "none"):
            each = (whole if row.method == "network" else none)[m]
            case.near(ends[: 1 if m == 0 else 3], student(each)[: 1 if m == 0 else 3], row)
        elif row.method == "ablation":
            case.near(ends, student((whole - off(row.block))[m, mine]), row, least=1)
        elif row.method == "interactions":
            beyond = off(row.block) + off(row.other) - whole - off(row.block, row.other)
            case.near(ends, student(beyond[m]), row, least=1)
        elif row.method == "shapley" and not sampled:
            case.near(ends, student(shapley(row.block)[m]), row, least=1)
        elif row.method == "gradients":
            each = integrals[m - 1, row.block - 1]
            size = np.abs(integrals[m - 1]).mean(1).max()  # its steps suffice for the sum
            assert abs(row.value - each.mean()) < 0.05 * size + 1e-5, row
    _adds_up(case, table, "shapley", (whole - none).mean(1), ("accuracy", "loss", "margin"))


def _adds_up(case: Case, table, method: str, whole, metrics: Sequence[str]) -> None:
    rows = table[table["method"] == method]
    for metric, gap in zip(metrics, whole, strict=True):
        case.near(rows.loc[rows["metric"] == metric, "value"].sum(), gap, (method, metric), least=1)


def _integrals(case: Case, x: Tensor, y: Tensor, steps: int = 100) -> np.ndarray:
    """Integrated gradients of loss and margin along all gates at once, `[2, blocks, n]`."""
    at = torch.linspace(0, 1, 2 * steps + 1, dtype=torch.float64)[1::2]
    gates = at.repeat_interleave(len(y)).expand(len(case.blocks), -1).clone().requires_grad_()
    logits = case.plain.run(x.repeat(steps, 1, 1, 1), list(gates)).logits
    many = y.repeat(steps)
    found = [torch.autograd.grad(of(logits, many).sum(), gates, retain_graph=True)[0]
             for of in (losses, margins)]  # fmt: skip
    return torch.stack(found).view(2, len(case.blocks), steps, len(y)).mean(2).numpy()


def interactions(case: Case) -> None:
    if len(case.blocks) < 2:
        return
    (x, y), pick = case.some(), case.pick
    gated = sorted(pick.sample(case.blocks, pick.randint(2, len(case.blocks))))
    what = pick.choice(["logits", "loss"])
    table = case.ask("interactions", x, y, blocks=tuple(gated), what=what, keep=(0.5, 0.9)).table
    value = {}
    for some in subsets(gated):
        logits = case.plain.without(x, *(b for b in gated if b not in some)).logits
        value[some] = (logits - logits.mean(1, keepdim=True) if what == "logits"
                       else losses(logits, y)[:, None]).numpy()  # fmt: skip

    def mean(some: tuple[int, ...], keep: float) -> np.ndarray:
        """The mean over the other gates, as a function of these."""
        rest = [b for b in gated if b not in some]
        total = {}
        for mine in subsets(some):
            total[mine] = sum(
                keep ** len(o) * (1 - keep) ** (len(rest) - len(o)) * value[tuple(sorted(mine + o))]
                for o in subsets(rest)
            )
        return total

    for keep, rows in table.groupby("keep"):
        parts = np.zeros(len(gated) + 1)
        for some in value:
            here = {}
            for inner in subsets(some):
                sign = (-1) ** (len(some) - len(inner))
                for on, each in mean(inner, keep).items():
                    here.setdefault(inner, {})[on] = sign * each
            for mine in subsets(some):
                effect = sum(of[tuple(b for b in mine if b in inner)] for inner, of in here.items())
                chance = keep ** len(mine) * (1 - keep) ** (len(some) - len(mine))
                parts[len(some)] += chance * (effect**2).sum()
        assert list(rows["order"]) == list(range(1, len(gated) + 1))
        if parts[1:].sum() > 1e-9 * parts.sum():  # else it is rounding
            case.near(rows["value"], 100 * parts[1:] / parts[1:].sum(), keep)


def agreement(case: Case) -> None:
    (x, y), most = case.some(), len(case.blocks)
    counts = tuple(range(1, most + 1))
    table = case.ask("agreement", x, y, counts=counts, draws=3).table
    every = edits_of(case.chain, AgreementSettings(counts=counts, draws=3))
    chance = {k: [] for k in (0, *counts)}
    for edit in every:
        gone = tuple(map(int, edit.blocks.split()))
        chance[len(gone)].append(case.plain.without(x, *gone).logits.softmax(1))
    truth = F.one_hot(y, CLASSES)
    for k, some in chance.items():
        p = torch.stack(some)
        wrong, average = (p.argmax(2) != y).double(), p.mean(0)
        rows = table[(table["edits"] == k) & table["kind"].isin(["whole", "lesioned"])]
        assert set(rows["networks"]) == {len(p)}
        told = rows.set_index("quantity")["value"]
        case.near(told["error_pct"], 100 * wrong.mean(), k)
        if not k:
            continue
        squared, ambiguity = (p - truth).square().sum(2), (p - average).square().sum(2)
        off = float((average.argmax(1) != y).double().mean())
        mean = float(wrong.mean())
        pairs = list(combinations(range(len(p)), 2))
        with np.errstate(all="ignore"):
            phi = [_phi(wrong[i], wrong[j]) for i, j in pairs]
        known = [each for each in phi if each == each]
        apart = [float((p[i].argmax(1) != p[j].argmax(1)).double().mean()) for i, j in pairs]
        for name, each in {
            "averaged_error_pct": 100 * off,
            "error_correlation": np.mean(known) if known else np.nan,
            "disagreement_pct": 100 * np.mean(apart) if pairs else np.nan,
            "squared_error": squared.mean(), "ambiguity": ambiguity.mean(),
            "ambiguity_pct": 100 * ambiguity.mean() / squared.mean(),
            "removed_pct": 100 * (mean - off) / mean if mean else np.nan,
        }.items():  # fmt: skip
            case.near(told[name], each, (k, name))
        if k == 1:
            for (i, j), one, other in zip(pairs, phi, apart, strict=True):
                mine = table[(table["block"] == i + 1) & (table["other"] == j + 1)]
                told = mine.set_index("quantity")["value"]
                case.near(told["error_correlation"], one, (i, j))
                case.near(told["disagreement_pct"], 100 * other, (i, j))


def _phi(one: Tensor, other: Tensor) -> float:
    if one.std() == 0 or other.std() == 0:
        return np.nan
    return float(np.corrcoef(one.numpy(), other.numpy())[0, 1])


CHECKS = {check.__name__: check for check in (attribute, interactions, agreement)}
