"""What the studies of paths and of flow have to say of a network."""

from __future__ import annotations

from math import comb

import numpy as np
import torch
from campaigns.case import Case
from campaigns.expected import losses, student
from campaigns.plain import Plain, inner, over, pulled, pushed, size
from torch import Tensor

from resnet_probe.edits import generator_for

# ---- paths

Paths = dict[tuple[int, ...], Tensor]
"""The gradient of each single path, by the blocks whose branches it takes."""


def single_paths(plain: Plain, x: Tensor, y: Tensor, first: int) -> dict[int, Paths]:
    """By place, from the last block's input to that of `first`, and with the first block 0."""
    trace = plain.run(x)
    ones = torch.ones(len(x), dtype=torch.float64)
    paths = {(): pulled(lambda h: losses(plain.head(h), y), trace.h, ones)}
    found = {}
    for seen in reversed(trace.blocks[first - 1 :]):
        b, new = seen.number, {}
        for path, gradient in paths.items():
            g = pulled(lambda total, b=b: plain.after(b, total), seen.total, gradient)
            new[path] = pulled(lambda h, b=b: plain.shortcut(b, h), seen.h, g)
            new[(b, *path)] = pulled(lambda h, b=b: plain.branch(b, h), seen.h, g)
        found[b] = paths = new
    if first == 1:
        found[0] = {path: pulled(plain.stem, x.double(), g) for path, g in paths.items()}
    return found


def of_length(paths: Paths, length: int) -> list[Tensor]:
    return [g for path, g in paths.items() if len(path) == length]


def paths(case: Case) -> None:
    (x, y), pick = case.some(), case.pick
    at = pick.choice(["input", "input", "stem", str(pick.choice(case.blocks))])
    place = 0 if at == "input" else 1 if at == "stem" else int(at)
    first = max(place, 1)
    count = len(case.blocks) - first + 1
    most = pick.choice([count, count, pick.randint(0, count)])
    result = case.ask("paths", x, y, at=at, max_length=most, signs=16, samples=3 * len(y),
                      precision="float64" if case.double else "float32")  # fmt: skip
    table, every = result.table, single_paths(case.plain, x, y, first)
    exact = table[table["method"] == "exact"]
    for where in ([0] if place == 0 else []) + list(case.blocks)[first - 1 :]:
        _exact_at(case, exact[exact["block"] == where], every[where], most)
    _whole_of_paths(case, exact[exact["block"] == place], every[place], most)
    _single(case, table, every[place], count, most)


def _row(case: Case, rows, name: str, values: Tensor, length=None, times: float = 5) -> None:
    """The mean; where it is one over images, both it and its ends are Student's or positive."""
    row = rows[rows["quantity"] == name]
    row = row if length is None else row[row["length"] == length]
    assert len(row) == 1, (name, length)
    case.near(row["value"].item(), student(values)[0], (name, length), times=times)


def _exact_at(case: Case, rows, every: Paths, most: int) -> None:
    whole = sum(every.values())
    longest = max(map(len, every))
    unit = size(whole).where(size(whole) > 0, torch.nan)
    for k in range(min(most, longest) + 1):
        sums = size(sum(of_length(every, k)))
        _row(case, rows, "norm_of_sum", sums, k)
        row = rows[(rows["quantity"] == "norm_of_sum") & (rows["length"] == k)]
        case.near(row["relative"].item(), student(sums / unit)[0], k, times=5)
        case.near(row["paths_log10"], [np.log10(comb(longest, k))])
    identity, rest = every[()], whole - every[()]
    _row(case, rows, "gradient_norm", size(whole))
    _row(case, rows, "rest_norm", size(rest))
    least = 1e-9 if case.double else 1e-4
    if (size(rest) > least * size(identity)).all() and (size(identity) > least * size(rest)).all():
        _row(case, rows, "cosine", over(inner(identity, rest), size(identity) * size(rest)))
    along = over(inner(rest, identity), size(identity) ** 2)
    _row(case, rows, "rest_along_identity", along)
    near = ((along + 1).abs() <= 0.5).double().where(~along.isnan(), torch.nan)
    if not ((along + 1).abs() - 0.5).abs().lt(1e-3).any():
        _row(case, rows, "near_cancellation", near)


