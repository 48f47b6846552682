"""Which operand of an addition is the shortcut, and which the branch."""

from __future__ import annotations

from torch import fx

from resnet_probe.discover.segments import Segment, is_activation, is_weighted
from resnet_probe.discover.trace import Trace, ancestors


def roles(graph: Trace, segment: Segment) -> tuple[fx.Node, fx.Node] | None:
    """(shortcut, branch): the shortcut has fewer activations, then fewer weights, then fewer nodes.

    None where the segment does not end in an addition, or its operands are equally deep.
    """
    operands = segment.operands()
    if operands is None:
        return None
    first, second = operands
    weights = [_weight(graph, segment.start, operand) for operand in operands]
    if weights[0] == weights[1]:
        return None
    return (first, second) if weights[0] < weights[1] else (second, first)


def _weight(graph: Trace, start: fx.Node, operand: fx.Node) -> tuple[int, int, int]:
    nodes = ancestors(operand, start)
    activations = sum(is_activation(node, graph.module) for node in nodes)
    weighted = sum(is_weighted(node, graph.module) for node in nodes)
    return activations, weighted, len(nodes)
