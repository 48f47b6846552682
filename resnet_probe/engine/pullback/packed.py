"""A chain whose state is one flat tensor: what is carried beside it goes back like the rest.

Where a value is made of the state and carried to later blocks (a U-Net's skip), gradients have to
travel along it too.  So `h` and all such values become one tensor `[n, numbers]`, on which each
block acts as before: its shortcut keeps what is carried, its branch adds nothing to it.  Everything
that is true of a chain of tensors is true of this one, lengths of paths included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.engine.observe import without_gradients
from resnet_probe.state import AnyState, State, residual

LAYOUT = "the layout of the packed state"
Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes `[…]` of an image's tensors in their order; the name of `h` is empty."""


class Packed(nn.Module):
    """A part of a chain, from a packed state to a packed state."""

    def __init__(self, inner: nn.Module, made: Iterable[str]) -> None:
        super().__init__()
        self.inner, self.made = inner, frozenset(made)

    def forward(self, given: Any) -> AnyState:
        return pack(self.inner(unpack(given)), self.made)


class PackedHead(Packed):
    """From a packed state to the logits."""

    def forward(self, given: Any) -> Tensor:
        found: Tensor = self.inner(unpack(given))
        return found


class PackedTerm(Packed):
    """One side of a block's sum beside what is carried: itself, or nothing added to it."""

    def __init__(self, inner: nn.Module, made: Iterable[str], *, keeps: bool) -> None:
        super().__init__(inner, made)
        self.keeps = keeps
        self.shape: tuple[int, ...] = ()

    def forward(self, given: Any) -> Tensor:
        term: Tensor = self.inner(unpack(given))
        self.shape = tuple(term.shape[1:])
        z = residual(given)
        kept = z[:, prod(layout_of(given)[0][1]) :]
        return torch.cat([term.flatten(1), kept if self.keeps else torch.zeros_like(kept)], 1)


class PackedAfter(Packed):
    """From a block's sum to the next state; the sum has the shape that its `shortcut` gave last."""

    def __init__(self, inner: nn.Module, made: Iterable[str], shortcut: PackedTerm) -> None:
        super().__init__(inner, made)
        self.shortcut = [shortcut]  # in a list: it is no part of this module

    def forward(self, given: Any) -> AnyState:
        rest = layout_of(given)[1:]
        carried = {**given.carried, LAYOUT: (("", self.shortcut[0].shape), *rest)}
        return super().forward(State(given.h, carried))


def packed(chain: ResidualChain) -> ResidualChain:
    """The chain with its state and all that is made of it, `chain.beside`, in one tensor."""
    made, chain = chain.beside, chain.map(without_gradients)

    def block_of(block: ResidualBlock) -> ResidualBlock:
        shortcut = PackedTerm(block.shortcut, made, keeps=True)
        branch = PackedTerm(block.branch, made, keeps=False)
        after = PackedAfter(block.after, made, shortcut)
        return replace(block, shortcut=shortcut, branch=branch, after=after, total=None)

    blocks = tuple(map(block_of, chain.blocks))
    stem, head = Packed(chain.stem, made), PackedHead(chain.head, made)
    return replace(chain, stem=stem, blocks=blocks, head=head, beside=())


def pack(state: AnyState, made: frozenset[str]) -> State:
    """`h` and the floating-point numbers of these names in one tensor, the rest beside it."""
    carried: Mapping[str, Any] = state.carried if isinstance(state, State) else {}
    inside = [n for n, v in carried.items() if n in made and torch.is_floating_point(v)]
    tensors = {"": residual(state), **{name: carried[name] for name in inside}}
    layout = tuple((name, tuple(value.shape[1:])) for name, value in tensors.items())
    beside = {name: value for name, value in carried.items() if name not in inside}
    whole = torch.cat([value.flatten(1) for value in tensors.values()], 1)
    return State(whole, {**beside, LAYOUT: layout})


def unpack(given: Any) -> Any:
    """The state again; what is no packed state stays as it is."""
    if not isinstance(given, State) or LAYOUT not in given.carried:
        return given
    carried = {name: value for name, value in given.carried.items() if name != LAYOUT}
    layout = layout_of(given)
    parts = given.h.split([prod(shape) for _, shape in layout], 1)
    tensors = [part.reshape(len(part), *s) for part, (_, s) in zip(parts, layout, strict=True)]
    named = {name: t for (name, _), t in zip(layout[1:], tensors[1:], strict=True)}
    carried |= named
    return State(tensors[0], carried) if carried else tensors[0]


def layout_of(state: State) -> Layout:
    found: Layout = state.carried[LAYOUT]
    return found
