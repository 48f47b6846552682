"""Norms of stacked gradients, and the refusal of those that are not finite."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import torch
from torch import Tensor

from resnet_probe.engine.path_sums import PathSums
from resnet_probe.engine.pullback.chain import BlockPullback
from resnet_probe.engine.spectrum import gradients_by_length
from resnet_probe.errors import ProbeError
from resnet_probe.studies.paths.passes import Batch


class Profile(NamedTuple):
    """Of gradients `[rows, n, *shape]` and the whole `[n, *shape]`, all in float64.

    `whole` `[n]` and `norms` `[rows, n]`: their norms; `along` `[rows, n]`: the products with the
    whole; `left` `[n]`: the norm of the whole less all rows.  `gap_of_sum` and `gap_of_whole`
    `[n]`: the norms of an expected gradient less all rows, and less the whole.
    """

    whole: Tensor
    norms: Tensor
    along: Tensor
    left: Tensor
    gap_of_sum: Tensor
    gap_of_whole: Tensor


def precise_norms(rows: PathSums) -> Tensor:
    """Norms `[rows, n]`, added up in float64."""
    return torch.stack([row.norm(dim=1) for row in rows.precise()])


def profile(rows: PathSums, expected: Tensor) -> Profile:
    """Of rows that begin with the whole gradient; `expected` `[n, *shape]` is to be that."""
    precise = rows.precise()
    whole = next(precise)
    apart = expected.double().flatten(1) - whole
    left, norms, along = whole.clone(), [], []
    for row in precise:
        left -= row
        norms.append(row.norm(dim=1))
        along.append((row * whole).sum(1))
    return Profile(
        whole.norm(dim=1), torch.stack(norms), torch.stack(along), left.norm(dim=1),
        (apart + left).norm(dim=1), apart.norm(dim=1),
    )  # fmt: skip


def refuse_not_finite(norms: Tensor, start: int, block: BlockPullback | None = None) -> None:
    """Raise `ProbeError` unless the norms `[lengths, n]` are finite, naming block and length.

    `start` is the number of the first image; without `block` the place is where they were asked.
    """
    if torch.isfinite(norms).all():
        return
    length, image = torch.nonzero(~torch.isfinite(norms))[0].tolist()
    where = (
        f"the input of block {block.block.number} ({block.block.name})"
        if block
        else "the end of its way"
    )
    raise ProbeError(
        f"the gradient of the paths of {length} blocks is not finite at {where}, for image "
        f"{start + image}: it is NaN or Inf there; if the weights are sound, precision=float64 "
        "has more room"
    )


def blame(batch: Batch, *, most: int) -> NoReturn:
    """Raise as `refuse_not_finite` does at the first block where a sum over paths is not finite."""

    def watch(block: BlockPullback, rows: PathSums, norms: Tensor) -> None:
        refuse_not_finite(norms, batch.start, block)

    rows = gradients_by_length(
        batch.frozen, batch.gradient, most=most, chunk=batch.chunk, watch=watch
    )
    refuse_not_finite(rows.norms(), batch.start)
    raise ProbeError(
        f"the gradient of single paths is not finite for images {batch.start}–"
        f"{batch.start + len(batch) - 1}, although the sums over all paths are: precision="
        "float64 has more room"
    )
