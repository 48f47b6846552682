"""Residual blocks beside other paths, and inside one another: which of them are the chain.

A block is an addition whose operands both come from one tensor, its start, and where nothing in
between is read elsewhere (single entry, single exit; Johnson et al. 1994).  The start itself may be
read elsewhere: a U-Net's skip, or the one around a whole body.  It is carried beside the state
then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx

from resnet_probe.discover.segments import ADDITIONS, Segment, Ways, dominator, is_weighted, roles
from resnet_probe.discover.trace import Trace, inputs

SERIES = 2
"""As many blocks with an identity inside make a block one around a series, and not one itself."""
LEVELS = ("inner", "outer", "branch")


@dataclass(frozen=True)
class Found:
    """A residual block of a graph: its segment, and the operands of its sum."""

    segment: Segment
    shortcut: Ways
    branch: Ways

    @property
    def start(self) -> fx.Node:
        return self.segment.start

    @property
    def end(self) -> fx.Node:
        return self.segment.end

    @property
    def is_identity(self) -> bool:
        return self.shortcut == (self.start,)


@dataclass(frozen=True)
class Choice:
    """The blocks of a chain in their order, and those that are not: each with what it holds."""

    blocks: tuple[Found, ...]
    around: tuple[tuple[Found, tuple[Found, ...]], ...]


def choose(graph: Trace, found: list[Segment], level: str) -> Choice:
    """The blocks in these segments: the innermost, or the outermost (`level="outer"`).

    A block that holds a series of blocks is one around them.  Where a segment is no block itself,
    such as a U-Net's, the blocks inside it are.
    """
    blocks: list[Found] = []
    around: list[tuple[Found, tuple[Found, ...]]] = []
    for segment in found:
        pair = roles(graph, segment)
        if pair is None and segment.is_series:
            continue
        inside = _candidates(graph, segment)
        if pair is not None:
            inside = [*inside, Found(segment, *pair)]
        taken, outer = _expanded(graph, inside, level)
        blocks += taken
        around += outer
    blocks.sort(key=lambda block: graph.position[block.end])
    return Choice(tuple(blocks), tuple(around))


def interior(graph: Trace, start: fx.Node, end: fx.Node) -> set[fx.Node]:
    """What is computed from `start` for `end` and read by nobody else, `end` with it."""
    reached = {start}
    for node in graph.between(start, end):
        if any(argument in reached for argument in inputs(node)):
            reached.add(node)
    kept = reached - {start}

    def leaves(node: fx.Node) -> bool:
        return any(user in graph.data and user not in kept for user in node.users)

    while lost := set(filter(leaves, kept - {end})):
        kept -= lost
    return kept


def _candidates(graph: Trace, segment: Segment) -> list[Found]:
    """The residual blocks strictly inside a segment, in the order of their sums."""
    nodes = set(graph.between(segment.start, segment.end)) - {segment.end}
    additions = sorted((n for n in nodes if n.target in ADDITIONS), key=graph.position.__getitem__)
    starts = {node: dominator(graph, node) for node in (*additions, segment.end)}
    found = []
    for node in additions:
        start = starts[node]
        if start is None or not _can_be_cut(graph, start) or not _can_be_cut(graph, node):
            continue
        if len(node.users) == 1 and starts.get(next(iter(node.users))) is start:
            continue  # a part of a sum of more operands
        pair = roles(graph, Segment(start, node))
        block = Found(Segment(start, node), *pair) if pair is not None else None
        if block is not None and _is_proper(graph, block):
            found.append(block)
    return found


def _is_proper(graph: Trace, block: Found) -> bool:
    """Whether a branch holds weights, and only it reads what it makes.

    Beside an identity it may hand something on, as a WaveNet's does to the sum of its skips: what
    it makes of that counts.
    """
    inside = interior(graph, block.start, block.end)
    if not any(is_weighted(node, graph.module) for node in inside):
        return False
    whole = {n for n in graph.between(block.start, block.end) if n in graph.data}
    return block.is_identity or all(
        user in whole for node in whole - {block.end} for user in node.users if user in graph.data
    )


def _can_be_cut(graph: Trace, node: fx.Node) -> bool:
    """Whether a state can be this tensor."""
    knows = not graph.knows_batch or node.meta.get("rows") is not None
    return graph.shapes.get(node) is not None and knows and node in graph.data


def _expanded(
    graph: Trace, blocks: list[Found], level: str
) -> tuple[list[Found], list[tuple[Found, tuple[Found, ...]]]]:
    """The blocks of these that are not around others or inside others, and those around others."""
    within = {b.end: set(graph.between(b.start, b.end)) - {b.end} for b in blocks}
    taken: list[Found] = []
    around: list[tuple[Found, tuple[Found, ...]]] = []
    for block in _outermost(blocks, within):
        inside = [b for b in blocks if b.end in within[block.end]]
        inner, outer = _expanded(graph, inside, level) if inside else ([], [])
        if level != "outer" and sum(b.is_identity for b in inner) >= SERIES:
            taken += inner
            around += [*outer, (block, tuple(inner))]
        else:
            taken.append(block)
    return taken, around


def _outermost(blocks: Iterable[Found], within: dict[fx.Node, set[fx.Node]]) -> list[Found]:
    return [b for b in blocks if not any(b.end in nodes for nodes in within.values())]
