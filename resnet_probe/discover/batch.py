"""One graph for every batch size, from the graphs that were traced at two.

A number that is the same in both is a constant; one that grows with the batch is a multiple of it,
and is computed anew from the tensor at hand.  Anything else is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from resnet_probe.discover.seen import SeeingTracer, Shape
from resnet_probe.errors import ProbeError

SIZES = (5, 12)  # coprime: no division of one batch size looks like a constant or a multiple


class Differs(Exception):
    """The two graphs are not one graph with another batch size."""


def times_batch(h: Tensor, factor: int, axis: int = 0, rows: int = 1) -> int:
    """`factor` times the batch size, where `h` has `rows` entries an image along `axis`."""
    return factor * h.size(axis) // rows


def size(h: Tensor, axis: int) -> int:
    """The size of an axis: what a graph with free sizes computes with."""
    return h.size(axis)


KNOWN = {times_batch, size}
"""Sizes, which any tensor that has them can tell: nothing is computed from another for them."""


def only_of_size(images: Tensor, shape: Shape) -> Tensor:
    """`images`, or a `ProbeError` if the chain was not cut for their size."""
    if tuple(images.shape[1:]) != tuple(shape):
        found, asked = ("×".join(map(str, s)) for s in (images.shape[1:], shape))
        raise ProbeError(
            f"images of {found}: the forward pass of this network depends on their size, and its "
            f"chain was cut for {asked}"
        )
    return images


def merged(small: SeeingTracer, large: SeeingTracer) -> fx.Graph:
    """The graph of `small`, its batch sizes computed; each node's `meta["rows"]` is filled in.

    Raises `Differs` where the forward pass does something else for another batch size.
    """
    first, second = list(small.graph.nodes), list(large.graph.nodes)
    if len(first) != len(second):
        raise Differs("it takes another way through the network for another batch size")
    merge = _Merge(small, large)
    for a, b in zip(first, second, strict=True):
        merge.node(a, b)
        a.meta["rows"] = _rows(small.shapes.get(a), large.shapes.get(b))
    return small.graph


class _Merge:
    def __init__(self, small: SeeingTracer, large: SeeingTracer) -> None:
        self.graph, self.roots = small.graph, (small.root, large.root)
        self.source = next(iter(small.graph.nodes))
        self.partner: dict[fx.Node, fx.Node] = {}
        self.multiples: dict[int, fx.Node] = {}

    def node(self, a: fx.Node, b: fx.Node) -> None:
        self.partner[a] = b
        if a.op == b.op == "get_attr":
            self.constant(a, b)
        elif a.op != b.op or (a.target != b.target and a.op != "output"):
            raise Differs(f"{a.name} is something else for another batch size")
        a.args, a.kwargs = self.value(a.args, b.args), self.value(a.kwargs, b.kwargs)

    def constant(self, a: fx.Node, b: fx.Node) -> None:
        """A tensor of its own: the same for both batch sizes, or the same row for every image."""
        one, other = (
            fx.graph_module._get_attr(root, str(node.target))
            for root, node in zip(self.roots, (a, b), strict=True)
        )
        if one is other or torch.equal(one, other):
            return
        rows = one[:1]
        sizes = tuple(len(t) if t.dim() else 0 for t in (one, other))
        if sizes != SIZES or not all(torch.equal(rows.expand_as(t), t) for t in (one, other)):
            raise Differs(f"{a.name}, made in the forward pass, depends on the batch size")
        setattr(self.roots[0], str(a.target), rows.clone())
        with self.graph.inserting_after(a):
            shape = (self.multiple(*SIZES), *rows.shape[1:])
            whole = self.graph.call_method("expand", (a, *shape))
        a.replace_all_uses_with(whole, lambda user: user is not whole)
        self.partner[whole] = b

    def value(self, a: Any, b: Any) -> Any:
        if isinstance(a, fx.Node) and self.partner.get(a) is b:
            return a
        if type(a) is int and type(b) is int:
            return a if a == b else self.multiple(a, b)
        if isinstance(a, slice) and isinstance(b, slice):
            ends = ((getattr(a, k), getattr(b, k)) for k in ("start", "stop", "step"))
            return slice(*(self.value(*pair) for pair in ends))
        if isinstance(a, tuple | list) and isinstance(b, tuple | list) and len(a) == len(b):
            parts = [self.value(x, y) for x, y in zip(a, b, strict=True)]
            return tuple(parts) if isinstance(a, tuple) else parts
        if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
            return {key: self.value(a[key], b[key]) for key in a}
        if isinstance(a, fx.Node) or (a is not b and a != b):
            raise Differs(f"it computes with {a} and, for another batch size, with {b}")
        return a

    def multiple(self, a: int, b: int) -> fx.Node:
        factor, rest = divmod(b - a, SIZES[1] - SIZES[0])
        if rest or a != factor * SIZES[0]:
            raise Differs(f"{a} and {b} are no multiple of the batch sizes {SIZES}")
        if factor not in self.multiples:
            with self.graph.inserting_after(self.source):
                self.multiples[factor] = self.graph.call_function(
                    times_batch, (self.source, factor)
                )
        return self.multiples[factor]


def _rows(small: Shape | None, large: Shape | None) -> tuple[int, int] | None:
    """(axis, entries an image): where a tensor's batch size can be read off its shape."""
    for axis, (a, b) in enumerate(zip(small or (), large or (), strict=False)):
        rows = a // SIZES[0]
        if rows and (a, b) == (rows * SIZES[0], rows * SIZES[1]):
            return axis, rows
    return None
