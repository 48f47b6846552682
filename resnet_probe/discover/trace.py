"""The functional torch.fx graph of a model, taken without touching the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from resnet_probe.discover.batch import KNOWN, SIZES, merged, only_of_size, times_batch
from resnet_probe.discover.copies import twin, witness
from resnet_probe.discover.functional import Execution, make_functional, mend_gradients, skip_idle
from resnet_probe.discover.outputs import Pick
from resnet_probe.discover.reasons import why
from resnet_probe.discover.seen import NamingTracer, SeeingTracer
from resnet_probe.discover.written import keep_rows, squeezes, write_plainly
from resnet_probe.errors import ProbeError, first_line
from resnet_probe.state import InputForm, Inputs

Call: TypeAlias = Callable[[nn.Module, Any], Any]
"""Runs a model on what a graph takes as its input."""


CONTEXT = "context"
"""The mark of a node that is computed from the inputs, and not from the source of the state."""


class Untraceable(ProbeError):
    """torch.fx cannot follow a forward pass that runs."""


@dataclass(frozen=True)
class Original:
    """A graph as it was traced, with all that it writes; `nodes` holds its own by a `Trace`'s."""

    module: fx.GraphModule
    nodes: dict[fx.Node, fx.Node]


@dataclass(frozen=True)
class Trace:
    """A graph whose nodes have no side effects, and the shape that each gave on the example.

    Its output is the one that `pick` takes out of the model's.  `original` is the graph that it was
    made from.  `source` is where the state begins: the images, or the embedding of the tokens.
    `call` runs the model as the graph's input says; `forms` are those of its inputs, where the
    graph was made by `torch.export`.
    """

    module: fx.GraphModule
    shapes: dict[fx.Node, tuple[int, ...] | None]
    pick: Pick
    original: Original
    source: fx.Node
    call: Call
    forms: tuple[InputForm, ...] = ()

    @property
    def front_end(self) -> str:
        """What made the graph."""
        return "torch.export" if self.forms else "torch.fx"

    @property
    def free(self) -> tuple[str, ...]:
        """The sizes of inputs that are free, as `input_ids[0]`."""
        return tuple(
            f"{key}[{axis}]"
            for key, _, shape in self.forms
            for axis, entry in enumerate(shape)
            if isinstance(entry, str)
        )

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

    @property
    def knows_size(self) -> bool:
        """Whether its forward pass asked for a size of the images."""
        return any(node.target in (times_batch, only_of_size) for node in self.nodes)

    @property
    def squeezes(self) -> bool:
        """Whether it takes out whatever axes have one entry: of one row, that of the images."""
        return any(map(squeezes, self.nodes))

    @cached_property
    def data(self) -> set[fx.Node]:
        """The nodes that are computed from the source of the state."""
        found = {self.source}
        for node in self.nodes:
            if any(argument in found for argument in inputs(node)):
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


def export_trace(
    model: nn.Module,
    example: Inputs,
    pick: Pick,
    *,
    positional: bool,
    along: str | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Trace:
    """The same, of a model that `torch.export` follows: for several inputs, tokens, and more code.

    The inputs are given by name, or in their order if they are `positional`; `along` names the one
    that the state comes from, and `fixed` are constants.  Batches and sequences have any length, if
    the forward pass allows it.

    Raises `ProbeError` where the exporter cannot follow, or the model cannot run on `example`.
    """
    from resnet_probe.discover.export import constants_of, exported

    root = twin(model, pick.name)
    constants = constants_of(root, fixed or {})
    call = partial(_called, positional=positional, constants=constants)
    _must_run(partial(call, witness(model, pick.name)), example, pick.name)
    for decomposed in (False, True):
        found = exported(
            twin(model, pick.name), example, positional, pick,
            along=along, constants=constants, decomposed=decomposed,
        )  # fmt: skip
        try:
            return _finished(
                found.graph, found.root, model, example, pick, call, found.source, found.forms
            )
        except ProbeError:
            if decomposed:
                raise
    raise AssertionError("the second form is returned or raises")


def _called(model: nn.Module, given: Any, *, positional: bool, constants: Mapping[str, Any]) -> Any:
    values = Inputs.of(given).values
    return model(*values.values(), **constants) if positional else model(**values, **constants)


def _called_on_images(model: nn.Module, images: Tensor) -> Any:
    return model(images)


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
        raise Untraceable(f"{pick.name} cannot be traced by torch.fx: {why(error)}") from error
    if tracers[0].read_sizes:
        _guard(graph, tuple(example.shape[1:]))
    return _finished(graph, twins[0], model, example, pick)


def _finished(
    graph: fx.Graph,
    root: nn.Module,
    model: nn.Module,
    example: Tensor | Inputs,
    pick: Pick,
    call: Call = _called_on_images,
    source: fx.Node | None = None,
    forms: tuple[InputForm, ...] = (),
) -> Trace:
    end = next(node for node in graph.nodes if node.op == "output")
    pick = pick.settled(end.args[0])
    if source is None:
        end.args = (pick(end.args[0]),)
    whole = twin(model, pick.name)
    write_plainly(graph, root, whole)
    original = _original(graph, root, whole)
    execution = Execution(root, graph, pick.name)
    _must_run(execution.run, example, pick.name)
    keep_rows(graph, execution.shapes, len(example))
    make_functional(root, execution.writes)
    skip_idle(graph, root)
    mend_gradients(graph, root)
    module = fx.GraphModule(root, graph)
    graph.eliminate_dead_code()
    module.recompile()
    source = source or next(iter(graph.nodes))
    _mark_context(graph, source)
    return Trace(module, execution.shapes, pick, original, source, call, forms)


def _mark_context(graph: fx.Graph, source: fx.Node) -> None:
    """Mark what is computed from the inputs and not from the source of the state."""
    depends, data = set[fx.Node](), {source}
    for node in graph.nodes:
        if node.op == "placeholder" or any(a in depends for a in node.all_input_nodes):
            depends.add(node)
        if node.target not in KNOWN and any(a in data for a in node.all_input_nodes):
            data.add(node)
    for node in depends - data - {graph.output_node()}:
        node.meta[CONTEXT] = True


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
    """The tensors that a node computes with.

    Sizes and what the inputs tell beside the state (masks, positions) are known everywhere, and are
    none.
    """
    if node.target in KNOWN:
        return []
    return [argument for argument in node.all_input_nodes if CONTEXT not in argument.meta]


def _must_run(forward: Callable[[Any], Any], example: Tensor | Inputs, name: str) -> None:
    try:
        with torch.no_grad():
            forward(example.clone())  # a network may write into its images
    except ProbeError:
        raise
    except Exception as error:
        raise ProbeError(
            f"{name} cannot run on an example of shape {tuple(example.shape)}: {first_line(error)}"
        ) from error
