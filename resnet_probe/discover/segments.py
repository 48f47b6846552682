"""A graph in series: where a single tensor carries everything, it can be cut."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import fx, nn
from torch.nn import functional as F

from resnet_probe.discover.batch import KNOWN, times_batch
from resnet_probe.discover.trace import Trace, ancestors, inputs

ADDITIONS = {operator.add, torch.add, "add"}
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Softplus, nn.Softmax, nn.Tanh,
)  # fmt: skip
ACTIVATION_FUNCTIONS = {
    torch.relu, torch.sigmoid, torch.tanh, torch.softmax,
    F.relu, F.relu6, F.leaky_relu, F.prelu, F.elu, F.celu, F.selu, F.gelu, F.silu, F.mish,
    F.hardswish, F.hardsigmoid, F.hardtanh, F.softplus, F.softmax,
    "relu", "sigmoid", "tanh", "softmax",
}  # fmt: skip
WEIGHTED = (
    nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.MultiheadAttention,
    nn.RNNBase, nn.RNNCellBase,
)  # fmt: skip
aten = torch.ops.aten
WEIGHTED_FUNCTIONS = {
    F.conv1d, F.conv2d, F.conv3d, F.linear, torch.matmul, torch.bmm, torch.addmm,
    F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.bilinear, operator.matmul,
    torch.mm, torch.baddbmm, torch.einsum, "matmul", "mm", "bmm", "addmm", "baddbmm",
    aten.einsum.default, aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input,
    aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input,
}  # fmt: skip


Ways = tuple[fx.Node, ...]
"""Operands of one sum, in the order in which the network adds them."""


@dataclass(frozen=True)
class Cut:
    """Where a block lies in the graph: from `start` to the sum `end`, and on to `after`.

    `shortcut` and `branch` are the operands of the sum: one each, where it has two.  Of a sum that
    is cut branch by branch, `origin` is where all its branches begin, and `start` what has been
    added so far.
    """

    start: fx.Node
    shortcut: Ways
    branch: Ways
    end: fx.Node
    after: fx.Node
    origin: fx.Node | None = None

    @property
    def ways(self) -> set[fx.Node]:
        """All nodes of the branch."""
        return behind(self.branch, self.origin or self.start)


@dataclass(frozen=True)
class Segment:
    """The way from one cut to the next: one operation, or paths that part and meet again."""

    start: fx.Node
    end: fx.Node

    def operands(self) -> tuple[fx.Node, fx.Node] | None:
        """The two tensors that `end` adds, if it is an addition of two paths from `start`."""
        if self.end.target not in ADDITIONS or len(self.end.args) != 2 or self.end.kwargs:
            return None
        first, second = self.end.args
        if not (isinstance(first, fx.Node) and isinstance(second, fx.Node)) or first is second:
            return None
        for operand in (first, second):
            if operand is not self.start and self.start not in _sources(operand, self.start):
                return None
        return first, second

    def ways(self, graph: Trace) -> Ways:
        """All that the sum `end` adds, sums of ways from `start` taken apart; else nothing."""
        operands = self.operands()
        if operands is None:
            return ()
        found: list[fx.Node] = []
        for operand in operands:
            inner = Segment(self.start, operand)
            alone = len(operand.users) == 1 and operand is not self.start
            parts = alone and inner.operands() and dominator(graph, operand) is self.start
            found += inner.ways(graph) if parts else (operand,)
        return tuple(found)

    @property
    def is_series(self) -> bool:
        """Whether `end` is one operation on `start` alone."""
        return ancestors(self.end, self.start) - _constants(self.end, self.start) == {self.end}


def behind(ways: Ways, start: fx.Node) -> set[fx.Node]:
    """All nodes of these ways from `start`."""
    return set[fx.Node]().union(*(ancestors(way, start) for way in ways))


def segments(
    trace: Trace, start: fx.Node | None = None, end: fx.Node | None = None
) -> list[Segment]:
    """The graph from its input to its output, cut wherever one tensor alone crosses.

    With `start` and `end`, the part that computes `end` from `start` instead.
    """
    nodes = trace.nodes
    if start is not None and end is not None:
        nodes = [start, *trace.between(start, end)] if start is not end else [start]
    inside = set(nodes)
    position = trace.position
    source = start or trace.source
    data = {source}
    for node in nodes:
        if any(argument in data for argument in inputs(node)):
            data.add(node)
    sized = any(node.target is times_batch for node in nodes)
    cuts, reach = [], -1
    for node in nodes:
        if node not in data or node.op == "output":
            continue
        # Where the batch size cannot be told from the tensor, the rest could not be computed.
        tells_batch = not sized or node.meta.get("rows") is not None
        if reach <= position[node] and trace.shapes.get(node) is not None and tells_batch:
            cuts.append(node)
        users = (
            position[user] for user in node.users if user in inside and user.target not in KNOWN
        )
        reach = max(reach, max(users, default=-1))
    return [Segment(a, b) for a, b in pairwise(cuts)]


def roles(graph: Trace, segment: Segment) -> tuple[Ways, Ways] | None:
    """(shortcut, branch): the operands of the sum at the end of a segment.

    Of two, the shortcut has fewer activations, then fewer weights, then fewer nodes.  Of more it is
    the one without weights, and all others are the branch: they are deleted together, and in
    whatever order they are written.  None where there is no sum, or two operands are equally light.
    """
    ways = segment.ways(graph)
    if not ways:
        return None
    weights = {way: _weight(graph, segment.start, way) for way in ways}
    if len(ways) > 2:
        weights = {way: (w[1] > 0, *w) for way, w in weights.items()}
    light = [way for way, weight in weights.items() if weight == min(weights.values())]
    if len(light) > 1:
        return None
    return tuple(w for w in ways if w in light), tuple(w for w in ways if w not in light)


def dominator(graph: Trace, node: fx.Node) -> fx.Node | None:
    """The last tensor that every way from the input to `node` comes through.

    (Lengauer & Tarjan 1979; here by the nearest common ancestor, as the graph has no loop.)
    """
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


def is_activation(node: fx.Node, module: fx.GraphModule) -> bool:
    """Whether a node is an activation function: elementwise (or softmax), without weights."""
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), ACTIVATIONS)
    return node.target in ACTIVATION_FUNCTIONS


def is_weighted(node: fx.Node, module: fx.GraphModule) -> bool:
    """Whether a node is a convolution, a linear map or attention."""
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), WEIGHTED)
    return node.target in WEIGHTED_FUNCTIONS


def holds_parameters(node: fx.Node, module: fx.GraphModule) -> bool:
    """Whether a node reads a parameter: of its module, or as a value."""
    if node.op == "get_attr":
        value = fx.graph_module._get_attr(module, str(node.target))
        return isinstance(value, nn.Parameter)
    if node.op == "call_module":
        return any(True for _ in module.get_submodule(str(node.target)).parameters())
    return False


def _weight(graph: Trace, start: fx.Node, way: fx.Node) -> tuple[int, ...]:
    nodes = behind((way,), start)
    activations = sum(is_activation(node, graph.module) for node in nodes)
    weighted = sum(is_weighted(node, graph.module) for node in nodes)
    return activations, weighted, len(nodes)


def _sources(operand: fx.Node, start: fx.Node) -> set[fx.Node]:
    reads = {operand} | ancestors(operand, start)
    return {argument for node in reads for argument in inputs(node)}


def _constants(end: fx.Node, start: fx.Node) -> set[fx.Node]:
    """Nodes behind `end` that do not depend on `start`: parameters, buffers, fixed tensors."""
    behind = ancestors(end, start)
    depends, waiting = {start}, [start]
    while waiting:
        for user in waiting.pop().users:
            if user in behind and user not in depends and user.target not in KNOWN:
                depends.add(user)
                waiting.append(user)
    return behind - depends
