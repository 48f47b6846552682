"""The proof that a chain is the network that it was cut from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from resnet_probe.chain import ResidualChain
from resnet_probe.discover.copies import witness
from resnet_probe.discover.functional import InOrder, is_writable, same_bits
from resnet_probe.discover.parts import Parts
from resnet_probe.discover.trace import Trace, Untraceable
from resnet_probe.errors import ProbeError
from resnet_probe.state import AnyState, Inputs, State, residual

ROUNDING = 100
"""How many units in the last place of its largest value a chain may be off, where it rounds."""
MIXING = 1000
"""And how many the logits of an image, where only the other images of its batch differ."""
SEED = 0


def prove(
    chain: ResidualChain, model: nn.Module, graph: Trace, parts: Parts, example: Tensor | Inputs
) -> float:
    """The largest difference of chain and network on `example`: 0, or `ProbeError`.

    Whole: the chain's output is the model's, also for other inputs of another batch and length
    where those are free.  Block by block: run is what the network computes, and a gate of 0 is what
    it computes with the operands of the branch set to zero, on the states of the example and on
    random ones of both signs.  The network is the graph as it was traced, run from end to end with
    all that it writes, and not the one that the chain was cut from.

    A network that adds in another memory layout is proven to rounding, if the chain cannot have
    its layout.
    """
    whole = witness(model, chain.name)
    states = _states(chain, example)
    residues = []
    for given in (states[:-1], _random(states[:-1])):
        values = [residual(h) for h in given]
        for gone in range(-1, max(map(len, parts.sums))):
            found = _outputs(graph, parts, example, values, gone)
            residues += [
                _of_sum(chain, numbers, gone, *found[numbers[0]]) for numbers in parts.sums
            ]
    for _ in range(2):  # a network that keeps count is another one at its second call
        residues.append(prove_output(chain, whole, graph, example, chain.head(states[-1])))
    for more in other_inputs(graph, example):
        residues.append(_prove_other(chain, whole, graph, more))
    _prove_apart(chain, whole, graph, example)
    return max(residues)


def check_graph(graph: Trace, model: nn.Module, example: Tensor) -> None:
    """Raises `Untraceable` for a graph that is not the model: a forward pass that asks whether it
    has a tensor is told by torch.fx that it has none."""
    whole = graph.original.module
    found = InOrder(whole, whole.graph).run(example.clone())
    expected = graph.pick(graph.call(witness(model, graph.pick.name), example.clone()))
    try:
        residue(found, expected, f"{graph.pick.name}: its graph")
    except ProbeError as error:
        raise Untraceable(str(error)) from error


def tolerance(chain: ResidualChain) -> float:
    """What the proof lets pass as rounding, as a part of a result's largest value."""
    return ROUNDING * torch.finfo(chain.dtype).eps


def prove_output(
    chain: ResidualChain, model: nn.Module, graph: Trace, example: Any, logits: Tensor
) -> float:
    """The largest difference of these logits from the model's: 0, or `ProbeError` (see `prove`)."""
    expected = graph.pick(graph.call(model, example.clone()))
    return residue(logits, expected, f"{chain.name}: the chain from end to end")


def other_inputs(graph: Trace, example: Tensor | Inputs) -> list[Any]:
    """Inputs of other sizes and values, for a graph that computes with sizes."""
    if isinstance(example, Tensor):
        more = torch.cat([example, example[:1].flip(-1)])
        return [more, example[:1]] if graph.knows_size else []
    forms = {key: shape for key, _, shape in graph.forms}
    generator = torch.Generator().manual_seed(SEED)
    longer, shorter, one = {}, {}, {}
    for key, value in example.values.items():
        shape = forms[key]
        order = torch.randperm(value.numel(), generator=generator).to(value.device)
        other = value.flatten()[order].view(value.shape)
        if shape and isinstance(shape[0], str):
            longer[key], one[key] = torch.cat([value, other[:1]]), value[:1]
        if len(shape) > 1 and isinstance(shape[1], str) and value.shape[1] > 2:
            shorter[key] = other[:, :-1]
        else:
            shorter[key] = other
    return [Inputs({**example.values, **changed}) for changed in (shorter, longer, one) if changed]


def _of_sum(
    chain: ResidualChain, numbers: Sequence[int], gone: int, h: AnyState, wanted: AnyState
) -> float:
    """Of the blocks of one sum, usually a single one, with that one left out, or none (−1)."""
    for place, number in enumerate(numbers):
        h = chain.block(number).run(h, float(place != gone))
    names = [chain.block(number).name for number in numbers]
    left = f"leaving out the branch of {names[gone]}" if 0 <= gone < len(names) else "running"
    return _residue(h, wanted, f"{', '.join(names)}: {left}")


def _residue(found: AnyState, expected: AnyState, what: str) -> float:
    """The same of two states, with all that they carry."""
    kept = [s.carried if isinstance(s, State) else {} for s in (found, expected)]
    if kept[0].keys() != kept[1].keys():
        raise ProbeError(f"the proof of discovery failed at {what} carries other values")
    largest = residue(residual(found), residual(expected), what)
    for key, value in kept[1].items():
        if isinstance(value, Tensor):
            largest = max(largest, residue(kept[0][key], value, what))
        elif kept[0][key] != value:
            raise ProbeError(f"the proof of discovery failed at {what} carries another {key}")
    return largest


