"""The second way to a graph: `torch.export`, for what torch.fx cannot trace.

Inputs in dictionaries, token networks, code that decides by types or shapes: the exporter runs the
forward pass on tensors without data and notes every operation.  What it gives is brought into the
form that torch.fx gives: modules of `torch.nn` that are one operation are called again as modules,
operations are torch's own functions, and there is one input.  The rest of discovery need not know
where a graph came from.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.nn import functional as F
from torch.utils._pytree import tree_unflatten

from resnet_probe.discover.batch import size
from resnet_probe.discover.outputs import Pick
from resnet_probe.discover.reasons import why
from resnet_probe.errors import ProbeError
from resnet_probe.state import InputForm, Inputs, checked

aten = torch.ops.aten
IDLE = {aten.dropout.default, aten.feature_dropout.default, aten.alias.default}
"""Nothing in evaluation mode."""
ASSERTIONS = ("_assert", "sym_constrain_range")
FUNCTIONS: dict[Any, Any] = {
    aten.add.Tensor: operator.add, aten.sub.Tensor: operator.sub, aten.mul.Tensor: operator.mul,
    aten.div.Tensor: operator.truediv, aten.add_.Tensor: operator.iadd,
    aten.mul_.Tensor: operator.imul, aten.sub_.Tensor: operator.isub,
    aten.relu.default: torch.relu, aten.relu_.default: torch.relu_,
    aten.sigmoid.default: torch.sigmoid, aten.tanh.default: torch.tanh,
    aten.softmax.int: torch.softmax,
    aten.gelu.default: F.gelu, aten.silu.default: F.silu, aten.mish.default: F.mish,
    aten.hardswish.default: F.hardswish, aten.hardsigmoid.default: F.hardsigmoid,
    aten.leaky_relu.default: F.leaky_relu, aten.elu.default: F.elu,
    aten.hardtanh.default: F.hardtanh, aten.softplus.default: F.softplus,
    aten.linear.default: F.linear, aten.conv1d.default: F.conv1d, aten.conv2d.default: F.conv2d,
    aten.conv3d.default: F.conv3d, aten.matmul.default: torch.matmul, aten.bmm.default: torch.bmm,
    aten.addmm.default: torch.addmm, aten.batch_norm.default: torch.batch_norm,
    aten.reshape.default: torch.reshape, aten.flatten.using_ints: torch.flatten,
    aten.permute.default: torch.permute, aten.view.default: torch.Tensor.view,
    aten.cat.default: torch.cat, aten.contiguous.default: torch.Tensor.contiguous,
}  # fmt: skip
"""torch's own function for an operation, where the rest of the package knows that one."""
WEIGHTED = {F.linear, F.conv1d, F.conv2d, F.conv3d, torch.addmm, torch.matmul, torch.bmm}
IN_PLACE = {operator.iadd, operator.imul, operator.isub}
LEAVES: dict[Any, tuple[type[nn.Module], ...]] = {
    F.linear: (nn.Linear,), F.conv1d: (nn.Conv1d,), F.conv2d: (nn.Conv2d,),
    F.conv3d: (nn.Conv3d,), torch.batch_norm: (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    aten.layer_norm.default: (nn.LayerNorm,), aten.group_norm.default: (nn.GroupNorm,),
    torch.relu: (nn.ReLU,), F.gelu: (nn.GELU,), F.silu: (nn.SiLU,), torch.tanh: (nn.Tanh,),
    torch.sigmoid: (nn.Sigmoid,), F.hardswish: (nn.Hardswish,),
    torch.relu_: (nn.ReLU,), aten.max_pool2d.default: (nn.MaxPool2d,),
    aten.adaptive_avg_pool2d.default: (nn.AdaptiveAvgPool2d,),
}  # fmt: skip
"""Modules that are one operation: a graph calls the module, and not the operation."""
LARGE = 2**30
VIEWS = {
    torch.reshape, torch.flatten, torch.Tensor.view, torch.Tensor.contiguous, torch.permute,
    aten.unsqueeze.default, aten.squeeze.dim, aten.expand.default, aten.slice.Tensor,
    aten.transpose.int, aten.to.dtype, aten.to.device, aten.to.dtype_layout, aten.alias.default,
    aten.detach.default,
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """A graph of one input, on a twin of the model; `source` is where the state begins.

    `forms` are those of its inputs.
    """

    graph: fx.Graph
    root: nn.Module
    source: fx.Node
    forms: tuple[InputForm, ...]


def exported(
    root: nn.Module, inputs: Inputs, positional: bool, pick: Pick, *,
    along: str | None, constants: Mapping[str, Any], decomposed: bool = False,
) -> Exported:  # fmt: skip
    """The graph of `root`, a twin of the model, for these inputs with free sizes where it has them.

    Raises `ProbeError` where the exporter cannot follow the forward pass, or there is no state.
    """
    program = _export(root, inputs, positional, pick.name, constants, decomposed)
    graph, forms = _with_one_input(program, root, inputs, pick)
    _simplify(graph)
    _call_leaves(graph, root)
    _canonical_sizes(graph, forms)
    _drop_unread(graph)
    return Exported(graph, root, _source(graph, root, inputs, pick.name, along), forms)


def _export(
    root: nn.Module, inputs: Inputs, positional: bool, name: str, constants: Mapping[str, Any],
    decomposed: bool,
) -> ExportedProgram:  # fmt: skip
    given = inputs.clone()
    args = tuple(given.values.values()) if positional else ()
    named = dict(constants) if positional else {**given.values, **constants}
    first: Exception | None = None
    for free in (2, 1, 0):  # the sequence and the batch, the batch alone, nothing
        shapes = {key: _axes(value, free) for key, value in given.values.items()}
        dynamic = _dynamic(root, shapes, positional, constants)
        try:
            with torch.no_grad(), _quiet():
                found = torch.export.export(root, args, named, dynamic_shapes=dynamic, strict=False)
                if not free or _any_size(found):
                    return found.run_decompositions({}) if decomposed else found
            first = first or ProbeError("it does something else for other sizes")
        except Exception as error:
            first = first or error
    raise ProbeError(f"{name} cannot be exported by torch.export: {why(first)}") from first


def _any_size(program: ExportedProgram) -> bool:
    """Whether the graph holds for every number of rows from 2 on, if that is free, and for every
    length up to one that the network has places for."""
    ranges = {str(k): v for k, v in program.range_constraints.items()}
    for node in program.graph.nodes:
        value = node.meta.get("val") if node.op == "placeholder" else None
        for axis, entry in enumerate(value.shape if isinstance(value, Tensor) else ()):
            limits = ranges.get(str(entry))
            if limits and (limits.lower > 2 or (axis == 0 and limits.upper < LARGE)):
                return False
    return True


def _most(program: ExportedProgram) -> dict[str, int]:
    """The largest value of each free size that has one."""
    found = {str(k): v.upper for k, v in program.range_constraints.items()}
    return {symbol: int(most) for symbol, most in found.items() if most < LARGE}


def constants_of(root: nn.Module, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The constants given, and no cache, which would make every call another one."""
    parameters = inspect.signature(root.forward).parameters
    without_cache = {"use_cache": False} if "use_cache" in parameters else {}
    return without_cache | dict(fixed)


def _axes(value: Tensor, free: int) -> dict[int, Any]:
    """The batch, and the length of a sequence: an image has none."""
    most = min(free, value.dim(), 1 if value.dim() > 3 else 2)
    return {axis: Dim.AUTO for axis in range(most) if value.shape[axis] > 1}


def _dynamic(
    root: nn.Module, shapes: dict[str, Any], positional: bool, constants: Mapping[str, Any]
) -> Any:
    fixed = dict.fromkeys(constants)
    if not positional:
        return {**shapes, **fixed}
    parameters = list(inspect.signature(root.forward).parameters.values())
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return {parameters[0].name: tuple(shapes.values()), **fixed}
    names = [parameter.name for parameter in parameters]
    return dict(zip(names, shapes.values(), strict=False)) | fixed


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter and the libraries say meanwhile is not for the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        said = io.StringIO()
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _with_one_input(
    program: ExportedProgram, root: nn.Module, inputs: Inputs, pick: Pick
) -> tuple[fx.Graph, tuple[InputForm, ...]]:
    """The program's graph, its inputs read from one and its weights from `root`."""
    graph, values = fx.Graph(), dict[fx.Node, Any]()
    given = graph.placeholder("inputs")
    specs = program.graph_signature.input_specs
    holders = [node for node in program.graph.nodes if node.op == "placeholder"]
    tensors = [
        node for node, spec in zip(holders, specs, strict=True)
        if spec.kind is InputKind.USER_INPUT and not isinstance(spec.arg, ConstantArgument)
    ]  # fmt: skip
    keys = list(inputs.values)
    if len(tensors) != len(keys):
        raise ProbeError(f"{pick.name} does not take the inputs {', '.join(keys)} as tensors")
    forms = tuple(_form(key, node) for key, node in zip(keys, tensors, strict=True))
    all_of_them = graph.call_function(checked, (given, pick.name, forms, _most(program)))
    for node, spec in zip(holders, specs, strict=True):
        if node in tensors:
            place = tensors.index(node)
            values[node] = graph.call_function(operator.getitem, (all_of_them, place))
            values[node].meta = {**node.meta, "input": keys[place]}
        elif spec.kind is InputKind.USER_INPUT:
            values[node] = getattr(spec.arg, "value", None)
        else:
            values[node] = _attribute(graph, root, program, spec)
    for node in program.graph.nodes:
        if node.op == "output":
            returned = [values.get(a, a) for a in _user_outputs(program, node)]
            graph.output(pick(tree_unflatten(returned, program.call_spec.out_spec)))
        elif node.op != "placeholder":
            _refuse_higher_order(node, pick.name)
            values[node] = graph.node_copy(node, lambda n: values[n])
    return graph, forms


def _user_outputs(program: ExportedProgram, output: fx.Node) -> list[Any]:
    returned: Any = output.args[0]
    return list(returned)[len(returned) - len(program.graph_signature.user_outputs) :]


def _refuse_higher_order(node: fx.Node, name: str) -> None:
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        raise ProbeError(f"{name} cannot be exported: its forward pass uses {node.target}")


def _form(key: str, node: fx.Node) -> InputForm:
    value = node.meta["val"]
    shape = tuple(int(text) if (text := str(s)).isdecimal() else text for s in value.shape)
    return key, value.dtype, shape


def _symbols(forms: tuple[InputForm, ...]) -> dict[str, tuple[str, int]]:
    """Of each free size an input and an axis that has it."""
    found: dict[str, tuple[str, int]] = {}
    for key, _, shape in forms:
        for axis, entry in enumerate(shape):
            if isinstance(entry, str):
                found.setdefault(entry, (key, axis))
    return found


def _attribute(graph: fx.Graph, root: nn.Module, program: ExportedProgram, spec: Any) -> fx.Node:
    if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
        return graph.get_attr(spec.target)
    if spec.kind is not InputKind.CONSTANT_TENSOR:
        raise ProbeError(f"the forward pass holds {spec.target}, which is no tensor")
    name = "literal_" + str(spec.target).replace(".", "_")
    root.register_buffer(name, program.constants[spec.target].detach(), persistent=False)
    return graph.get_attr(name)


def _simplify(graph: fx.Graph) -> None:
    """Torch's own functions, and nothing of what does nothing."""
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        name = getattr(node.target, "__name__", "")
        if name.startswith(ASSERTIONS):
            graph.erase_node(node)
        elif node.target in IDLE:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target in FUNCTIONS and not node.kwargs.get("alpha"):
            _rename(node)
        elif isinstance(node.target, torch._ops.OpOverload) and name.split(".")[0].endswith("_"):
            node.op, node.target = "call_method", name.split(".")[0]


def _drop_unread(graph: fx.Graph) -> None:
    """Take out what nobody reads, but for what writes."""
    for node in reversed(list(graph.nodes)):
        writes = str(getattr(node.target, "__name__", node.target)).split(".")[0].endswith("_")
        writes |= node.target in IN_PLACE
        if not node.users and node.op not in ("placeholder", "output") and not writes:
            graph.erase_node(node)


def _rename(node: fx.Node) -> None:
    node.target = FUNCTIONS[node.target]
    if node.target in WEIGHTED:
        node.meta["owner"] = _innermost(node)[1]


def _innermost(node: fx.Node) -> tuple[str, str]:
    """(the call, the path) of the module in whose forward pass an operation ran."""
    called = list(node.meta.get("nn_module_stack", {}).items())
    return (called[-1][0], called[-1][1][0].split("@")[0]) if called else ("", "")


def _call_leaves(graph: fx.Graph, root: nn.Module) -> None:
    """Modules that are one operation are called as modules."""
    alone: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op in ("call_function", "call_method") and "nn_module_stack" in node.meta:
            alone.setdefault(_innermost(node)[0], []).append(node)
    for nodes in alone.values():
        node, path = nodes[0], _innermost(nodes[0])[1]
        kinds = LEAVES.get(node.target, ())
        try:
            module = root.get_submodule(path) if path else None
        except AttributeError:
            continue
        if len(nodes) == 1 and type(module) in kinds and isinstance(node.args[0], fx.Node):
            given = [a for a in node.all_input_nodes if a.op != "get_attr"]
            if given == [node.args[0]]:
                node.op, node.target, node.args, node.kwargs = "call_module", path, (given[0],), {}


def _canonical_sizes(graph: fx.Graph, forms: tuple[InputForm, ...]) -> None:
    """Each free size is read once, from the inputs; values know which of their axes have it.

    A size that is computed from those is read from the first tensor that has it.
    """
    inputs = {node.meta["input"]: node for node in graph.nodes if "input" in node.meta}
    last = max(inputs.values(), key=list(graph.nodes).index)
    found: dict[str, fx.Node] = {}
    for symbol, (key, axis) in _symbols(forms).items():
        with graph.inserting_after(last):
            found[symbol] = graph.call_function(size, (inputs[key], axis))
        found[symbol].meta["symbol"] = symbol
    first: dict[str, tuple[fx.Node, int]] = {}
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if isinstance(value, Tensor):
            node.meta["sizes"] = tuple(str(s) for s in value.shape)
            for axis, entry in enumerate(node.meta["sizes"]):
                first.setdefault(entry, (node, axis))
        elif node.target is aten.sym_size.int and str(value) in found:
            node.replace_all_uses_with(found[str(value)])
            graph.erase_node(node)
        elif node.target is aten.sym_size.int and str(value) in first:
            node.args = first[str(value)]  # not of what is computed from the state


def _source(
    graph: fx.Graph, root: nn.Module, inputs: Inputs, name: str, along: str | None
) -> fx.Node:
    """Where the state begins: the embedding of the tokens, or else the floating-point input."""
    if along is not None and along not in inputs.values:
        raise ProbeError(f"along={along!r}: the inputs of {name} are {', '.join(inputs.values)}")
    tables = {
        node: (_rows(root, node), key)
        for node in graph.nodes
        if node.target is aten.embedding.default and (key := _looked_up(node)) is not None
    }
    if along is None or any(key == along for _, key in tables.values()):
        tables = {n: t for n, t in tables.items() if along in (None, t[1])}
        most = max((rows for rows, _ in tables.values()), default=0)
        largest = {node: key for node, (rows, key) in tables.items() if rows == most}
        if len(set(largest.values())) > 1:
            raise ProbeError(
                f"{name} has a state along each of {', '.join(largest.values())}: choose one with "
                "along="
            )
        if largest:
            return next(iter(largest))
    floats = {
        node.meta["input"]: node
        for node in graph.nodes
        if "input" in node.meta and node.meta["val"].is_floating_point()
    }
    if along is None and len(floats) == 1:
        return next(iter(floats.values()))
    if along in floats:
        return floats[along]
    raise ProbeError(
        f"where the state of {name} begins cannot be told: choose one of its inputs with along= "
        f"({', '.join(inputs.values)})"
    )


def _rows(root: nn.Module, lookup: fx.Node) -> int:
    table: Any = lookup.args[0]
    return 0 if table.op != "get_attr" else fx.graph_module._get_attr(root, table.target).numel()


def _looked_up(lookup: fx.Node) -> str | None:
    """The input whose entries an embedding looks up, itself or viewed."""
    node: Any = lookup.args[1]
    while node.op == "call_function" and node.target in VIEWS:
        node = node.args[0]
    return node.meta.get("input")