def _whole_of_paths(case: Case, rows, every: Paths, most: int) -> None:
    whole = sum(every.values())
    unit = size(whole).where(size(whole) > 0, torch.nan)
    sums = [sum(of_length(every, k)) for k in range(most + 1)]
    for k, each in enumerate(sums):
        _row(case, rows, "share", inner(each, whole) / unit**2, k)
    _row(case, rows, "cancellation", sum(map(size, sums)) / unit)
    if most < max(map(len, every)):
        _row(case, rows, "left_out", size(whole - sum(sums)) / unit)


def _single(case: Case, table, every: Paths, count: int, most: int) -> None:
    """Root mean squares and coherences of all single paths; the sampled ones, draw by draw."""
    whole = size(sum(every.values()))
    unit = whole.where(whole > 0, torch.nan)
    of_all, sampled = (table[table["method"] == each] for each in ("all", "sample"))
    n, draws = len(whole), 3 * len(whole)
    mixed = torch.randperm(n, generator=generator_for(0, "groups")).tolist()
    orders = [torch.randperm(count, generator=generator_for(0, "order", draw)).tolist()
              for draw in range(draws)]  # fmt: skip
    lowest = len(case.blocks) - count + 1
    for k in range(most + 1):
        norms = torch.stack([size(g) for g in of_length(every, k)])
        rms = norms.square().mean(0).sqrt()
        _row(case, of_all, "rms_norm", rms, k)
        row = of_all[(of_all["quantity"] == "rms_norm") & (of_all["length"] == k)]
        case.near(row["relative"].item(), student(rms / unit)[0], k, times=5)
        sums = size(sum(of_length(every, k)))
        above, below = (sums / unit).square(), (norms / unit).square().sum(0)
        row = of_all[(of_all["quantity"] == "coherence") & (of_all["length"] == k)]
        ratio = float(above.nansum() / below.nansum()) if below.nansum() > 0 else np.nan
        faint = not (norms > (1e-9 if case.double else 1e-3) * whole).any()
        case.near(
            row["value"].item(), row["value"].item() if faint else ratio, ("coherence", k), times=5
        )
        drawn = [size(every[tuple(sorted(lowest + b for b in order[:k]))])[mixed[draw % n]]
                 for draw, order in enumerate(orders)]  # fmt: skip
        row = sampled[(sampled["quantity"] == "mean_norm") & (sampled["length"] == k)]
        case.near(row["value"].item(), torch.stack(drawn).mean(), ("sampled", k), times=5)


# ---- flow


def flow(case: Case) -> None:
    x, y = case.some()
    plain, init = case.initial(x)
    table = case.ask("flow", x, y, init=init).table
    trace, ones = plain.run(x), torch.ones(len(y), dtype=torch.float64)

    def told(name: str):
        rows = table[table["quantity"] == name].sort_values("block")
        return rows[["value", "ci_low", "ci_high"]].to_numpy().T

    steps = [(b, 1.0) for b in case.blocks]
    sizes = torch.stack([
        size(pulled(lambda h, b=b: losses(plain.onward(h, steps[b - 1 :]).logits, y), s.h, ones))
        for b, s in enumerate(trace.blocks, start=1)
    ])  # fmt: skip
    case.near(told("gradient_log10"), student(sizes.log10() - sizes[-1].log10()), times=5)
    parts = [trace.blocks[0].h, *(seen.branch for seen in trace.blocks)]
    lead = trace.logits.amax(1) - trace.logits.mean(1)
    states, answers = [], []
    for place, part in enumerate(parts):
        for seen in trace.blocks[max(place - 1, 0) :]:
            b = seen.number
            if b > place:  # the branch itself is put in where the shortcut arrives
                part = pushed(lambda h, b=b: plain.shortcut(b, h), seen.h, part)
            part = pushed(lambda total, b=b: plain.after(b, total), seen.total, part)
        states.append(over(inner(part, trace.h), size(trace.h) ** 2))
        one = pushed(lambda h: (z := plain.head(h)).amax(1) - z.mean(1), trace.h, part)
        answers.append(one / lead)
    for name, shares in (("state_share", states), ("logit_share", answers)):
        shares = torch.stack([*shares, 1 - sum(shares)])
        case.near(told(name), student(shares), name, times=20)
    falling = told("falling_pct")[0]
    for seen, value in zip(trace.blocks, falling, strict=True):
        if value == value:
            lower = (seen.out < seen.h).flatten(1).double().mean(1)
            case.near(value, 100 * lower.mean(), "falling")
        plan = plain.blocks[seen.number - 1].plan
        assert (value != value) == (plan.halves or plan.adds in ("add_", "+="))


CHECKS = {check.__name__: check for check in (paths, flow)}
