"""The functional torch.fx graph of a model, taken without touching the model."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnet_probe.discover.batch import SIZES, merged, only_of_size, times_batch
from resnet_probe.discover.copies import twin, witness
from resnet_probe.discover.functional import Execution, make_functional, skip_idle
from resnet_probe.discover.outputs import Pick
from resnet_probe.discover.seen import NamingTracer, SeeingTracer
from resnet_probe.errors import ProbeError


@dataclass(frozen=True)
class Original:
    """A graph as it was traced, with all that it writes; `nodes` holds its own by a `Trace`'s."""

    module: fx.GraphModule
    nodes: dict[fx.Node, fx.Node]


@dataclass(frozen=True)
class Trace:
    """A graph whose nodes have no side effects, and the shape that each gave on the example.

    Its output is the one that `pick` takes out of the model's.  `original` is the graph that it was
    made from.
    """

    module: fx.GraphModule
    shapes: dict[fx.Node, tuple[int, ...] | None]
    pick: Pick
    original: Original

    @cached_property
    def nodes(self) -> list[fx.Node]:
        return list(self.module.graph.nodes)

    @cached_property
    def position(self) -> dict[fx.Node, int]:
        return {node: i for i, node in enumerate(self.nodes)}

    @property
    def output(self) -> fx.Node:
        """The node of the logits."""
        end = self.nodes[-1].args[0]
        assert isinstance(end, fx.Node)
        return end

    @property
    def knows_batch(self) -> bool:
        """Whether the graph computes with the batch size."""
        return any(node.target is times_batch for node in self.nodes)

    @cached_property
    def data(self) -> set[fx.Node]:
        """The nodes that are computed from the images."""
        found: set[fx.Node] = set()
        for node in self.nodes:
            if node.op == "placeholder" or any(argument in found for argument in inputs(node)):
                found.add(node)
        return found

    def between(self, start: fx.Node, end: fx.Node) -> list[fx.Node]:
        """What computes `end` from `start`, in the order of the graph."""
        return sorted(ancestors(end, start), key=self.position.__getitem__)


def trace(model: nn.Module, example: Tensor, name: str, output: str | int | None = None) -> Trace:
    """The graph of `model` in eval mode, in-place operations replaced by functional ones.

    A network whose graph holds sizes, or that decides by them, is traced once more by a tracer
    that knows them: its graph is for images of the example's size, in batches of any size.
    `output` picks one of several outputs, as `outputs.Pick` does.

    Raises `ProbeError` where the forward pass cannot be traced, or cannot run on `example`.
    """
    pick = Pick(name, None if output is None else str(output))
    return _plain(model, example, pick) or _seen(model, example, pick)


def _plain(model: nn.Module, example: Tensor, pick: Pick) -> Trace | None:
    """The graph as it is for every size; None if there is none that holds tensors alone."""
    root = twin(model, pick.name)
    try:
        graph = NamingTracer().trace(root)
        found = _finished(graph, root, model, example, pick)
    except Exception:  # the other tracer says why
        return None
    if sum(node.op == "placeholder" for node in graph.nodes) != 1:
        return None
    values = (node for node in found.nodes if node.op != "output")
    return found if all(found.shapes[node] is not None for node in values) else None


def _seen(model: nn.Module, example: Tensor, pick: Pick) -> Trace:
    tracers = [SeeingTracer(example, batch) for batch in SIZES]
    twins = [twin(model, pick.name) for _ in tracers]
    try:
        for tracer, copy in zip(tracers, twins, strict=True):
            tracer.graph = tracer.trace(copy)
        graph = merged(*tracers)
    except Exception as error:
        _must_run(witness(model, pick.name), example, pick.name)
        raise ProbeError(f"{pick.name} cannot be traced by torch.fx: {_reason(error)}") from error
    if tracers[0].read_sizes:
        _guard(graph, tuple(example.shape[1:]))
    return _finished(graph, twins[0], model, example, pick)


def _finished(
    graph: fx.Graph, root: nn.Module, model: nn.Module, example: Tensor, pick: Pick
) -> Trace:
    end = next(node for node in graph.nodes if node.op == "output")
    pick = pick.settled(end.args[0])
    end.args = (pick(end.args[0]),)
    original = _original(graph, root, twin(model, pick.name))
    execution = Execution(root, graph, pick.name)
    _must_run(execution.run, example, pick.name)
    make_functional(root, execution.writes)
    skip_idle(graph, root)
    module = fx.GraphModule(root, graph)
    graph.eliminate_dead_code()
    module.recompile()
    return Trace(module, execution.shapes, pick, original)


def _original(graph: fx.Graph, traced: nn.Module, root: nn.Module) -> Original:
    """A copy of the graph that calls the modules of `root`, another copy of the same model."""
    for node in graph.nodes:
        path = str(node.target)
        if node.op == "get_attr" and "." not in path and not hasattr(root, path):
            setattr(root, path, getattr(traced, path))  # a tensor that was made in the forward pass
    copied, nodes = fx.Graph(), dict[fx.Node, fx.Node]()
    copied.output(copied.graph_copy(graph, nodes))
    return Original(fx.GraphModule(root, copied), nodes)


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


def subgraph(
    trace: Trace, start: fx.Node, *ends: fx.Node, beside: tuple[fx.Node, ...] = ()
) -> nn.Module:
    """The part of the graph that computes the sum of `ends` from `start`: a module of one argument.

    The sum is broadcast with the tensors `beside` it.
    """
    if ends == (start,) and not beside:
        return nn.Identity()
    graph = fx.Graph()
    values = {start: graph.placeholder("h")}
    nodes = set[fx.Node]().union(*(ancestors(end, start) for end in ends + beside))
    for node in sorted(nodes, key=trace.position.__getitem__):
        if node.target is times_batch:
            axis, rows = start.meta["rows"]
            values[node] = graph.call_function(
                times_batch, (values[start], node.args[1], axis, rows)
            )
        else:
            values[node] = graph.node_copy(node, values.__getitem__)
    total = values[ends[0]]
    for end in ends[1:]:
        total = graph.call_function(operator.add, (total, values[end]))
    if beside:
        total = graph.call_function(broadcast, (total, *map(values.__getitem__, beside)))
    graph.output(total)
    return fx.GraphModule(trace.module, graph).eval()


def broadcast(value: Tensor, *others: Tensor) -> Tensor:
    """`value` in the shape that it has beside the others."""
    return torch.broadcast_tensors(value, *others)[0]


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


def _must_run(forward: Callable[[Tensor], Any], example: Tensor, name: str) -> None:
    try:
        with torch.no_grad():
            forward(example.clone())  # a network may write into its images
    except ProbeError:
        raise
    except Exception as error:
        raise ProbeError(
            f"{name} cannot run on an example of shape {tuple(example.shape)}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
