"""The published procedure: single paths drawn at random, each length apart, and their norms.

Veit et al. 2016, section 5: choose k blocks at random, go back through their branches and through
the shortcuts of all others; the norm of what arrives is one observation.  Here one random order of
the blocks gives one path of every length, its first k blocks: each is uniform among the paths of
its length, and as they are nested they share most of their products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from resnet_probe.edits import generator_for
from resnet_probe.engine.spectrum import gradients_of_nested_paths
from resnet_probe.stats.moments import Floats
from resnet_probe.studies.paths.intervals import GROUPS, GroupSums
from resnet_probe.studies.paths.norms import blame, precise_norms
from resnet_probe.studies.paths.passes import Batch
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.study import Arrays


@dataclass(frozen=True)
class Group:
    """Images `start` to `stop`, and the numbers of the draws that are measured on them.

    `place` counts the groups that have draws, from 0.
    """

    start: int
    stop: int
    draws: tuple[int, ...]
    place: int = 0


def group_size(asked: int, images: int) -> int:
    """How many images a group has; fewer than asked for, where `GROUPS` groups need it."""
    return max(1, min(asked, images // GROUPS))


@dataclass
class SampledPaths:
    """Collects norms of sampled paths, each measured on a few images.

    The draws are dealt to groups of images.  Draws of one group share its images and are not
    independent, and the lengths of one draw share its order; the groups are independent, each with
    its draws: the intervals are those of a jackknife over them.
    """

    request: Request
    sums: Floats = field(init=False)
    relative_sums: Floats = field(init=False)
    images: Floats = field(init=False)
    known: Floats = field(init=False)
    member: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.request.samples, self.request.most + 1)
        self.sums, self.relative_sums = np.zeros(shape), np.zeros(shape)
        self.images, self.known = np.zeros((shape[0], 1)), np.zeros((shape[0], 1))
        self.member = np.zeros(shape[0], dtype=np.int64)

    def order(self, draw: int) -> list[int]:
        """A random order of the blocks' positions; its first k blocks are the path of length k."""
        generator = generator_for(self.request.seed, "order", draw)
        return torch.randperm(self.request.blocks, generator=generator).tolist()

    def groups(self, images: int) -> Iterator[Group]:
        """The images in groups, and the draws dealt to them in turn."""
        size = group_size(self.request.images_per_path, images)
        starts = list(range(0, images, size))
        mixed = torch.randperm(len(starts), generator=generator_for(self.request.seed, "groups"))
        for place, index in enumerate(mixed.tolist()):
            draws = tuple(range(place, self.request.samples, len(starts)))
            if draws:
                yield Group(starts[index], min(starts[index] + size, images), draws, place)

    def add(self, batch: Batch, draw: int) -> None:
        """One path of each length; raises `ProbeError` where a gradient is not finite."""
        rows = gradients_of_nested_paths(
            batch.frozen,
            batch.gradient,
            order=self.order(draw),
            most=self.request.most,
            chunk=batch.chunk,
        )
        norms = precise_norms(rows)
        if not torch.isfinite(norms).all():
            blame(batch, most=self.request.most)
        self.sums[draw] += (norms * batch.size).sum(1).cpu().numpy()
        self.relative_sums[draw] += (norms * batch.per_whole).nansum(1).cpu().numpy()
        self.images[draw] += len(batch)
        self.known[draw] += int((batch.whole > 0).sum())

    def found(self, group: Group) -> Arrays:
        """What all draws of a group have collected."""
        rows = list(group.draws)
        return {name: getattr(self, name)[rows] for name in KEPT}

    def take(self, group: Group, found: Arrays) -> None:
        rows = list(group.draws)
        for name in KEPT:
            getattr(self, name)[rows] = found[name]
        self.member[rows] = group.place % GROUPS

    def arrays(self) -> Arrays:
        """All that was collected: of a part of the images, zeros for the draws of others."""
        return {f"sum.{name}": getattr(self, name) for name in KEPT}

    def fill(self, arrays: Arrays, images: int) -> None:
        """Take over what `arrays` gave, of so many images in all."""
        for group in self.groups(images):
            rows = list(group.draws)
            self.take(group, {name: arrays[f"sum.{name}"][rows] for name in KEPT})

    @property
    def mean(self) -> GroupSums:
        """Norms of the sampled paths of each length, by groups of images and their draws."""
        return GroupSums.of(self.sums, self.images, self.member)

    @property
    def relative(self) -> GroupSums:
        """The same in units of each image's whole gradient."""
        return GroupSums.of(self.relative_sums, self.known, self.member)


KEPT = ("sums", "relative_sums", "images", "known")