def residue(found: Tensor, expected: Tensor, what: str) -> float:
    """The largest difference of two results; `ProbeError` if it is more than rounding."""
    if same_bits(found, expected):
        return 0.0
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        gap = f"{_form(found)} instead of {_form(expected)}"
    else:
        largest = _gap(found, expected)
        if largest <= ROUNDING * _unit(expected):
            return largest
        gap = f"a largest difference of {largest:.3g}"
    raise ProbeError(
        f"the proof of discovery failed at {what} does not reproduce the network ({gap}): "
        "it may depend on chance, on state outside the forward pass, on autocast, or on a hook"
    )


def refuse_mixing(graph: Trace, name: str) -> None:
    """Raises `ProbeError` for a batch norm that takes its statistics from the batch."""
    for node in graph.nodes:
        if _takes_batch_statistics(graph, node):
            where = node.target if node.op == "call_module" else f"called as {node.name}"
            raise ProbeError(
                f"{name} has a batch norm that takes its statistics from the batch, {where}: the "
                "logits of an image depend on the others, so that no image has a result of its own"
            )


def _takes_batch_statistics(graph: Trace, node: fx.Node) -> bool:
    if node.op == "call_module":
        norm = graph.module.get_submodule(str(node.target))
        is_norm = isinstance(norm, nn.modules.batchnorm._BatchNorm)
        return is_norm and (norm.running_mean is None or norm.training)
    if node.target not in (F.batch_norm, torch.batch_norm):
        return False
    training = node.kwargs.get("training", node.args[5] if len(node.args) > 5 else False)
    return training is True


def _states(chain: ResidualChain, example: Tensor | Inputs) -> list[AnyState]:
    """The state before each block and behind the last, of the example."""
    found = [chain.stem(example.clone())]
    for block in chain.blocks:
        total = block.sum(found[-1])
        if total.is_complex():
            raise ProbeError(
                f"{block.name} of {chain.name} adds complex numbers, and what a block does is "
                "measured on real ones: let it add their torch.view_as_real"
            )
        found.append(block.close(found[-1], total))
    return found


def _random(states: list[AnyState]) -> list[AnyState]:
    """Normal values of both signs, of the size and layout of each state."""
    found: list[AnyState] = []
    for h in map(residual, states):
        if not h.is_floating_point():
            found.append(h)
            continue
        generator = torch.Generator(h.device).manual_seed(SEED)
        noise = torch.randn(h.shape, generator=generator, device=h.device)
        size = h.double().std(correction=0).nan_to_num(1.0, 1.0, 1.0)
        found.append(torch.empty_like(h).copy_(noise * (size if size > 0 else 1.0)))
    return found


def _outputs(
    graph: Trace, parts: Parts, example: Any, states: list[Tensor], gone: int
) -> dict[int, tuple[AnyState, AnyState]]:
    """Of each sum, by its first block, the state given to it, with what that carries in such a run
    of the network, and what the network makes of it, with zeros for the branch in the place `gone`.

    One run does for all blocks, but for those that hand on what is made of another's state.
    """
    found: dict[int, tuple[AnyState, AnyState]] = {}
    for some in _runs(parts):
        given = {parts.cuts[numbers[0] - 1].start: states[numbers[0] - 1] for numbers in some}
        out = [parts.cuts[numbers[gone] - 1] for numbers in some if 0 <= gone < len(numbers)]
        zeros = {way for cut in out for way in cut.branch}
        run = _changed(graph, parts, example, given, zeros)
        for first, *_, last in ((*numbers[:1], *numbers) for numbers in some):
            before, behind = parts.carries[first - 1], parts.carries[last]
            after = parts.cuts[last - 1].after
            made = {n: (run.found if n in before else run.made)[n] for n in (*behind, after)}
            found[first] = (
                _state(states[first - 1], {n: run.found[n] for n in before}),
                _state(made[after], {n: made[n] for n in behind}),
            )
    return found


def _runs(parts: Parts) -> list[list[list[int]]]:
    """The sums in groups, none with one that it hands something on of."""
    runs: list[list[list[int]]] = []
    handed = {numbers[0]: _handed(parts, numbers) for numbers in parts.sums}
    for numbers in parts.sums:
        free = (run for run in runs if not any(numbers[0] in handed[other[0]] for other in run))
        group = next(free, None)
        if group is None:
            runs.append(group := [])
        group.append(numbers)
    return runs


def _handed(parts: Parts, numbers: Sequence[int]) -> set[int]:
    """The later blocks of whose state a sum's last `after` makes something, to be carried."""
    return set[int]().union(*map(parts.hands_on, numbers)) - set(numbers)


def _state(h: Tensor, values: Mapping[fx.Node, Any]) -> AnyState:
    return State(h, {node.name: value for node, value in values.items()}) if values else h


