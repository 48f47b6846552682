"""Batches of images with the network frozen at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.images import Images
from resnet_probe.engine.pullback.chain import ChainLinearizer, FrozenChain, in_precision
from resnet_probe.engine.spectrum import gradients_by_length
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.paths.room import Room, room_for


@dataclass(frozen=True, eq=False)
class Batch:
    """The network frozen at images `start` to `start + n`, and the gradient of their losses.

    `gradient` `[n, *shape]` is the one at the last state, `size` `[n]` what it and all that follows
    from it is to be multiplied with; `chunk` bytes of gradients go through a branch at once.
    """

    start: int
    frozen: FrozenChain
    gradient: Tensor
    size: Tensor
    chunk: int

    def __len__(self) -> int:
        return len(self.gradient)

    @cached_property
    def whole(self) -> Tensor:
        """Norms `[n]` of the whole gradient where it is asked, in the unit of `gradient`."""
        rows = gradients_by_length(self.frozen, self.gradient, most=0, total=True, chunk=self.chunk)
        return next(rows.precise()).norm(dim=1)

    @property
    def per_whole(self) -> Tensor:
        """What turns norms into units of the whole gradient, NaN where that is 0."""
        return torch.where(self.whole > 0, 1 / self.whole, torch.nan)


@dataclass(frozen=True, eq=False)
class Passes:
    """Forward passes over images `[n, …]` with labels `[n]`, in batches that fit the budget."""

    linearizer: ChainLinearizer
    images: Images
    labels: Tensor
    dtype: torch.dtype
    room: Room

    @classmethod
    def of(
        cls,
        chain: ResidualChain,
        images: Images,
        labels: Tensor,
        asked: Request,
        *,
        batch: int | None,
        memory: int,
    ) -> Passes:
        """Raises `ProbeError` where not even one image fits `memory` bytes."""
        chain = in_precision(chain, asked.dtype)
        linearizer = ChainLinearizer(chain, first=asked.first, stem=asked.stem)
        one = images[:1].to(chain.device, asked.dtype)
        room = room_for(linearizer, one, asked, memory=memory, asked=batch, images=len(images))
        return cls(linearizer, images, labels, asked.dtype, room)

    @property
    def count(self) -> int:
        return len(self.images)

    def over(self, first: int, last: int) -> Iterator[Batch]:
        """Images `first` to `last`, batch by batch."""
        device = self.linearizer.chain.device
        for start in range(first, last, self.room.images):
            stop = min(start + self.room.images, last)
            frozen = self.linearizer(self.images[start:stop].to(device, self.dtype))
            gradient, size = frozen.loss_gradient(self.labels[start:stop])
            yield Batch(start, frozen, gradient, size, self.room.chunk)
