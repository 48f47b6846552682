"""A graph whose nodes have no side effects: operations that write become functional ones.

Which operations write is not listed but seen: the graph is run once on the example, and a tensor
whose version has changed was written into.  Each such operation is replaced by the one of the same
name that does not write, if that gives the same on the example, and else by itself on a copy.
"""

from __future__ import annotations

import operator
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import _get_qualified_name
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs

OWNERS = (torch, F, torch.special)
"""Where the functions are looked up that do not write: `clamp` for `clamp_`."""
IDLE = (nn.Identity, nn.modules.dropout._DropoutNd)
INSTANCE_NORMS = {F.instance_norm, torch.instance_norm, torch.ops.aten.instance_norm.default}

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""What a node calls, or the name of a method, with arguments and keywords."""


def with_item(tensor: Tensor, index: Any, value: Any) -> Tensor:
    """A copy of `tensor` with `copy[index] = value`."""
    return set_item(tensor.clone(), index, value)


def set_item(tensor: Tensor, index: Any, value: Any) -> Tensor:
    """`tensor` itself, after `tensor[index] = value`."""
    tensor[index] = value
    return tensor


def in_order(value: Tensor) -> Tensor:
    """The same tensor, whose gradient comes back in the order of its elements in memory.

    That of one image may lie channels last, of which PyTorch's instance norm makes a wrong one
    (2.14, on a CPU).
    """
    return value.flatten(1).view(value.shape)


def instance_norm(function: str, args: tuple[Any, ...], kwargs: Any) -> Tensor:
    """What the instance norm of that path gives, with a gradient that is right."""
    return in_order(called(function, args, kwargs))


def on_a_copy(function: Any, place: int | str, args: tuple[Any, ...], kwargs: Any) -> Tensor:
    """What `function` leaves in the argument at `place`, or of that keyword, written into a copy.

    `function` is a function, its path (`torch.zero_`) or the name of a method (`zero_`).
    """
    given, named = list(args), dict(kwargs)
    holder: Any = named if isinstance(place, str) else given
    copy = holder[place] = holder[place].clone()
    called(function, given, named)
    return copy


def called(function: Any, args: Any, kwargs: Any) -> Any:
    """A function's value, or that of the method of its first argument with that name."""
    if isinstance(function, str) and "." in function:
        function = pkgutil.resolve_name(function)
    if isinstance(function, str):
        return getattr(args[0], function)(*args[1:], **kwargs)
    return function(*args, **kwargs)


@dataclass(frozen=True)
class Write:
    """`node` wrote into its argument at `place`; `aliases` are the nodes that hold that tensor.

    `proven` says that `functional_form` gave the same on the example.
    """

    node: fx.Node
    place: int | str
    aliases: frozenset[fx.Node]
    proven: bool


