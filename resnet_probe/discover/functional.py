"""A graph whose nodes have no side effects: in-place operations become functional ones."""

from __future__ import annotations

import operator
from collections.abc import Callable
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


def with_item(tensor: Tensor, index: Any, value: Any) -> Tensor:
    """A copy of `tensor` with `copy[index] = value`."""
    copy = tensor.clone()
    copy[index] = value
    return copy


def make_functional(graph: fx.Graph, root: nn.Module, name: str) -> None:
    """Replace in-place operations; who reads a changed tensor later reads the operation instead.

    Raises `ProbeError` where the network `name` writes into one of its own parameters or buffers.
    """
    own = {path for path, _ in chain(root.named_parameters(), root.named_buffers())}
    inplace = {path for path, module in root.named_modules() if getattr(module, "inplace", False)}
    for path in inplace:
        root.get_submodule(path).inplace = False  # type: ignore[assignment]
    for node in graph.nodes:
        if not (node.args and isinstance(node.args[0], fx.Node)):
            continue
        if _made_out_of_place(node) or (node.op == "call_module" and node.target in inplace):
            changed, follower = node.args[0], node.next
            if changed.op == "get_attr" and changed.target in own:
                raise ProbeError(
                    f"{name} writes into its own {changed.target} when it runs: it is another "
                    "network at every call"
                )
            while follower.op != "root":
                follower.replace_input_with(changed, node)
                follower = follower.next


def skip_idle(graph: fx.Graph, root: nn.Module) -> None:
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
