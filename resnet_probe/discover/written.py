"""One way of writing for what a graph can write in several."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

SCALED_ADDITIONS = {torch.add, "add", "add_", torch.ops.aten.add.Tensor}
"""Additions that take a factor of their second operand."""
VIEWS: dict[Any, Any] = {
    "view": "reshape", "view_as": "reshape_as", torch.Tensor.view: torch.reshape,
}  # fmt: skip
SQUEEZES = {"squeeze", torch.squeeze, torch.ops.aten.squeeze.default}


def write_plainly(graph: fx.Graph, *roots: nn.Module) -> None:
    """Names that code can have, sums of two operands, views in every memory layout, and copies
    with a derivative.

    `roots` are copies of the model; what has another name now has it in each.
    """
    _write_names(graph, *roots)
    _write_additions(graph)
    _write_views(graph)
    for node in graph.nodes:
        if node.target is torch.ops.aten.copy.default:
            node.target = copied


def copied(into: Tensor, value: Tensor, non_blocking: bool = False) -> Tensor:
    """What `aten.copy` gives, which has no derivative: `value` as if written over `into`."""
    return value.to(into.dtype).expand(into.shape)


def _write_names(graph: fx.Graph, *roots: nn.Module) -> None:
    """Let parts that are called as code cannot be (`class`, or with quotes) have another name."""
    for node in graph.nodes:
        path = str(node.target).split(".")
        if node.op in ("call_module", "get_attr") and not all(map(_is_code, path)):
            node.target = next(iter({_renamed(root, path) for root in roots}))


def _renamed(root: nn.Module, path: Sequence[str]) -> str:
    found: list[str] = []
    owner: Any = root
    for part in path:
        value, name = getattr(owner, part, None), part
        if not _is_code(part):
            name = re.sub(r"\W", "_", part) + "_"
            while getattr(owner, name, value) is not value:
                name += "_"
            setattr(owner, name, value)
        owner = value
        found.append(name)
    return ".".join(found)


def _is_code(name: str) -> bool:
    plain = name.isprintable() and not set(name) & set('"\\')
    return plain and not keyword.iskeyword(name)


def _write_additions(graph: fx.Graph) -> None:
    """Write `torch.add(input=x, other=f, alpha=a)` as `torch.add(x, a * f)`."""
    for node in graph.nodes:
        given = dict(zip(("input", "other"), node.args, strict=False)) | node.kwargs
        alpha = given.pop("alpha", 1)
        if node.target not in SCALED_ADDITIONS or given.keys() != {"input", "other"}:
            continue
        if alpha != 1:
            with graph.inserting_before(node):
                other = graph.call_function(operator.mul, (given["other"], alpha))
            other.meta = dict(getattr(given["other"], "meta", {}))
            given["other"] = other
        node.args, node.kwargs = (given["input"], given["other"]), {}
        if isinstance(node.target, torch._ops.OpOverload):
            node.target = operator.add


def _write_views(graph: fx.Graph) -> None:
    """Write `view` as `reshape`, which does the same in every memory layout."""
    for node in graph.nodes:
        if node.target in VIEWS and not (node.kwargs or isinstance(node.args[-1], torch.dtype)):
            node.target = VIEWS[node.target]


def keep_rows(graph: fx.Graph, shapes: Mapping[fx.Node, tuple[int, ...] | None], rows: int) -> None:
    """Let `squeeze()` take out the axes that it does in `rows` rows, and keep that of a single one.

    A network that ends so gives the logits of one image alone without their first axis.
    """
    for node in graph.nodes:
        if squeezes(node) and rows > 1:
            (given,) = node.args
            axes = (axis for axis, entries in enumerate(shapes[given] or ()) if entries == 1)
            node.args = (given, tuple(axes))
            if isinstance(node.target, torch._ops.OpOverload):
                node.target = torch.squeeze


def squeezes(node: fx.Node) -> bool:
    """Whether it takes out whatever axes have one entry."""
    return node.target in SQUEEZES and len(node.args) == 1 and not node.kwargs
