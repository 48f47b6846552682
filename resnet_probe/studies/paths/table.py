"""The table of a study of paths: long form, one quantity of one length or place a row.

| method | quantity | of |
|---|---|---|
| exact | `norm_of_sum` | ‖G[k]‖, Σ over all paths of length k, at the input of each block |
| exact | `share` | ⟨G[k], G⟩/‖G‖², the part of the whole gradient: these add up to 1 |
| exact | `gradient_norm` | ‖G‖, the whole gradient, at the input of each block |
| exact | `rest_norm` | ‖G − G[0]‖, all but the identity term, there |
| exact | `cosine` | between the identity term G[0] and the rest, there |
| exact | `rest_along_identity` | ⟨G − G[0], G[0]⟩/‖G[0]‖², there: −1 would cancel G[0] |
| exact | `near_cancellation` | the share of images where that is within 0.5 of −1 |
| exact | `cancellation` | Σ‖G[k]‖ / ‖G‖: how much larger the parts are than their sum |
| exact | `left_out` | ‖G − Σ G[k]‖ / ‖G‖, what was not followed: longer paths, lengths that died |
| all | `rms_norm` | root mean square norm of the single paths of length k, all of them |
| sample | `mean_norm` | mean norm of sampled single paths of length k |
| all | `coherence` | Σ‖G[k]‖² / ΣΣ‖g_P‖², over images and the paths of length k, beside `exact` |
| all | `rms_norm_without` | the same, without one `group` of images and what was drawn on them |
| sample | `mean_norm_without` | the same, without one `group` of images and their draws |

The coherence is 1 where the paths of a length point in independent directions, and C(N, k) where
all of them are one and the same; every image's gradients are in units of its whole one.

A length that has died out at a place (`tolerance`) has the norm 0 there, for the images where it
has; longer ones lack what it would have given them, and `left_out` has all of that.  Where it has
for some image, it has no coherence.

Gradients are those of one image's loss, values are means over images.  `relative` is the same mean
in units of each image's whole gradient there: every image counts alike, however sure the network is
of it.  Intervals are over images and all that was drawn on them.  Groups share nothing, and the
lengths of one group hang together: what is made of several lengths has its interval from what it is
without each group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.chain import ResidualChain
from resnet_probe.stats import wilson
from resnet_probe.stats.path_lengths import log10_paths, share_of_paths
from resnet_probe.studies.paths.collected import Collected
from resnet_probe.studies.paths.exact import Exact
from resnet_probe.studies.paths.intervals import (
    GroupSums,
    Interval,
    Means,
    grouped,
    ratio_of_sums,
)
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.paths.sample import SampledPaths
from resnet_probe.studies.paths.signs import SignedSums

COLUMNS = (
    "method", "quantity", "block", "name", "stage", "length", "paths_log10", "paths_share",
    "value", "ci_low", "ci_high", "relative", "relative_low", "relative_high", "images", "draws",
    "group",
)  # fmt: skip
ENDS = ("ci_low", "ci_high", "relative_low", "relative_high")
Row = dict[str, Any]


def tabulate(chain: ResidualChain, found: Collected, *, images: int) -> pd.DataFrame:
    """All rows of a study over `images` images."""
    rows: list[Row] = []
    if found.exact:
        rows += _exact(found.exact)
    if found.signed:
        rows += _signed(found.signed)
    if found.exact and found.signed:
        rows += _coherence(found.exact, found.signed)
    if found.sampled:
        rows += _sampled(found.sampled, images)
    frame = pd.DataFrame(rows)
    for column, fill in (("images", images), ("draws", 0)):
        known = frame[column] if column in frame else pd.Series(np.nan, frame.index)
        frame[column] = known.fillna(fill).astype(int)
    blocks = [("input", ""), *((block.name, str(block.stage)) for block in chain)]
    frame["name"] = [blocks[number][0] for number in frame["block"]]
    frame["stage"] = [blocks[number][1] for number in frame["block"]]
    for column in ("length", "group"):
        known = frame[column] if column in frame else pd.Series(pd.NA, frame.index)
        frame[column] = known.astype("Int64")
    return frame.reindex(columns=list(COLUMNS))


def _exact(found: Exact) -> Iterator[Row]:
    asked, means = found.request, found.means
    sums, relative_sums = _both(means, "norm_of_sum")
    rest, relative_rest = _both(means, "rest_norm")
    last = asked.first + asked.blocks
    for index, place in reversed(list(enumerate(found.places))):
        # Behind the input of block b lie only the blocks from b on, and so many lengths.
        both = (sums.at(index), relative_sums.at(index))
        yield from _by_length("exact", "norm_of_sum", asked, both, place, last - max(place, 1))
    shares = (means.interval("share"), None)
    yield from _by_length("exact", "share", asked, shares, asked.place)
    for index, place in reversed(list(enumerate(found.places))):
        for name in ("gradient_norm", "cosine", "rest_along_identity", "near_cancellation"):
            yield _row("exact", name, place, _interval(means, name).at(index))
        row = _row("exact", "rest_norm", place, rest.at(index))
        yield row | _named("relative", relative_rest.at(index))
    for name in ("cancellation", "left_out"):
        if name in means:
            yield _row("exact", name, asked.place, means.interval(name, positive=True))


def _signed(found: SignedSums) -> Iterator[Row]:
    for row in _grouped("all", "rms_norm", found.request, found.rms, found.relative):
        # One draw has no correction for the bias of the root, and so no interval.
        alone = found.draws == 1 and not found.enumerated
        yield {**row, "draws": found.draws, **(dict.fromkeys(ENDS, np.nan) if alone else {})}


def _coherence(exact: Exact, signed: SignedSums) -> Iterator[Row]:
    """Sums over images divided, by jackknife over groups of images on the log scale."""
    above, below = (np.hstack(parts).T for parts in (exact.squares, signed.squares))
    known = ~(np.isnan(above) | np.isnan(below)).any(axis=1)
    sums = [grouped(part[known], np.flatnonzero(known)) for part in (above, below)]
    if exact.request.tolerance:
        sums[0][:, (above[known] == 0).any(axis=0)] = np.nan
    found = (ratio_of_sums(*sums), None)
    for row in _by_length("all", "coherence", signed.request, found, signed.request.place):
        yield {**row, "draws": signed.draws}


def _sampled(found: SampledPaths, images: int) -> Iterator[Row]:
    used = sum(group.stop - group.start for group in found.groups(images))
    asked = found.request
    for row in _grouped("sample", "mean_norm", asked, found.mean, found.relative):
        yield {**row, "draws": asked.samples, "images": used}


def _grouped(
    method: str, quantity: str, asked: Request, value: GroupSums, relative: GroupSums
) -> Iterator[Row]:
    """The rows by length, and the same without each group where there are several."""
    both = (value.interval(), relative.interval())
    yield from _by_length(method, quantity, asked, both, asked.place)
    left_out = zip(value.left_out(), relative.left_out(), strict=False)
    for group, parts in enumerate(left_out if len(value.sums) > 1 else (), start=1):
        none = np.full_like(parts[0], np.nan)
        without = (Interval(parts[0], none, none), Interval(parts[1], none, none))
        for row in _by_length(method, f"{quantity}_without", asked, without, asked.place):
            yield {**row, "group": group}


def _both(means: Means, name: str) -> tuple[Interval, Interval]:
    """A norm, and the same in units of the whole gradient."""
    value = means.interval(name, positive=True)
    return value, means.interval(f"relative {name}", positive=True)


def _interval(means: Means, name: str) -> Interval:
    found = means[name]
    if name == "near_cancellation" and found.count.all():
        return Interval(found.mean, *wilson(np.rint(found.mean * found.count), found.count))
    return means.interval(name, positive=name == "gradient_norm")


def _by_length(
    method: str,
    quantity: str,
    asked: Request,
    found: tuple[Interval, Interval | None],
    place: int,
    behind: int | None = None,
) -> Iterator[Row]:
    """One row a length, from the values and, if they have it, from the same in relative units."""
    blocks = asked.blocks if behind is None else behind
    counts, shares = log10_paths(blocks), share_of_paths(blocks)
    for length in range(min(asked.most, blocks) + 1):
        counted = {"paths_log10": counts[length], "paths_share": shares[length]}
        row = _row(method, quantity, place, found[0], length) | counted
        yield row | (_named("relative", found[1], length) if found[1] else {})


def _row(method: str, quantity: str, place: int, found: Interval, length: int | None = None) -> Row:
    key = {"method": method, "quantity": quantity, "block": place, "length": length}
    return key | _named("value", found, length or 0)


def _named(name: str, found: Interval, index: int = 0) -> Row:
    """One element of an interval, under the names of its columns."""
    low, high = ("ci_low", "ci_high") if name == "value" else (f"{name}_low", f"{name}_high")
    values = (float(np.ravel(part)[index]) for part in found)
    return dict(zip((name, low, high), values, strict=True))
