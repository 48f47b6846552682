"""The root mean square norm over all single paths of a length, through random signs.

With independent signs ε_b = ±1 on the branches, every path P carries ε_P = Π ε_b, and of the square
of Σ ε_P g_P over the paths of one length only Σ ‖g_P‖² remains on average.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from resnet_probe.engine.spectrum import gradients_by_length
from resnet_probe.stats.moments import Floats
from resnet_probe.stats.path_lengths import log10_paths
from resnet_probe.studies.paths.intervals import Interval, spread
from resnet_probe.studies.paths.norms import blame, precise_norms
from resnet_probe.studies.paths.passes import Batch
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.paths.seeds import generator_for


@dataclass
class SignedSums:
    """Collects ‖Σ ε_P g_P‖² for a number of sign vectors, other ones for every image.

    The mean of these squares is unbiased for each image; its root is taken image by image, then
    averaged over images.  The interval, and the correction of the root's small bias, are those of
    the jackknife over the independent draws.  Where there are no more sign vectors than asked for,
    each is taken once and the answer is exact: as negating all signs changes no norm, that takes
    2^(N − 1).
    """

    request: Request
    roots: Floats = field(init=False)
    relative_roots: Floats = field(init=False)
    images: int = 0
    known: int = 0

    def __post_init__(self) -> None:
        # Row 0: roots from all draws, added up over images; row d: from all draws but the d-th.
        self.roots = np.zeros((self.draws + 1, self.request.most + 1))
        self.relative_roots = np.zeros_like(self.roots)

    @property
    def enumerated(self) -> bool:
        blocks = self.request.blocks
        return blocks <= 30 and 2 ** (blocks - 1) <= self.request.signs

    @property
    def draws(self) -> int:
        return 2 ** (self.request.blocks - 1) if self.enumerated else self.request.signs

    def add(self, batch: Batch, tick: Callable[[int], None]) -> None:
        """All draws of a batch; raises `ProbeError` where a gradient is not finite."""
        squares = []
        for draw in range(self.draws):
            squares.append(self._squares(batch, draw))
            tick(len(batch))
        total = torch.stack(squares).sum(0)
        self._take(0, batch, total / self.draws)
        for draw, square in enumerate(squares, start=1):
            self._take(draw, batch, (total - square) / max(self.draws - 1, 1))
        self.images += len(batch)
        self.known += int((batch.whole > 0).sum())

    def rms(self) -> Interval:
        """Means over images of the root mean square norm of the paths of each length."""
        return self._interval(self.roots / self.images)

    def relative(self) -> Interval:
        """The same in units of each image's whole gradient."""
        return self._interval(self.relative_roots / (self.known or np.nan))

    def signs(self, start: int, stop: int, draw: int) -> Tensor:
        """±1 for images `start` to `stop`, `[n, blocks]`: the same whatever the batch."""
        blocks = self.request.blocks
        if self.enumerated:
            bits = torch.tensor([draw >> position & 1 for position in range(blocks)])
            return (1 - 2 * bits).expand(stop - start, -1)
        generators = (
            generator_for(self.request.seed, "signs", draw, image) for image in range(start, stop)
        )
        return torch.stack([torch.randint(2, (blocks,), generator=g) for g in generators]) * 2 - 1

    def _squares(self, batch: Batch, draw: int) -> Tensor:
        """Squared norms `[lengths, n]`, in float64."""
        signs = self.signs(batch.start, batch.start + len(batch), draw)
        rows = gradients_by_length(
            batch.frozen,
            batch.gradient,
            most=self.request.most,
            signs=signs.to(batch.gradient),
            chunk=batch.chunk,
        )
        norms = precise_norms(rows)
        if not torch.isfinite(norms).all():
            blame(batch, most=self.request.most)
        return norms.square()

    def _take(self, row: int, batch: Batch, mean_square: Tensor) -> None:
        root = mean_square.clamp(min=0).sqrt()
        self.roots[row] += (root * batch.size).sum(1).cpu().numpy()
        self.relative_roots[row] += (root * batch.per_whole).nansum(1).cpu().numpy()

    def _interval(self, roots: Floats) -> Interval:
        per_path = roots / 10 ** (log10_paths(self.request.blocks)[: roots.shape[1]] / 2)
        whole, without = per_path[0], per_path[1:]
        if self.enumerated:
            return Interval(whole, whole, whole)
        if self.draws == 1:
            return spread(whole, np.full_like(whole, np.nan), 1, positive=True)
        pseudo = self.draws * whole - (self.draws - 1) * without
        error = pseudo.std(0, ddof=1) / np.sqrt(self.draws)
        return spread(pseudo.mean(0), error, self.draws, positive=True)