class InOrder(fx.Interpreter):
    """Runs a graph as its network does, in its order, writing where that writes.

    The images, and parameters and buffers that are read as values, are read as copies (one in each
    run), so that a network that writes into itself does not change the one that it was traced from.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, garbage_collect_values=True, graph=graph)
        self.extra_traceback = False
        self.read: dict[Any, Any] = {}

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.read.clear()
        return super().run(*args, **kwargs)

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        return _copied(super().placeholder(target, args, kwargs))

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target not in self.read:
            self.read[target] = _copied(super().get_attr(target, args, kwargs))
        return self.read[target]

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return super().call_function(set_item if target is with_item else target, args, kwargs)


class Execution(InOrder):
    """Runs a graph in order, notes each `Write`, and keeps the shape of each value."""

    def __init__(self, root: nn.Module, graph: fx.Graph, name: str) -> None:
        super().__init__(root, graph)
        self.name = name
        self.own = {path for path, _ in chain(root.named_parameters(), root.named_buffers())}
        self.writes: list[Write] = []
        self.shapes: dict[fx.Node, tuple[int, ...] | None] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = self._watched(n) if n.op.startswith("call") else super().run_node(n)
        self.shapes[n] = tuple(value.shape) if isinstance(value, Tensor) else None
        return value

    def _watched(self, node: fx.Node) -> Any:
        form = functional_form(node)
        expected = self._try(form) if form is not None else None
        before = {n: [t._version for t in tensors] for n, tensors in self._live()}
        value = super().run_node(node)
        live = self._live()
        written = {n for n, tensors in live if [t._version for t in tensors] != before[n]}
        if written:
            self.writes.append(self._write(node, value, written, same_bits(value, expected)))
        return value

    def _live(self) -> Iterator[tuple[fx.Node, list[Tensor]]]:
        for node, value in self.env.items():
            tensors = [t for t in tree_leaves(value) if is_writable(t)]
            if tensors:
                yield node, tensors

    def _try(self, form: Call) -> Any:
        """What the functional form gives for copies of the arguments, if it can be called."""
        target, args, kwargs = form
        given = tree_map(_copied, fx.node.map_arg((args, kwargs), self.env.__getitem__))
        try:
            return called(target, *given)
        except Exception:  # there is no such function, or it takes other arguments
            return None

    def _write(self, node: fx.Node, value: Any, written: set[fx.Node], proven: bool) -> Write:
        place, argument = self._target(node, written)
        into, apart = self.env[argument], _is_detached(argument)
        live = dict(self._live())
        aliases = {n for n in live if _alike(self.env[n], into) and _is_detached(n) == apart}
        attributes = {path for path, held in self.read.items() if _overlap(held, into)}
        if attributes & self.own:
            raise ProbeError(
                f"{self.name} writes into its own {min(attributes & self.own)} when it runs: it is "
                "another network at every call"
            )
        for other in self.graph.nodes:
            if other.op == "get_attr" and other.target in attributes:
                live[other] = [self.read[other.target]]
                if _alike(self.read[other.target], into):
                    aliases.add(other)
        for other, tensors in live.items():
            read = other not in aliases and any(node < user for user in other.users)
            if read and any(_overlap(t, into) for t in tensors):
                raise ProbeError(
                    f"{self._says(node)} into a view of a tensor that is read again "
                    f"({other.name}): let it write into a copy"
                )
        returned = _alike(value, into)
        if not returned and node.users:
            raise ProbeError(f"{self._says(node)} into its argument and gives another tensor")
        if node.op == "call_module" and not hasattr(self.submodules[str(node.target)], "inplace"):
            raise ProbeError(f"{self._says(node)} into its input: let it give a new tensor")
        return Write(node, place, frozenset(aliases), proven and returned)

    def _target(self, node: fx.Node, written: set[fx.Node]) -> tuple[int | str, fx.Node]:
        """The argument that was written: the first that is a changed tensor."""
        if node.kwargs.get("out") is not None:
            raise ProbeError(
                f"{self._says(node)} with out=, which has no gradient: let it give a new tensor"
            )
        places: Any = chain(enumerate(node.args), node.kwargs.items())
        found = [
            (place, argument)
            for place, argument in places
            if isinstance(argument, fx.Node)
            and argument in written
            and isinstance(self.env[argument], Tensor)
        ]
        memory = {
            tensor.untyped_storage().data_ptr()
            for n, tensors in self._live()
            if n in written
            for tensor in tensors
        }
        if not found or len(memory) != 1:
            raise ProbeError(f"{self._says(node)} into several tensors, or into a list of them")
        return found[0]

    def _says(self, node: fx.Node) -> str:
        what = getattr(node.target, "__name__", node.target)
        return f"{self.name} cannot be taken apart: {what} writes"


def make_functional(root: nn.Module, writes: list[Write]) -> None:
    """Replace what writes; who reads a changed tensor later reads the operation instead."""
    for module in root.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    for write in writes:
        _rewrite(write)


def _behind(module: nn.Module, given: Any, made: Tensor) -> Tensor:
    return in_order(made)


def mend_gradients(graph: fx.Graph, root: nn.Module) -> None:
    """Let instance norms get their gradients in the order that they can do with."""
    for module in root.modules():
        if isinstance(module, nn.modules.instancenorm._InstanceNorm):
            module.register_forward_hook(_behind)
    for node in graph.nodes:
        if node.target in INSTANCE_NORMS:
            node.args = (_get_qualified_name(node.target), node.args, dict(node.kwargs))
            node.target, node.kwargs = instance_norm, {}


def skip_idle(graph: fx.Graph, root: nn.Module) -> None:
    """Take out modules that do nothing in eval mode, so that an identity shows as one."""
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(root.get_submodule(str(node.target)), IDLE):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _rewrite(write: Write) -> None:
    node = write.node
    if node.op != "call_module" and node.target is not with_item:
        form = functional_form(node) if write.proven else None
        # The code of a graph can hold the path of a function, and not the function itself.
        path = node.target if isinstance(node.target, str) else _get_qualified_name(node.target)
        given: Any = (path, write.place, node.args, dict(node.kwargs))
        node.target, node.args, node.kwargs = form or (on_a_copy, given, {})
        node.op = "call_method" if isinstance(node.target, str) else "call_function"
    follower = node.next
    while follower.op != "root":
        for alias in write.aliases - {node}:
            follower.replace_input_with(alias, node)
        follower = follower.next


def functional_form(node: fx.Node) -> Call | None:
    """The call that may give what `node` gives without writing, by the names that torch uses."""
    kwargs = dict(node.kwargs)
    if kwargs.get("inplace"):
        return node.target, node.args, kwargs | {"inplace": False}
    if node.op == "call_method":
        name = str(node.target)
        if name.startswith("__i") and name.endswith("__"):
            return f"__{name[3:]}", node.args, kwargs
        return (name[:-1], node.args, kwargs) if _writes_by_name(name) else None
    if node.op == "call_function":
        twin = _counterpart(node.target)
        return None if twin is None else (twin, node.args, kwargs)
    return None


def _counterpart(function: Any) -> Callable[..., Any] | None:
    name = str(getattr(function, "__name__", ""))
    if getattr(operator, name, None) is function:
        found = getattr(operator, name[1:], None) if name.startswith("i") else None
        return found if callable(found) else None
    if not _writes_by_name(name):
        return None
    owners = (owner for owner in OWNERS if callable(getattr(owner, name[:-1], None)))
    return next((getattr(owner, name[:-1]) for owner in owners), None)


def _writes_by_name(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _is_detached(node: fx.Node) -> bool:
    """Whether a node is another tensor in the same memory, through which no gradient flows."""
    data = node.target is getattr and node.args[1:] == ("data",)
    return data or node.target in ("detach", torch.detach)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor | Inputs) else value


def is_writable(value: Any) -> bool:
    """Whether a value is a tensor in memory of its own kind that can be written into."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_inference()


def same_bits(a: Any, b: Any) -> bool:
    """Whether two tensors hold the same numbers, or both none, in the same type."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return False
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def _alike(a: Any, b: Any) -> bool:
    """Whether two values are tensors of the same numbers in the same memory."""
    if not (is_writable(a) and is_writable(b)):
        return False
    return (a.data_ptr(), a.dtype, a.shape, a.stride()) == (
        b.data_ptr(), b.dtype, b.shape, b.stride()
    )  # fmt: skip


def _overlap(a: Any, b: Tensor) -> bool:
    """Whether writing into one changes the other."""
    if not is_writable(a) or a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return False
    if a.dtype != b.dtype:
        return True
    size = a.untyped_storage().nbytes() // a.element_size()
    touched = torch.zeros(size, dtype=torch.bool, device=a.device)
    touched.as_strided(a.shape, a.stride(), a.storage_offset()).fill_(True)
    return bool(touched.as_strided(b.shape, b.stride(), b.storage_offset()).any())
