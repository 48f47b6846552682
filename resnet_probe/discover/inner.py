"""Residual additions that are no block of the chain: they lie inside one, or beside another path.

An addition belongs to the tensor that all ways to it come through last, its dominator in the graph
(Lengauer & Tarjan 1979; here by the nearest common ancestor in the tree, as the graph has no loop).
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx

from resnet_probe.discover.naming import common_path
from resnet_probe.discover.roles import roles
from resnet_probe.discover.segments import ADDITIONS, Segment
from resnet_probe.discover.trace import Trace, ancestors, inputs


def inner_blocks(graph: Trace, region: Iterable[fx.Node]) -> tuple[str, ...]:
    """The names of the residual blocks whose additions lie in `region`, in the order they run."""
    additions = sorted((n for n in region if n.target in ADDITIONS), key=graph.position.__getitem__)
    found = []
    for node in additions:
        start = _dominator(graph, node)
        pair = roles(graph, Segment(start, node)) if start is not None else None
        if start is not None and pair is not None:
            found.append(common_path(ancestors(pair[1], start)) or node.name)
    return tuple(dict.fromkeys(found))


def _dominator(graph: Trace, node: fx.Node) -> fx.Node | None:
    """The last tensor that every way from the input to `node` comes through."""
    operands = [argument for argument in inputs(node) if argument in graph.data]
    if len(operands) < 2:
        return None
    position = graph.position
    waiting = dict.fromkeys(operands)
    while len(waiting) > 1:  # replace the latest by what it is computed from, until all agree
        latest = max(waiting, key=position.__getitem__)
        del waiting[latest]
        waiting |= {argument: None for argument in inputs(latest) if argument in graph.data}
    return next(iter(waiting), None)
