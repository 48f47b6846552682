"""A traced graph as a list of operations, ready to be run over and over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from torch import fx, nn

from resnet_probe.engine.pullback import rules
from resnet_probe.engine.pullback.folding import leaf_of


@dataclass(frozen=True)
class Operation:
    """One node of a graph: what it calls, and which values nobody reads after it."""

    node: fx.Node
    call: Callable[..., Any]
    leaf: nn.Module | None
    rule: rules.Rule | None
    finished: tuple[fx.Node, ...]

    def run(self, values: dict[fx.Node, Any]) -> Any:
        """The node's value from those of the nodes that it reads."""
        return self.call(*self.arguments(values), **self.keywords(values))

    def arguments(self, values: dict[fx.Node, Any]) -> tuple[Any, ...]:
        return fx.node.map_arg(self.node.args, values.__getitem__)

    def keywords(self, values: dict[fx.Node, Any]) -> dict[str, Any]:
        kwargs = self.node.kwargs
        return fx.node.map_arg(kwargs, values.__getitem__) if kwargs else {}


def operations(module: fx.GraphModule) -> list[Operation]:
    """The operations between the graph's input and its output, in order."""
    nodes = [node for node in module.graph.nodes if node.op not in ("placeholder", "output")]
    last = {source: node for node in nodes for source in node.all_input_nodes}
    for end in nodes_of(module)[1].all_input_nodes:
        last.pop(end, None)
    found = []
    for node in nodes:
        leaf = leaf_of(module, node)
        finished = tuple(source for source in node.all_input_nodes if last.get(source) is node)
        found.append(Operation(node, _call(module, node), leaf, rules.find(node, leaf), finished))
    return found


def nodes_of(module: fx.GraphModule) -> tuple[fx.Node, fx.Node]:
    """The nodes of the input and of the output."""
    nodes = list(module.graph.nodes)
    return next(node for node in nodes if node.op == "placeholder"), nodes[-1]


def _call(module: fx.GraphModule, node: fx.Node) -> Callable[..., Any]:
    if node.op == "call_module":
        return module.get_submodule(str(node.target))
    if node.op == "call_method":
        return partial(_method, str(node.target))
    if node.op == "get_attr":
        return partial(attrgetter(str(node.target)), module)
    assert callable(node.target)
    return node.target


def _method(name: str, value: Any, *args: Any, **kwargs: Any) -> Any:
    return getattr(value, name)(*args, **kwargs)
