"""Random order, crops and mirrors, done on the device where the images lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from resnet_probe.training.recipe import Recipe
from resnet_probe.training.team import ALONE, Team

AVERAGED_AT_ONCE = 4096


class Step(NamedTuple):
    """Images ``[b, 3, h, w]`` and labels ``[b]`` of this process in one step.

    ``weight`` makes the mean over the processes of their mean losses that over all images; for a
    process alone it is 1.
    """

    images: Tensor
    labels: Tensor
    weight: float


@dataclass(frozen=True, eq=False)
class Batches:
    """The training images, padded once, and the labels; each pass over them is another draw.

    ``padded`` is uint8 ``[n, 3, h + 2·pad, w + 2·pad]``, ``labels`` int64 ``[n]``.
    """

    padded: Tensor
    labels: Tensor
    recipe: Recipe
    team: Team
    pad: int

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, recipe: Recipe, team: Team = ALONE) -> Batches:
        """From images uint8 ``[n, 3, h, w]``, on whatever device they are."""
        return cls(F.pad(images, [recipe.pad] * 4), labels, recipe, team, recipe.pad)

    def at(self, height: int | None) -> Batches:
        """The same images at this height, and padded in proportion; None for that they have."""
        if height is None or height == self.height:
            return self
        images = self.padded[..., self.pad :, self.pad :][..., : self.height, : self.width]
        pad = round(self.pad * height / self.height)
        return replace(self, padded=F.pad(averaged(images, height), [pad] * 4), pad=pad)

    @property
    def height(self) -> int:
        """Of the images, in pixels."""
        return self.padded.shape[2] - 2 * self.pad

    @property
    def width(self) -> int:
        return self.padded.shape[3] - 2 * self.pad

    @property
    def steps(self) -> int:
        """Steps in one epoch."""
        return ceil(len(self.labels) / self.recipe.batch)

    def epoch(self, generator: Generator, *, done: int = 0) -> Iterator[Step]:
        """Every image once, in random order; of a team's, this process's share of every step.

        The draws come from a generator on the CPU, so that they are the same on every device, and
        are made for the whole epoch at once, also where its first ``done`` steps are left out. The
        steps are of nearly equal size: a last batch of three images would upset the batch norm.
        """
        count = len(self.labels)
        order = torch.randperm(count, generator=generator)
        shift = torch.randint(2 * self.pad + 1, (count, 2), generator=generator)
        mirror = torch.randint(2, (count,), generator=generator).bool() & self.recipe.flip
        draws = [each.to(self.padded.device) for each in (order, shift, mirror)]
        parts = list(zip(*(each.tensor_split(self.steps) for each in draws), strict=True))
        return map(self._step, parts[done:])

    def _step(self, whole: tuple[Tensor, ...]) -> Step:
        rows, places, mirrored = (self.team.share(each) for each in whole)
        weight = len(rows) * self.team.size / len(whole[0])
        return Step(self.cropped(rows, places, mirrored), self.labels[rows], weight)

    def some(self, count: int) -> Tensor:
        """At most ``count`` images uint8 ``[m, 3, h, w]`` as they are, from all over the set."""
        images = len(self.labels)
        rows = torch.linspace(0, images - 1, min(count, images)).long().to(self.padded.device)
        centre = torch.full((len(rows), 2), self.pad, device=rows.device)
        return self.cropped(rows, centre, torch.zeros_like(rows, dtype=torch.bool))

    def cropped(self, rows: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
        """Images ``rows``, cut out at ``shift`` (down, right) ``[b, 2]``, mirrored where asked."""
        device = self.padded.device
        down = shift[:, :1] + torch.arange(self.height, device=device)
        across = shift[:, 1:] + torch.arange(self.width, device=device)
        across = torch.where(mirror[:, None], across.flip(1), across)
        channels = torch.arange(3, device=device).view(1, 3, 1, 1)
        return self.padded[
            rows.view(-1, 1, 1, 1), channels, down[:, None, :, None], across[:, None, None, :]
        ]


def averaged(images: Tensor, height: int) -> Tensor:
    """Images ``[n, 3, h, w]`` at another height, the width in proportion: means over areas."""
    size = height, max(1, round(images.shape[3] * height / images.shape[2]))
    parts = (part.float() for part in images.split(AVERAGED_AT_ONCE))
    return torch.cat([F.interpolate(part, size, mode="area").round().byte() for part in parts])
