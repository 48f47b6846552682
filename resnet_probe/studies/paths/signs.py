"""The root mean square norm over all single paths of a length, through random signs.

With independent signs ε_b = ±1 on the branches, every path P carries ε_P = Π ε_b, and of the square
of Σ ε_P g_P over the paths of one length only Σ ‖g_P‖² remains on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from resnet_probe.edits import generator_for
from resnet_probe.engine.spectrum import gradients_by_length
from resnet_probe.stats.moments import Floats
from resnet_probe.stats.path_lengths import log10_paths
from resnet_probe.studies.paths.intervals import GROUPS, GroupSums
from resnet_probe.studies.paths.norms import blame, precise_norms
from resnet_probe.studies.paths.passes import Batch
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.study import Arrays


@dataclass
class SignedSums:
    """Collects ‖Σ ε_P g_P‖² for a number of sign vectors, other ones for every image.

    The mean of these squares is unbiased for each image; its root is taken image by image, its
    small bias corrected by the jackknife over the image's draws, then averaged over images.  As
    every image has draws of its own, the interval over images holds the error of both: a jackknife
    over groups of images.  Where there are no more sign vectors than asked for, each is taken once
    and every image's root is exact: as negating all signs changes no norm, that takes 2^(N − 1).
    `squares` are the means themselves, Σ ‖g_P‖² of each image, in units of its whole gradient's
    square.
    """

    request: Request
    roots: list[Floats] = field(default_factory=list)
    relative_roots: list[Floats] = field(default_factory=list)
    squares: list[Floats] = field(default_factory=list)

    @property
    def enumerated(self) -> bool:
        blocks = self.request.blocks
        return blocks <= 30 and 2 ** (blocks - 1) <= self.request.signs

    @property
    def draws(self) -> int:
        return 2 ** (self.request.blocks - 1) if self.enumerated else self.request.signs

    def measure(self, batch: Batch) -> Arrays:
        """All draws of a batch; raises `ProbeError` where a gradient is not finite."""
        squares = [self._squares(batch, draw) for draw in range(self.draws)]
        total = torch.stack(squares).sum(0)
        root = (total / self.draws).sqrt()
        if self.draws > 1 and not self.enumerated:
            rest = ((total - square).clamp(min=0).div(self.draws - 1).sqrt() for square in squares)
            root = self.draws * root - (self.draws - 1) * torch.stack(list(rest)).mean(0)
        return {
            "roots": (root * batch.size).cpu().numpy(),
            "relative roots": (root * batch.per_whole).cpu().numpy(),
            "relative squares": (total / self.draws * batch.per_whole.square()).cpu().numpy(),
        }

    def take(self, found: Arrays) -> None:
        """What was measured on the next images, `[lengths, n]` each."""
        self.roots.append(found["roots"])
        self.relative_roots.append(found["relative roots"])
        self.squares.append(found["relative squares"])

    def arrays(self) -> Arrays:
        """All that was collected, as `take` takes it."""
        kept = (self.roots, self.relative_roots, self.squares)
        names = ("roots", "relative roots", "relative squares")
        return {name: np.hstack(parts) for name, parts in zip(names, kept, strict=True)}

    @property
    def rms(self) -> GroupSums:
        """Root mean square norms of the paths of each length, by groups of images."""
        return self._grouped(self.roots)

    @property
    def relative(self) -> GroupSums:
        """The same in units of each image's whole gradient; without images that have none."""
        return self._grouped(self.relative_roots)

    def signs(self, images: Sequence[int], draw: int) -> Tensor:
        """±1 for the images of these numbers, `[n, blocks]`: the same whatever the batch."""
        blocks = self.request.blocks
        if self.enumerated:
            bits = torch.tensor([draw >> position & 1 for position in range(blocks)])
            return (1 - 2 * bits).expand(len(images), -1)
        generators = (generator_for(self.request.seed, "signs", draw, image) for image in images)
        return torch.stack([torch.randint(2, (blocks,), generator=g) for g in generators]) * 2 - 1

    def _squares(self, batch: Batch, draw: int) -> Tensor:
        """Squared norms `[lengths, n]`, in float64."""
        signs = self.signs(batch.numbers.tolist(), draw)
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

    def _grouped(self, parts: list[Floats]) -> GroupSums:
        roots = np.hstack(parts).T
        known = ~np.isnan(roots).any(axis=1, keepdims=True)
        per_path = np.where(known, roots, 0.0) / self._paths(roots.shape[1])
        return GroupSums.of(per_path, known.astype(float), np.arange(len(roots)) % GROUPS)

    def _paths(self, lengths: int) -> Floats:
        """√C(N, k)."""
        return np.asarray(10 ** (log10_paths(self.request.blocks)[:lengths] / 2))
