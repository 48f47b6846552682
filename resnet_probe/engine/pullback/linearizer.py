"""From a module and a batch to the output and the pullback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnet_probe.engine.observe import without_gradients
from resnet_probe.engine.pullback import pulls, rules, stack
from resnet_probe.engine.pullback.folding import Folding
from resnet_probe.engine.pullback.operations import Operation, nodes_of, operations
from resnet_probe.engine.pullback.packed import Packed
from resnet_probe.engine.pullback.tape import Entry, Pull, Pullback
from resnet_probe.errors import ProbeError
from resnet_probe.state import AnyState, State, carried, carry, residual, with_residual

WHOLE = "module"


class Linearizer:
    """A module `[n, …]` to `[n, …]` in eval mode, prepared for `(output, Pullback)`.

    The output is the module's own, bit for bit.  Known operations go back by their own transpose,
    in dense batches; any other by autograd's rule for it, one cotangent after another.  The module
    must treat images independently, and is not changed.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module if isinstance(module, fx.GraphModule) else _as_graph(module)
        self.folding = Folding.of(self.module)
        self.operations = operations(self.module)
        self.start, output = nodes_of(self.module)
        self.end = output.args[0]
        exported = [isinstance(o.node.target, torch._ops.OpOverload) for o in self.operations]
        self.constant: nn.Module | None = None
        if isinstance(module, Packed):
            self.constant = module
        elif any(exported):
            self.constant = without_gradients(self.module)

    @torch.no_grad()
    def __call__(self, x: AnyState) -> tuple[Any, Pullback]:
        """The output for a state, and the way back to its `h`, what it carries being held."""
        h = residual(x)
        try:
            value, entries = self._graph(x) if self.constant is not None else self._record(x)
        except _SeveralTensors:
            value = self.module(x)

            def whole(h: Tensor) -> Tensor:
                return residual(self.module(with_residual(x, h)))

            entries = [Entry(self.end, (self.start,), _anything(whole, h))]
        back = Pullback(
            self.start, self.end, tuple(entries), tuple(h.shape[1:]), residual(value).dtype
        )
        return value, back

    @property
    def held_bytes(self) -> int:
        """Memory of the prepared weights."""
        return self.folding.held_bytes

    def _graph(self, x: AnyState) -> tuple[Any, list[Entry]]:
        """Of a graph of torch's own operations (`torch.export`), for which there are no rules, or
        of a part whose state is packed."""
        module = self.constant
        assert module is not None
        states: list[Any] = []

        def whole(h: Tensor) -> Tensor:
            states.append(module(with_residual(x, h)))
            return residual(states[0])

        pull = pulls.PullGraph(whole, residual(x))
        made = self._detached(x, states[0])
        return made, [Entry(self.end, (self.start,), pull)]

    @staticmethod
    def _detached(before: AnyState, made: AnyState) -> AnyState:
        """A state for the blocks that follow; raises `ProbeError` as `_followed` does."""
        if not isinstance(made, State):
            return made.detach()
        known = before.carried if isinstance(before, State) else {}
        for name, value in made.carried.items():
            if isinstance(value, Tensor) and value.requires_grad and value is not known.get(name):
                raise _beside(name)
        return made.map(Tensor.detach)

    def _record(self, x: AnyState) -> tuple[Any, list[Entry]]:
        """Run the operations, and keep the transposes of those that depend on the input."""
        values: dict[Any, Any] = {self.start: x}
        depends = {self.start}
        entries = []
        for operation in self.operations:
            node = operation.node
            sources = tuple(read for read in node.all_input_nodes if read in depends)
            if node.target in (residual, carry) and sources:
                values[node] = operation.run(values)
                sources = (_followed(node, sources, values),)
                shape = tuple(residual(values[node]).shape)
                depends.add(node)
                entries.append(Entry(node, sources, pulls.PullSum((shape,), shape)))
            elif sources and node.target is not carried:
                values[node], pull = self._step(operation, sources, values)
                if pull is not None:
                    depends.add(node)
                    entries.append(Entry(node, sources, pull))
            else:
                values[node] = operation.run(values)
            for read in operation.finished:
                del values[read]
        return values[self.end], entries

    def _step(
        self, operation: Operation, sources: tuple[fx.Node, ...], values: dict[fx.Node, Any]
    ) -> tuple[Any, Pull | None]:
        value = operation.run(values)
        if not _is_smooth(value):
            return value, None
        operands = {source: values[source] for source in sources}
        if len(sources) == 1 and value is operands[sources[0]]:
            return value, pulls.PullSum((tuple(value.shape),), tuple(value.shape))
        alike = value.is_floating_point() and {o.dtype for o in operands.values()} == {value.dtype}
        if operation.rule is not None and alike:
            given = operation.arguments(values), operation.keywords(values)
            step = rules.Step(operation.node, operation.leaf, *given, operands, value, self.folding)
            pull = operation.rule(step)
            if pull is not None:
                return value, pull
        function = _function(operation, sources, values)
        if alike and rules.is_elementwise(operation.node, operation.leaf) and len(sources) == 1:
            return value, _elementwise(function, *operands.values())
        return value, _anything(function, *operands.values())


def _followed(node: fx.Node, sources: tuple[fx.Node, ...], values: dict[fx.Node, Any]) -> fx.Node:
    """The residual tensor that a state is made of, or taken out of.

    Raises `ProbeError` where a value is made of it that is carried beside it: gradients do not
    travel along that.
    """
    if node.target is residual:
        return sources[0]
    h, made = node.args[1], node.args[2]
    assert isinstance(h, fx.Node) and isinstance(made, dict)
    for name, each in made.items():
        if each in sources and _is_smooth(values[each]):
            raise _beside(name)
    return h


def _beside(name: str) -> ProbeError:
    return ProbeError(
        f"the value {name} is made of the state and carried beside it to later blocks: gradients "
        "by path length along such values are not taken"
    )


class _SeveralTensors(Exception):
    """An operation gave more than one tensor: the module is taken as a whole."""


def _is_smooth(value: Any) -> bool:
    """Whether a value is a tensor that a gradient can flow through."""
    if isinstance(value, tuple | list) and any(isinstance(part, Tensor) for part in value):
        raise _SeveralTensors
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _function(
    operation: Operation, sources: tuple[fx.Node, ...], values: dict[fx.Node, Any]
) -> Callable[..., Any]:
    """An operation as a function of the values of `sources`."""
    constants = {
        read: values[read] for read in operation.node.all_input_nodes if read not in sources
    }
    return lambda *given: operation.run(constants | dict(zip(sources, given, strict=True)))


def _elementwise(function: Callable[..., Any], x: Tensor) -> Pull:
    value, pull = _vjp(function, x)
    return pulls.PullScaled(stack.aligned(pull(torch.ones_like(value))[0]))


def _anything(function: Callable[..., Any], *operands: Tensor) -> Pull:
    value, pull = _vjp(function, *operands)
    return pulls.PullAnything(pull, operands, value)


def _vjp(function: Callable[..., Any], *operands: Tensor) -> tuple[Tensor, Any]:
    found: tuple[Any, ...] = torch.func.vjp(function, *operands)
    return found[0], found[1]


def _as_graph(module: nn.Module) -> fx.GraphModule:
    """A graph that calls the module once; the identity is one without operations."""
    root = nn.Module()
    root.add_module(WHOLE, module)
    graph = fx.Graph()
    given = graph.placeholder("h")
    idle = type(module) is nn.Identity
    graph.output(given if idle else graph.call_module(WHOLE, (given,)))
    return fx.GraphModule(root, graph)
