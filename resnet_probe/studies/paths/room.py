"""How many images go back together, and how many bytes go through a branch at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

from resnet_probe.engine.memory import CACHE, SCRATCH, footprint, most_images, scratch
from resnet_probe.engine.pullback.chain import ChainLinearizer, FrozenChain
from resnet_probe.studies.paths.request import Request

STACK = 16 * CACHE
"""Bytes of stacked gradients that a batch should not much exceed on a CPU."""


@dataclass(frozen=True)
class Room:
    """`images` at once, `chunk` bytes of their gradients through a branch at once."""

    images: int
    chunk: int


@dataclass(frozen=True)
class Needs:
    """Bytes: of prepared weights; and for one image of its largest state, of a branch at work on
    it, of what the frozen forward pass keeps, and of the stacked gradients."""

    weights: int
    state: int
    branch: int
    kept: int
    stack: int

    def fixed(self, chunk: int) -> int:
        return int(self.weights + SCRATCH * max(1, chunk // self.state) * self.branch)

    @property
    def one(self) -> int:
        return int(SCRATCH * (self.branch + self.kept + self.stack))


def room_for(
    linearizer: ChainLinearizer,
    image: Any,
    request: Request,
    *,
    memory: int,
    asked: int | None,
    images: int,
) -> Room:
    """Raises `ProbeError` where not even one image fits, saying what it takes.

    `image` is `[1, …]`, on the chain's device and of its type.
    """
    needs = _needs(linearizer, image, request)
    on_cpu = image.device.type == "cpu"
    chunk = min(CACHE, memory // 16) if on_cpu else memory // 16
    while chunk > needs.state and needs.fixed(chunk) + needs.one > memory:
        chunk //= 2
    most = most_images(
        needs.fixed(chunk), needs.one, memory=memory, asked=asked, of=linearizer.chain.name,
        work="the paths", hint=", or a lower max_length=",
    )  # fmt: skip
    if asked is None:
        fits_cache = min(max(1, STACK // needs.stack), max(4, CACHE // needs.state))
        asked = min(most, fits_cache) if on_cpu else most
    return Room(max(1, min(asked, images)), chunk)


def _needs(linearizer: ChainLinearizer, image: Any, request: Request) -> Needs:
    frozen = linearizer(image)
    states = [prod(shape) * frozen.logits.element_size() for shape in _shapes(frozen)]
    # Where a shortcut changes the shape, the gradients before and behind it are both there.
    pairs = [a + b * (a != b) for a, b in pairwise(states)]
    slots = request.most + 2  # all lengths, and the whole gradient
    more = scratch(image.device) / SCRATCH  # the workspaces of a device's libraries
    return Needs(
        weights=linearizer.held_bytes,
        state=max(states),
        branch=int(more * (footprint(linearizer.chain, image).work + 2 * max(states))),
        kept=frozen.held_bytes,
        stack=slots * max(pairs, default=max(states)),
    )


def _shapes(frozen: FrozenChain) -> list[tuple[int, ...]]:
    """The shapes that gradients have on their way back, from the last state on."""
    shapes = [frozen.head.shape, *(block.branch.shape for block in reversed(frozen.blocks))]
    return shapes + ([frozen.stem.shape] if frozen.stem else [])
