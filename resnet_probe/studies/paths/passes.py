"""Batches of images with the network frozen at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.images import Images, on_device
from resnet_probe.engine.pullback.chain import ChainLinearizer, FrozenChain, in_precision
from resnet_probe.engine.spectrum import gradients_by_length
from resnet_probe.engine.task import loss_gradient
from resnet_probe.state import residual, with_residual
from resnet_probe.studies.checks import check_gradients
from resnet_probe.studies.paths.request import Request
from resnet_probe.studies.paths.room import Room, room_for


@dataclass(frozen=True, eq=False)
class Batch:
    """The network frozen at images `start` to `start + n`, and the gradient of their losses.

    `gradient` `[n, *shape]` is the one at the last state, `size` `[n]` what it and all that follows
    from it is to be multiplied with; `chunk` bytes of gradients go through a branch at once.
    `images` and `labels` are those it is frozen at, `linearizer` what froze it.  `numbers` `[n]`
    are those of the images among all that are asked about.
    """

    start: int
    frozen: FrozenChain
    gradient: Tensor
    size: Tensor
    chunk: int
    images: Any
    labels: Tensor
    linearizer: ChainLinearizer
    numbers: NDArray[np.int64]

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

    def by_autograd(self) -> Tensor:
        """The whole gradient where it is asked, `[n, *shape]`, in the unit of `gradient`.

        By plain autograd on the chain's own parts, in the same precision: what the pullbacks, which
        are another implementation, are measured against.  Some images at a time and one part after
        the other, so that it takes no more memory than the pullbacks do.
        """
        block = self.frozen.blocks[0].block
        number = max(prod(block.in_shape), prod(block.out_shape), prod(self.images.shape[1:]))
        step = max(1, self.chunk // (8 * number * self.gradient.element_size()))
        parts = zip(self.images.split(step), self.labels.split(step), strict=True)
        return torch.cat([self._by_autograd(*part) for part in parts])

    def _by_autograd(self, images: Any, labels: Tensor) -> Tensor:
        chain, first = self.linearizer.chain, self.linearizer.first
        ways: list[Way] = [chain.stem, *(block.run for block in chain), chain.head]
        states: list[Any] = [images]
        for way in ways:
            states.append(way(states[-1]))
        logits = states.pop()
        found = loss_gradient(logits, labels).flatten(1)
        size = found.norm(dim=1, keepdim=True)
        found = (found / torch.where(size > 0, size, 1.0)).to(logits.dtype).view_as(logits)
        for way in reversed(ways[0 if self.linearizer.stem else first :]):
            found = _pulled(way, states.pop(), found)
        return found


Way = Callable[[Any], Any]


def _pulled(way: Way, at: Any, gradient: Tensor) -> Tensor:
    """The gradient at the input of a part, from that at its output."""
    with torch.enable_grad():
        given = residual(at).detach().requires_grad_()
        output = residual(way(with_residual(at, given.clone())))  # a part may write its input
        return torch.autograd.grad(
            output, given, gradient, allow_unused=True, materialize_grads=True
        )[0]


@dataclass(frozen=True, eq=False)
class Passes:
    """Forward passes over images `[n, …]` with labels `[n]`, in batches that fit the budget."""

    linearizer: ChainLinearizer
    images: Images
    labels: Tensor
    dtype: torch.dtype
    room: Room
    numbers: NDArray[np.int64]

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
        numbers: NDArray[np.int64] | None = None,
    ) -> Passes:
        """Raises `ProbeError` where not even one image fits `memory` bytes.

        `numbers` are those of the images among all, where they are a part of them.
        """
        check_gradients(chain)
        chain = in_precision(chain, asked.dtype)
        linearizer = ChainLinearizer(chain, first=asked.first, stem=asked.stem)
        one = on_device(images[:1], chain.device, asked.dtype)
        room = room_for(linearizer, one, asked, memory=memory, asked=batch, images=len(images))
        numbered = np.arange(len(images)) if numbers is None else numbers
        return cls(linearizer, images, labels, asked.dtype, room, numbered)

    @property
    def count(self) -> int:
        return len(self.images)

    def ranges(self, first: int, last: int) -> list[tuple[int, int]]:
        """Images `first` to `last` in batches, as (start, stop)."""
        starts = range(first, last, self.room.images)
        return [(start, min(start + self.room.images, last)) for start in starts]

    def at(self, start: int, stop: int) -> Batch:
        """The batch of images `start` to `stop`."""
        images = on_device(self.images[start:stop], self.linearizer.chain.device, self.dtype)
        labels = self.labels[start:stop]
        frozen = self.linearizer(images)
        gradient, size = frozen.loss_gradient(labels)
        return Batch(
            start, frozen, gradient, size, self.room.chunk, images, labels, self.linearizer,
            self.numbers[start:stop],
        )  # fmt: skip

    def over(self, first: int, last: int) -> Iterator[Batch]:
        """Images `first` to `last`, batch by batch."""
        for start, stop in self.ranges(first, last):
            yield self.at(start, stop)
