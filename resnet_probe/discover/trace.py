"""The functional torch.fx graph of a model, taken without touching the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnet_probe.discover.batch import SIZES, merged, only_of_size, times_batch
from resnet_probe.discover.functional import make_functional, skip_idle
from resnet_probe.discover.seen import SeeingTracer
from resnet_probe.errors import ProbeError


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

    @property
    def knows_batch(self) -> bool:
        """Whether the graph computes with the batch size."""
        return any(node.target is times_batch for node in self.nodes)

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

    A network whose graph holds sizes, or that decides by them, is traced once more by a tracer
    that knows them: its graph is for images of the example's size, in batches of any size.

    Raises `ProbeError` where the forward pass cannot be traced, or cannot run on `example`.
    """
    return _plain(model, example, name) or _seen(model, example, name)


def _plain(model: nn.Module, example: Tensor, name: str) -> Trace | None:
    """The graph as it is for every size; None if there is none that holds tensors alone."""
    twin = _twin(model, name)
    try:
        with torch.random.fork_rng([]):
            graph = fx.Tracer().trace(twin)
        found = _finished(graph, twin, example, name)
    except Exception:  # the other tracer says why
        return None
    if sum(node.op == "placeholder" for node in graph.nodes) != 1:
        return None
    values = (node for node in found.nodes if node.op != "output")
    return found if all(found.shapes[node] is not None for node in values) else None


def _seen(model: nn.Module, example: Tensor, name: str) -> Trace:
    tracers = [SeeingTracer(example, batch) for batch in SIZES]
    twins = [_twin(model, name) for _ in tracers]
    try:
        with torch.random.fork_rng([]):
            for tracer, twin in zip(tracers, twins, strict=True):
                tracer.graph = tracer.trace(twin)
        graph = merged(*tracers)
    except Exception as error:
        _must_run(model, example, name)
        raise ProbeError(f"{name} cannot be traced by torch.fx: {_reason(error)}") from error
    if tracers[0].read_sizes:
        _guard(graph, tuple(example.shape[1:]))
    return _finished(graph, twins[0], example, name)


def _finished(graph: fx.Graph, twin: nn.Module, example: Tensor, name: str) -> Trace:
    make_functional(graph, twin)
    skip_idle(graph, twin)
    module = fx.GraphModule(twin, graph)
    graph.eliminate_dead_code()
    module.recompile()
    recorder = _ShapeRecorder(module)
    _must_run(recorder.run, example, name)
    return Trace(module, recorder.shapes)


def _guard(graph: fx.Graph, shape: tuple[int, ...]) -> None:
    """Let the graph refuse images of another size than those its sizes are of."""
    source = next(iter(graph.nodes))
    last = source
    while last.next.target is times_batch:
        last = last.next
    with graph.inserting_after(last):
        guard = graph.call_function(only_of_size, (source, shape))
    guard.meta["rows"] = source.meta["rows"]
    source.replace_all_uses_with(guard, lambda user: user.target not in (times_batch, only_of_size))


def subgraph(trace: Trace, start: fx.Node, end: fx.Node) -> nn.Module:
    """The part of the graph that computes `end` from `start`, as a module of one argument."""
    if start is end:
        return nn.Identity()
    graph = fx.Graph()
    values = {start: graph.placeholder("h")}
    for node in trace.between(start, end):
        if node.target is times_batch:
            axis, rows = start.meta["rows"]
            values[node] = graph.call_function(
                times_batch, (values[start], node.args[1], axis, rows)
            )
        else:
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
        waiting.extend(inputs(node))
    return found


def inputs(node: fx.Node) -> list[fx.Node]:
    """The tensors that a node computes with; the batch size is known everywhere, and is none."""
    return [] if node.target is times_batch else node.all_input_nodes


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


class _ShapeRecorder(fx.Interpreter):
    """Runs the graph and keeps each node's shape, never its value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.shapes: dict[fx.Node, tuple[int, ...] | None] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.shapes[n] = tuple(value.shape) if isinstance(value, Tensor) else None
        return value


def _must_run(forward: Callable[[Tensor], Any], example: Tensor, name: str) -> None:
    try:
        with evaluated(forward) if isinstance(forward, nn.Module) else torch.no_grad():
            forward(example)
    except Exception as error:
        raise ProbeError(
            f"{name} cannot run on an example of shape {tuple(example.shape)}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