def _changed(
    graph: Trace, parts: Parts, example: Any, given: Mapping[fx.Node, Tensor], zeros: set[fx.Node]
) -> _Changed:
    """A run of the network with these values at some nodes, by the nodes of `graph`."""
    own = graph.original.nodes
    ends = [parts.carries[0], *(parts.carries[numbers[-1]] for numbers in parts.sums)]
    wanted = {node for nodes in ends for node in nodes}
    wanted |= {parts.cuts[numbers[-1] - 1].after for numbers in parts.sums}
    run = _Changed(
        graph.original.module,
        {own[node]: value for node, value in given.items()},
        {own[node] for node in zeros},
        {own[node] for node in wanted},
    )
    run(example)
    run.made = {node: run.made[own[node]] for node in wanted}
    run.found = {node: run.found[own[node]] for node in wanted}
    return run


class _Changed(InOrder):
    """Runs the network with other values at some nodes: those `given`, or zeros.

    Whatever else holds the tensor there holds the other one from then on.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        given: dict[fx.Node, Tensor],
        zeros: Collection[fx.Node],
        wanted: Collection[fx.Node],
    ) -> None:
        super().__init__(module, module.graph)
        self.given, self.zeros, self.wanted = given, zeros, wanted
        self.made: dict[fx.Node, Any] = {}
        self.found: dict[fx.Node, Any] = {}

    def __call__(self, example: Any) -> None:
        """Fills `made`, as the network makes the wanted values, and `found`, as it reads them."""
        self.run(example)

    def run_node(self, n: fx.Node) -> Any:
        value = made = super().run_node(n)
        if n in self.given:
            value = self._put(made, self.given[n].clone())
        elif n in self.zeros:
            value = self._put(made, torch.zeros_like(made))
        if n in self.wanted:
            self.made[n], self.found[n] = _clone(made), _clone(value)
        return value

    def _put(self, value: Tensor, other: Tensor) -> Tensor:
        form = (value.data_ptr(), value.shape, value.stride())
        for node, held in self.env.items():
            if is_writable(held) and form == (held.data_ptr(), held.shape, held.stride()):
                self.env[node] = other
        return other


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _prove_other(chain: ResidualChain, model: nn.Module, graph: Trace, images: Any) -> float:
    try:
        expected = graph.pick(graph.call(model, images.clone()))
    except Exception:  # a network for one batch size only, which the example has
        return 0.0
    try:
        logits = chain(images)
    except RuntimeError as error:
        sizes = "×".join(map(str, images.shape))
        raise ProbeError(
            f"the proof of discovery failed: {chain.name} runs on inputs of {sizes}, and its chain "
            "does not"
        ) from error
    if logits.shape == (1, *expected.shape):  # a network that squeezes its single row away
        expected = expected[None]
    return residue(logits, expected, f"{chain.name}: the chain from end to end")


def _prove_apart(chain: ResidualChain, model: nn.Module, graph: Trace, example: Any) -> None:
    """Refuse a network whose logits of an image change with the other images of its batch."""
    batches = beside_others(example)
    logits: list[Tensor] = []
    with suppress(Exception):  # a network for one batch size only
        for images in batches:
            rows = graph.pick(graph.call(model, images))
            logits.append(rows[:1] if len(rows) == 2 else rows[-1:])
    for other in logits[1:]:
        if _gap(logits[0], other) > MIXING * _unit(logits[0]):
            raise ProbeError(
                f"the logits of an image of {chain.name} depend on the other images of its batch, "
                "so that no image has a result of its own"
            )


def beside_others(example: Any) -> list[Any]:
    """The first image beside itself, beside another one, and, of inputs, as the last of five."""
    if isinstance(example, Tensor):
        first = example[:1]
        return [torch.cat([first, other]) for other in (first, first.flip(-1).neg())]
    first, last = example[:1].values, example[-1:].values
    others = {key: _otherwise(value) for key, value in last.items()}
    return [_rows(first, first), _rows(first, others), _rows(*[others] * 4, first)]


def _rows(*given: Mapping[str, Tensor]) -> Inputs:
    """Inputs of so many rows; what has no row of its own stays."""
    first = given[0]
    return Inputs(
        {key: torch.cat([one[key] for one in given]) for key in first if first[key].dim()}
        | {key: value for key, value in first.items() if not value.dim()}
    )


def _otherwise(value: Tensor) -> Tensor:
    return value.flip(-1).neg() if value.is_floating_point() else value.flip(-1)


def _gap(found: Tensor, expected: Tensor) -> float:
    """The largest difference; infinite where only one of the two is finite."""
    gap = (found - expected).abs().nan_to_num(torch.inf)
    same = (found == expected) | ((found != found) & (expected != expected))
    return float(gap.masked_fill(same, 0).max().detach())


def _unit(value: Tensor) -> float:
    """A unit in the last place of the largest value."""
    finite = value[torch.isfinite(value)]
    if not value.is_floating_point() or not len(finite):
        return 0.0
    return torch.finfo(value.dtype).eps * float(finite.abs().max())


def _form(value: Tensor) -> str:
    return f"shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
