"""Images along the first axis: a proven chain whose states lie in another way, seen by image.

Some networks keep the images along another axis (`[t, n, c]`, the layout of PyTorch's attention),
or the positions of all images along one (`[n · t, c]`).  Whatever is said of single images needs
theirs together, `[n, …]`.  The parts of such a chain take and give states by image, and compute as
the network does: from one form to the other nothing is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.discover.proof import beside_others
from resnet_probe.state import (
    AnyState,
    Inputs,
    State,
    carried,
    carry,
    residual,
    with_residual,
)

ALIKE = 1e-2
"""How far an image's values may be off in another batch, as a part of the largest."""
SEED = 0

Layout: TypeAlias = tuple[int, str]
"""The axis of the images, and what it holds: them `alone`, or images and positions, and then which
of the two is the outer one."""
FIRST: Layout = (0, "alone")

Place: TypeAlias = tuple[str, int | str]
"""The state at a junction, the sum of a block, or a carried value by its name."""


def count(given: Any) -> int:
    """How many images there are, by a state or by what the chain was called with."""
    return len(given) if isinstance(given, Tensor | State) else len(Inputs.of(given))


def by_image(value: AnyState, n: int, axis: int, order: str) -> AnyState:
    """`[n, …]`, of a value in that layout; of a state, its residual tensor."""
    h = residual(value)
    if order != "alone":
        outer = order == "images"
        h = h.unflatten(axis, (n, -1) if outer else (-1, n))
        axis += not outer
    return with_residual(value, h.movedim(axis, 0))


def as_network(value: AnyState, axis: int, order: str) -> AnyState:
    """The same value as the network has it."""
    h = residual(value).movedim(0, axis + (order == "positions"))
    return with_residual(value, h if order == "alone" else h.flatten(axis, axis + 1))


def images_first(chain: ResidualChain, example: Tensor | Inputs) -> ResidualChain:
    """The chain with states and sums `[n, …]`: itself where they are, or for one batch size."""
    try:
        with torch.no_grad():
            both = _values(chain, beside_others(example)[1])
            if all(value.shape[:1] == (2,) and 2 not in value.shape[1:] for value in both.values()):
                return chain  # two images, and nothing else that is two
            alone = _values(chain, example[:1])
    except Exception:  # a network for one batch size only, which the proof has passed
        return chain
    found = {place: _layout(alone[place], both[place]) for place in both}
    if set(found.values()) == {FIRST}:
        return chain
    parts = _Parts(chain, {place: layout for place, layout in found.items() if layout != FIRST})
    shapes = {
        place: tuple(residual(by_image(both[place], 2, *found[place])).shape[1:]) for place in both
    }
    last = len(chain)
    return replace(
        chain,
        stem=parts.made(chain.stem, None, ("state", 0)),
        blocks=tuple(_block(parts, block, shapes) for block in chain.blocks),
        head=parts.made(chain.head, ("state", last), None),
    )


def _values(chain: ResidualChain, given: Any) -> dict[Place, Tensor]:
    """All that passes from part to part and is made of the images."""
    state = chain.stem(given.clone())
    found = _of_state(chain, state, 0)
    for block in chain.blocks:
        total = block.sum(state)
        state = block.close(state, total)
        found |= {("sum", block.number): total} | _of_state(chain, state, block.number)
    return found


def _of_state(chain: ResidualChain, state: AnyState, junction: int) -> dict[Place, Tensor]:
    more = state.carried if isinstance(state, State) else {}
    beside: dict[Place, Tensor] = {
        ("carried", name): more[name] for name in chain.beside if isinstance(more.get(name), Tensor)
    }
    return beside | {("state", junction): residual(state)}


def _layout(alone: Tensor, both: Tensor) -> Layout:
    """That in which the first of two images is what it is alone; the usual one if none is."""
    sizes = list(zip(alone.shape, both.shape, strict=False))
    axes = [axis for axis, (one, two) in enumerate(sizes) if one != two]
    if len(axes) != 1 or alone.dim() != both.dim() or sizes[axes[0]][1] != 2 * sizes[axes[0]][0]:
        return FIRST
    orders = ("alone",) if alone.shape[axes[0]] == 1 else ("images", "positions")
    gaps = {(axes[0], order): _gap(alone, both, axes[0], order) for order in orders}
    best = min(gaps, key=gaps.__getitem__)
    return best if gaps[best] < ALIKE else FIRST


