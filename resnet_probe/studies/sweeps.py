"""Named lists of edits: what papers do to the blocks of a network, one list a name.

A row of `SWEEPS` makes a list of pairs: what a table calls the edit, and the edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from resnet_probe.edits import VALUES, Edit, generator_for
from resnet_probe.errors import ProbeError
from resnet_probe.stats.moments import Moments

if TYPE_CHECKING:
    from resnet_probe.chain import ResidualChain

Named = tuple[str, Edit]
Make = Callable[["ResidualChain", Any], Iterable[Named]]
ROUNDS = 3
"""Of looped parallel blocks, as in Sun et al. 2025."""
MIDDLES = ("skip", "reverse", "shuffle", "repeat", "parallel", "looped")
"""What is done to growing middles (Sun et al. 2025, arXiv 2407.09298, figure 3 and section 3)."""


def ranges(chain: ResidualChain, settings: Any) -> Iterator[Named]:
    """Every range of consecutive blocks deleted (Gromov et al. 2024, arXiv 2403.17887), but all."""
    for first in range(1, len(chain) + 1):
        for last in range(first, len(chain) + 1):
            yield "delete", Edit.delete(*range(first, last + 1))


def neighbours(chain: ResidualChain, settings: Any) -> Iterator[Named]:
    """Each block exchanged with the next one (Lad et al. 2024, arXiv 2406.19384), where both keep
    one shape."""
    for run in movable(chain):
        for one, other in pairwise(run):
            yield "swap", Edit.swap(one, other)


def cut(chain: ResidualChain, settings: Any) -> Iterator[Named]:
    """Each shortcut left out, beside each branch left out."""
    for block in chain.blocks:
        yield "delete", Edit.delete(block.number)
        yield "cut", Edit.cut(block.number)


def values(chain: ResidualChain, settings: Any) -> Iterator[Named]:
    """Each branch replaced by each value; a linear map where the places correspond."""
    from resnet_probe.engine.values import strides_of

    for block in chain.blocks:
        for value in VALUES:
            if value != "linear" or strides_of(block) is not None:
                yield value, replace(Edit.replace(block.number, value), edits=1)


def movable(chain: ResidualChain) -> list[list[int]]:
    """Runs of neighbouring blocks of one stage that keep one shape, and so may change places."""
    found: list[list[int]] = []
    for stage in chain.stages:
        before: int | None = None
        for number in stage:
            block = chain.block(number)
            if not block.keeps_shape:
                before = None
                continue
            fits = before == number - 1 and chain.block(before).out_shape == block.in_shape
            if not fits:
                found.append([])
            found[-1].append(number)
            before = number
    return [run for run in found if run]


def middles(chain: ResidualChain, least: int = 2) -> Iterator[list[list[int]]]:
    """The middle 2, 3, … blocks of every run of movable ones, of shorter runs all."""
    runs = [run for run in movable(chain) if len(run) >= least]
    if not runs:
        raise ProbeError(
            f"{chain.name} has no two neighbouring {chain.unit}s that keep one shape: it has no "
            "middle to change"
        )
    for count in range(least, max(map(len, runs)) + 1):
        yield [_middle(run, min(count, len(run))) for run in runs]


def _middle(run: Sequence[int], count: int) -> list[int]:
    start = (len(run) - count) // 2
    return list(run[start : start + count])


def _of_middles(kind: str, make: Callable[[list[int]], Edit]) -> Make:
    def made(chain: ResidualChain, settings: Any) -> Iterator[Named]:
        for parts in middles(chain):
            edit = Edit()
            for part in parts:
                edit >>= make(part)
            yield kind, _touching(edit, parts)

    return made


def _touching(edit: Edit, parts: Sequence[Sequence[int]]) -> Edit:
    """Named in a table by the blocks that it touches."""
    touched = [number for part in parts for number in part]
    return replace(edit, edits=len(touched), blocks=" ".join(map(str, touched)))


def _centre_again(part: list[int]) -> Edit:
    """The block in the centre in the place of each."""
    centre = part[(len(part) - 1) // 2]
    others = Edit.delete(*(number for number in part if number != centre))
    return others >> Edit.repeat(centre, times=len(part))


def shuffle(chain: ResidualChain, settings: Any) -> Iterator[Named]:
    """`draws` random orders of each middle."""
    import torch

    for parts in middles(chain):
        count = max(map(len, parts))
        for draw in range(1, settings.draws + 1):
            edit, generator = Edit(), generator_for(settings.seed, "shuffle", count, draw)
            for part in parts:
                picked = torch.randperm(len(part), generator=generator).tolist()
                edit >>= Edit.order(part[place] for place in picked)
            yield "shuffle", replace(_touching(edit, parts), draw=draw)


def all_middles(chain: ResidualChain, settings: Any) -> Iterator[Named]:
    """All that is done to growing middles, side by side."""
    for name in MIDDLES:
        yield from SWEEPS[name](chain, settings)


SWEEPS: Mapping[str, Make] = {
    "ranges": ranges,
    "neighbours": neighbours,
    "cut": cut,
    "replace": values,
    "skip": _of_middles("skip", lambda part: Edit.delete(*part)),
    "reverse": _of_middles("reverse", lambda part: Edit.reverse(part[0], part[-1])),
    "shuffle": shuffle,
    "repeat": _of_middles("repeat", _centre_again),
    "parallel": _of_middles("parallel", lambda part: Edit.parallel(part[0], part[-1])),
    "looped": _of_middles("looped", lambda part: Edit.parallel(part[0], part[-1], rounds=ROUNDS)),
    "middles": all_middles,
}


def made(chain: ResidualChain, settings: Any) -> list[Named]:
    """The baseline, then the edits of a sweep, or those that are listed.

    Raises `ProbeError` for an edit that the chain cannot have, and where there is none.
    """
    found: list[Named] = [("baseline", Edit())]
    if settings.edits is not None:
        found += [(edit.kind, edit) for edit in settings.edits]
    else:
        found += SWEEPS[settings.edit](chain, settings)
    if len(found) == 1:
        raise ProbeError(f"{settings.edit} has no edit that {chain.name} can have")
    for _, edit in found:
        edit.steps(chain)
    return found


def by_kind(names: Sequence[str], correct: np.ndarray, loss: np.ndarray) -> dict[str, Any]:
    """What each kind of edit changes, in the mean over its edits; intervals are over images.

    `correct` and `loss` are `[edits, images]`, the baseline first.  Kinds whose edits stand block
    by block beside a first kind, deletions or zeros, are held against it image by image:
    `more_than_KIND_pct`, points of error, and `saved_share_pct`, the share of the first kind's loss
    that is saved, with the interval of Fieller 1954.
    """
    kinds = np.array(names)
    wrong, nats = 100.0 * ~correct, loss.astype(np.float64)
    found: dict[str, Any] = {}
    each = {}
    for kind in dict.fromkeys(names[1:]):
        here = kinds == kind
        each[kind] = (wrong[here] - wrong[:1]).mean(0), (nats[here] - nats[:1]).mean(0)
        ends = [_interval(change) for change in each[kind]]
        found[kind] = {"edits": int(here.sum()), "delta_pct": ends[0], "delta_loss": ends[1]}
    facts: dict[str, Any] = {"by_kind": found}
    first = names[1]
    beside = [k for k in each if k != first and found[k]["edits"] == found[first]["edits"]]
    if first in ("delete", VALUES[0]) and beside:
        facts[f"more_than_{first}_pct"] = {
            kind: _interval(each[kind][0] - each[first][0]) for kind in beside
        }
        facts["saved_share_pct"] = {
            kind: share_of(each[first][1] - each[kind][1], each[first][1])
            for kind in beside
            if kind in VALUES
        }
    return facts


def _interval(values: np.ndarray) -> list[float]:
    """A mean change over images with Student's interval."""
    mean = Moments.over(values)
    low, high = mean.of_changes()
    return [float(mean.mean), float(low), float(high)]


def share_of(part: np.ndarray, whole: np.ndarray) -> list[float]:
    """100 · mean of `part` over mean of `whole`, paired over images, with Fieller's interval.

    The bounds are the ratios r for which part − r · whole has a mean that may be 0; without an
    interval where the mean of `whole` itself may be 0 (Fieller 1954).
    """
    count = len(part)
    ratio = 100 * float(part.mean() / whole.mean()) if whole.mean() else np.nan
    if count < 2:
        return [ratio, np.nan, np.nan]
    (vp, cov), (_, vw) = np.cov(part, whole) / count
    t = float(student.ppf(0.975, count - 1))
    a = whole.mean() ** 2 - t**2 * vw
    b = part.mean() * whole.mean() - t**2 * cov
    c = part.mean() ** 2 - t**2 * vp
    if a <= 0 or b * b < a * c:
        return [ratio, np.nan, np.nan]
    ends = ((b - (b * b - a * c) ** 0.5) / a, (b + (b * b - a * c) ** 0.5) / a)
    return [ratio, 100 * float(ends[0]), 100 * float(ends[1])]
