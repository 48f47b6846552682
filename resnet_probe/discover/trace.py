"""The functional torch.fx graph of a model, taken without touching the model."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from resnet_probe.errors import ProbeError

OUT_OF_PLACE: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    torch.relu_: torch.relu,
    F.relu_: F.relu,
}


IDLE = (nn.Identity, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True)
class Trace:
    """A graph whose nodes have no side effects, and the shape that each gave on the example."""

    module: fx.GraphModule
    shapes: dict[fx.Node, tuple[int, ...] | None]

    @cached_property
    def nodes(self) -> list[fx.Node]:
        return list(self.module.graph.nodes)

    @cached_property
    def position(self) -> dict[fx.Node, int]:
        return {node: i for i, node in enumerate(self.nodes)}

    def between(self, start: fx.Node, end: fx.Node) -> list[fx.Node]:
        """What computes `end` from `start`, in the order of the graph."""
        return sorted(ancestors(end, start), key=self.position.__getitem__)


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Eval mode, without gradients and with the random state put back, for the time of a block."""
    training = {module: module.training for module in model.modules()}
    devices = {t.device for t in model.parameters() if t.device.type == "cuda"}
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng([d.index or 0 for d in devices]):
            yield
    finally:
        for module, flag in training.items():
            module.training = flag


def trace(model: nn.Module, example: Tensor, name: str) -> Trace:
    """The graph of `model` in eval mode, in-place operations replaced by functional ones.

    Raises `ProbeError` where the forward pass cannot be traced.
    """
    twin = _twin(model, name)
    try:
        with torch.random.fork_rng([]):
            graph = fx.Tracer().trace(twin)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ProbeError(f"{name} cannot be traced by torch.fx: {reason}") from error
    _make_functional(graph, twin)
    _skip_idle(graph, twin)
    module = fx.GraphModule(twin, graph)
    graph.eliminate_dead_code()
    module.recompile()
    return Trace(module, _shapes(module, example, name))


def subgraph(trace: Trace, start: fx.Node, end: fx.Node) -> nn.Module:
    """The part of the graph that computes `end` from `start`, as a module of one argument."""
    if start is end:
        return nn.Identity()
    graph = fx.Graph()
    values = {start: graph.placeholder("h")}
    for node in trace.between(start, end):
        values[node] = graph.node_copy(node, values.__getitem__)
    graph.output(values[end])
    return fx.GraphModule(trace.module, graph).eval()


def ancestors(end: fx.Node, start: fx.Node) -> set[fx.Node]:
    """`end` and all nodes that it is computed from, `start` and what lies before it left out."""
    found: set[fx.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node is start or node in found:
            continue
        found.add(node)
        waiting.extend(node.all_input_nodes)
    return found


def _twin(model: nn.Module, name: str) -> nn.Module:
    """A copy in eval mode, with the model's own tensors and without its hooks."""
    tensors = chain(model.parameters(), model.buffers())
    try:
        twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    except Exception as error:
        raise ProbeError(f"{name} cannot be copied: {error}") from error
    for module in twin.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    return twin.eval()


def _make_functional(graph: fx.Graph, root: nn.Module) -> None:
    """Replace in-place operations; who reads a changed tensor later reads the operation instead."""
    inplace = {name for name, module in root.named_modules() if getattr(module, "inplace", False)}
    for name in inplace:
        root.get_submodule(name).inplace = False  # type: ignore[assignment]
    for node in graph.nodes:
        if not (node.args and isinstance(node.args[0], fx.Node)):
            continue
        if _made_out_of_place(node) or (node.op == "call_module" and node.target in inplace):
            changed, follower = node.args[0], node.next
            while follower.op != "root":
                follower.replace_input_with(changed, node)
                follower = follower.next


def _skip_idle(graph: fx.Graph, root: nn.Module) -> None:
    """Take out modules that do nothing in eval mode, so that an identity shows as one."""
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(root.get_submodule(str(node.target)), IDLE):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _made_out_of_place(node: fx.Node) -> bool:
    """Whether `node` wrote into its first argument; if so it is now the operation that does not."""
    if node.op == "call_function" and node.target in OUT_OF_PLACE:
        node.target = OUT_OF_PLACE[node.target]
        return True
    if node.op == "call_method" and str(node.target).endswith("_"):
        node.target = str(node.target).rstrip("_")
        return True
    if node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
        return True
    return False


class _ShapeRecorder(fx.Interpreter):
    """Runs the graph and keeps each node's shape, never its value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.shapes: dict[fx.Node, tuple[int, ...] | None] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.shapes[n] = tuple(value.shape) if isinstance(value, Tensor) else None
        return value


def _shapes(
    module: fx.GraphModule, example: Tensor, name: str
) -> dict[fx.Node, tuple[int, ...] | None]:
    recorder = _ShapeRecorder(module)
    try:
        with torch.no_grad():
            recorder.run(example)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ProbeError(
            f"{name} cannot run on an example of shape {tuple(example.shape)}: {reason}"
        ) from error
    return recorder.shapes
