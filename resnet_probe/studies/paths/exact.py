"""The exact gradient of every path length, and how it is put together on its way back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_probe.engine.path_sums import PathSums
from resnet_probe.engine.pullback.chain import BlockPullback
from resnet_probe.engine.spectrum import gradients_by_length
from resnet_probe.stats.moments import Floats
from resnet_probe.studies.paths.intervals import Means
from resnet_probe.studies.paths.norms import Profile, profile, refuse_not_finite
from resnet_probe.studies.paths.passes import Batch
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.study import Arrays

NEAR = 0.5
"""The rest of a gradient is near cancelling the identity term within this of −1 along it."""


@dataclass
class Exact:
    """Collects, batch by batch, what the recursion shows.

    `means` holds the quantities of the table, over images: at all `places`, in their order, or at
    the last one; with `relative` before the name in units of the whole gradient there.  `gap` is
    how far all lengths together are from the gradient that plain autograd gives (or the whole
    gradient is, where lengths are left out), for each image and in units of it, and `bound` the sum
    of their norms.  `squares` are ‖G[k]‖² of each image `[lengths, n]` where the gradient is asked,
    in units of its whole gradient's square.
    """

    request: Request
    means: Means = field(default_factory=Means)
    gap: list[Floats] = field(default_factory=list)
    bound: list[Floats] = field(default_factory=list)
    squares: list[Floats] = field(default_factory=list)

    @property
    def places(self) -> list[int]:
        """From the last block down to where the gradient is asked, numbered as in `Request`."""
        last = self.request.first + self.request.blocks - 1
        blocks = list(range(last, self.request.first - 1, -1))
        return [*blocks, 0] if self.request.stem else blocks

    def measure(self, batch: Batch) -> Arrays:
        """Raises `ProbeError` where a gradient is not finite, naming block and length."""
        expected = batch.by_autograd()
        norms: list[Tensor] = []
        terms: list[Tensor] = []

        def watch(block: BlockPullback, rows: PathSums, found: Tensor) -> None:
            refuse_not_finite(found[1:], batch.start, block)
            norms.append(found)
            terms.append(two_terms(rows))

        rows = gradients_by_length(
            batch.frozen,
            batch.gradient,
            most=self.request.most,
            total=True,
            chunk=batch.chunk,
            tolerance=self.request.tolerance,
            watch=watch,
        )
        found = profile(rows, expected)
        refuse_not_finite(found.norms, batch.start)
        if not self.request.stem:  # the last block's input is the place: `found` is more precise
            norms.pop()
            terms.pop()
        norms.append(torch.cat([found.whole.unsqueeze(0), found.norms]))
        terms.append(two_terms(rows))
        means = self._of_places(_padded(norms), torch.stack(terms), batch.size)
        return {**self._sum_up(found, means), **means.arrays()}

    def take(self, found: Arrays) -> None:
        """What was measured on the next images."""
        self.gap.append(found["gap"])
        self.bound.append(found["bound"])
        self.squares.append(found["squares of sums"])
        self.means.merge(Means.from_arrays(found))

    def arrays(self) -> Arrays:
        """All that was collected, as `take` takes it."""
        gap, bound = (np.concatenate(parts) for parts in (self.gap, self.bound))
        kept = {"gap": gap, "bound": bound, "squares of sums": np.hstack(self.squares)}
        return {**kept, **self.means.arrays()}

    @staticmethod
    def _of_places(norms: Tensor, terms: Tensor, size: Tensor) -> Means:
        """`norms` `[places, 1 + lengths, n]`, the whole's first; `terms` `[places, 4, n]`."""
        whole = torch.where(norms[:, :1] > 0, norms[:, :1], torch.nan)
        rest, cosine, along, near = terms.unbind(1)
        means = Means()
        means.take("gradient_norm", norms[:, 0] * size)
        means.take("norm_of_sum", norms[:, 1:] * size)
        means.take("relative norm_of_sum", norms[:, 1:] / whole)
        means.take("rest_norm", rest * size)
        means.take("relative rest_norm", rest / whole[:, 0])
        means.take("cosine", cosine)
        means.take("rest_along_identity", along)
        means.take("near_cancellation", near)
        return means

    def _sum_up(self, found: Profile, means: Means) -> dict[str, NDArray[np.float64]]:
        whole = torch.where(found.whole > 0, found.whole, torch.nan)
        left, bound = found.left / whole, found.norms.sum(0) / whole
        gap = (found.gap_of_sum if self.request.whole else found.gap_of_whole) / whole
        means.take("share", found.along / whole**2)
        means.take("cancellation", bound)
        if not self.request.whole:
            means.take("left_out", left)
        kept = {"gap": gap, "bound": bound, "squares of sums": (found.norms / whole).square()}
        return {name: values.cpu().numpy() for name, values in kept.items()}


def two_terms(rows: PathSums) -> Tensor:
    """The terms of ∂E/∂x = ∂E/∂x_L (1 + …), He et al. 2016, equation 5, `[4, n]` in float64.

    `rows` begin with the whole gradient and its identity term.  Returned are the norm of the rest;
    the cosine between it and the identity term; how much of the identity term it holds, −1 cancels
    it; and 1 where that is within `NEAR` of −1, else 0.  NaN where there is no identity term.
    """
    unit = float(rows.scale[0])
    whole, identity = rows.values[0], rows.values[1] * (float(rows.scale[1]) / unit)
    axes = tuple(range(1, whole.dim()))
    rest = whole - identity
    one = torch.linalg.vector_norm(identity, dim=axes).double()
    other = torch.linalg.vector_norm(rest, dim=axes).double()
    product = (identity * rest).sum(dim=axes).double()
    along = product / one.square()
    near = torch.where(one > 0, ((along + 1).abs() <= NEAR).double(), torch.nan)
    return torch.stack([other * unit, product / (one * other), along, near])


def _padded(norms: list[Tensor]) -> Tensor:
    """Stacked, with zeros for the lengths that are not there yet."""
    most = len(norms[-1])
    return torch.stack(
        [torch.nn.functional.pad(part, (0, 0, 0, most - len(part))) for part in norms]
    )