def _gap(alone: Tensor, both: Tensor, axis: int, order: str) -> float:
    one, two = (residual(by_image(v, n, axis, order)) for n, v in ((1, alone), (2, both)))
    one, first = one.double(), two[:1].double()
    return float((first - one).abs().max() / one.abs().max().clamp(min=1e-300))


def _block(
    parts: _Parts, block: ResidualBlock, shapes: Mapping[Place, tuple[int, ...]]
) -> ResidualBlock:
    before, total, behind = (
        ("state", block.number - 1), ("sum", block.number), ("state", block.number)
    )  # fmt: skip
    made = replace(
        block,
        shortcut=parts.made(block.shortcut, before, total),
        branch=parts.made(block.branch, before, total),
        after=parts.made(block.after, total, behind),
        total=None if block.total is None else parts.made(block.total, before, total),
        in_shape=shapes[before],
        out_shape=shapes[behind],
    )
    if made.shortcut_kind == "parameter-free" and _gives_what_it_takes(made, parts.chain):
        return replace(made, shortcut=nn.Identity(), shortcut_kind="identity")
    return made


def _gives_what_it_takes(block: ResidualBlock, chain: ResidualChain) -> bool:
    """Whether only the form of the state was another one on the way to the sum."""
    given = torch.randn(2, *block.in_shape, generator=torch.Generator().manual_seed(SEED))
    given = given.to(chain.device, chain.dtype)
    try:
        return torch.equal(block.shortcut(given), given)
    except Exception:  # it reads more than the state
        return False


@dataclass(frozen=True)
class _Parts:
    """Makes the parts of a chain anew, with what is not `[n, …]` in its layout in the network."""

    chain: ResidualChain
    layouts: Mapping[Place, Layout]

    def made(self, part: nn.Module, start: Place | None, end: Place | None) -> nn.Module:
        """A part, from the state at `start` to the one at `end`; None: the images, the logits."""
        ends = tuple(self.layouts.get(place, FIRST) if place else FIRST for place in (start, end))
        if isinstance(part, nn.Identity):
            if ends[0] == ends[1]:
                return part
            part = _identity()
        assert isinstance(part, fx.GraphModule)
        first = next(iter(part.graph.nodes))
        with part.graph.inserting_after(first):
            n = part.graph.call_function(count, (first,))
        if ends[0] != FIRST:
            _read_as(part.graph, n, first, ends[0])
        self._carry(part.graph, n)
        if ends[1] != FIRST:
            last = part.graph.output_node()
            with part.graph.inserting_before(last):
                last.args = (part.graph.call_function(by_image, (last.args[0], n, *ends[1])),)
        if not n.users:
            part.graph.erase_node(n)
        part.recompile()
        return part

    def _carry(self, graph: fx.Graph, n: fx.Node) -> None:
        """What is carried is by image between the parts, too."""
        for node in list(graph.nodes):
            if node.target is carried and ("carried", node.args[1]) in self.layouts:
                _read_as(graph, node, node, self.layouts["carried", node.args[1]])
            if node.target is carry:
                new = dict(node.args[2])
                for name in new:
                    if ("carried", name) in self.layouts:
                        given = (new[name], n, *self.layouts["carried", name])
                        with graph.inserting_before(node):
                            new[name] = graph.call_function(by_image, given)
                node.args = (*node.args[:2], new, *node.args[3:])


def _identity() -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.placeholder("h"))
    return fx.GraphModule(nn.Module(), graph)


def _read_as(graph: fx.Graph, behind: fx.Node, node: fx.Node, layout: Layout) -> None:
    """All that reads a node reads it as the network has it; from `behind` another node on."""
    with graph.inserting_after(behind):
        made = graph.call_function(as_network, (node, *layout))
    node.replace_all_uses_with(made, lambda user: user not in (made, behind))
