"""Sums of several branches of one state, `x + a(x) + m(x)`: a block for each branch.

The sum is written one addition after another, `(x + a(x)) + m(x)`.  The first addition is a block
of its own, and the second one's branch begins where the first one's does, at `x`, which is carried
beside the state.  What both branches read of `x`, such as a common norm, each computes for itself.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace

from torch import fx

from resnet_probe.discover.segments import Cut, Segment, behind, dominator, is_weighted
from resnet_probe.discover.trace import Trace


def by_branch(graph: Trace, cuts: Sequence[Cut]) -> tuple[Trace, list[Cut]]:
    """The graph with its sums of several branches rewritten, and one cut a branch.

    Branches are added in the order in which they are computed.  A sum whose operands have several
    shapes stays one block.
    """
    found: list[Cut] = []
    shapes = dict(graph.shapes)
    for cut in cuts:
        ways = sorted(_branches(graph, cut), key=graph.position.__getitem__)
        alike = len({shapes[node] for node in (*cut.shortcut, *ways, cut.end)}) == 1
        found += _several(graph, cut, ways, shapes) if alike and len(ways) > 1 else [cut]
    graph.module.graph.eliminate_dead_code()
    return replace(graph, shapes=shapes), found


def _branches(graph: Trace, cut: Cut) -> list[fx.Node]:
    """The operands of the sum that are branches, sums of branches taken apart."""
    found: list[fx.Node] = []
    waiting = list(cut.branch)
    while waiting:
        way = waiting.pop()
        if _is_sum_of_branches(graph, cut.start, way):
            waiting += way.all_input_nodes
        else:
            found.append(way)
    return found


def _is_sum_of_branches(graph: Trace, start: fx.Node, way: fx.Node) -> bool:
    """Whether it adds two weighted ways that part at `start`, or behind a norm of it."""
    if len(way.users) > 1 or Segment(start, way).operands() is None:
        return False
    parting = dominator(graph, way)
    if parting is None or _is_weighted(graph, start, parting):
        return False
    return all(_is_weighted(graph, parting, operand) for operand in way.all_input_nodes)


def _is_weighted(graph: Trace, start: fx.Node, end: fx.Node) -> bool:
    return any(is_weighted(node, graph.module) for node in behind((end,), start))


def _several(
    graph: Trace, cut: Cut, ways: Sequence[fx.Node], shapes: dict[fx.Node, tuple[int, ...] | None]
) -> list[Cut]:
    """The cuts of one sum: each begins at the sum of those before it, its branch at `cut.start`."""
    found: list[Cut] = []
    start, shortcut = cut.start, cut.shortcut
    for way in ways[:-1]:
        with graph.module.graph.inserting_before(cut.end):
            end = graph.module.graph.call_function(operator.add, (shortcut[0], way))
        end.meta, shapes[end] = dict(cut.end.meta), shapes[cut.end]
        found.append(Cut(start, shortcut, (way,), end, end, cut.start))
        start, shortcut = end, (end,)
    cut.end.args = (start, ways[-1])
    return [*found, Cut(start, shortcut, (ways[-1],), cut.end, cut.after, cut.start)]
