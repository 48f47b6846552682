"""What a chain computes, apart from its weights, as one number."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualChain

PLAIN = (bool, int, float, complex, str, bytes, type(None))
KNOWN = ("torch", "torchvision", "builtins", "_operator", "operator", "math", "resnet_probe")
"""Packages whose functions are told by their names; of others the source is read."""


def code_sha256(chain: ResidualChain) -> str:
    """SHA-256 of the operations of a chain, their settings and their constants.

    Two chains with the same weights and the same number compute the same; a model whose code was
    edited has another one, though it loads the same weights.  It is the same in every process and
    on every device, but not between the two ways to a graph, nor, where `torch.export` made it, for
    certain between versions of torch.
    """
    digest = hashlib.sha256()
    for line in _lines(chain):
        digest.update(line.encode(errors="backslashreplace") + b"\n")
    return digest.hexdigest()


def _lines(chain: ResidualChain) -> Iterator[str]:
    yield f"{chain.output} {chain.input_shape} {chain.classes}"
    yield from _of_part("stem", chain.stem)
    for block in chain.blocks:
        yield f"block {block.number} {block.branch_first}"
        for name in ("shortcut", "branch", "after", "total"):
            part = getattr(block, name, None)
            if part is not None:
                yield from _of_part(name, part)
    yield from _of_part("head", chain.head)


def _of_part(name: str, part: nn.Module) -> Iterator[str]:
    yield name
    if not isinstance(part, fx.GraphModule):
        yield from _of_module(part)
        return
    place = {node: number for number, node in enumerate(part.graph.nodes)}
    for node in part.graph.nodes:
        given = _told((node.args, dict(node.kwargs)), place)
        if node.op in ("call_function", "call_method"):
            yield f"{_told(node.target, place)} {given}"
        elif node.op == "call_module":
            yield f"module {node.target} {given}"
            yield from _of_module(part.get_submodule(str(node.target)))
        elif node.op == "get_attr":
            value = functools.reduce(getattr, str(node.target).split("."), part)
            yield f"value {node.target} {_told(value, place)}"
        else:
            yield f"{node.op} {given}"


def _of_module(module: nn.Module) -> Iterator[str]:
    """A layer and those in it: their classes, and what was set on them."""
    for name, each in module.named_modules():
        plainly = {
            key: value
            for key, value in vars(each).items()
            if not key.startswith("_") and key != "training" and _is_plain(value)
        }
        yield f"{name} {_told(type(each), {})} {each.extra_repr()} {_told(plainly, {})}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)


def _told(value: Any, place: Mapping[fx.Node, int]) -> str:
    """A value in words that are the same in every process; a node by its place."""
    if isinstance(value, fx.Node):
        return f"%{place[value]}"
    if isinstance(value, nn.Parameter):  # its values are those of the weights
        return f"parameter {tuple(value.shape)}"
    if isinstance(value, Tensor):
        held = value.detach().cpu().contiguous()
        content = hashlib.sha256(held.view(-1).view(torch.uint8).numpy().data).hexdigest()
        return f"tensor {held.dtype} {tuple(held.shape)} {content}"
    if isinstance(value, nn.Module):  # a graph that an operation takes, as `torch.cond` does
        return "; ".join(_of_part("part", value))
    if isinstance(value, Mapping):
        return _told([(k, value[k]) for k in sorted(value)], place)
    if isinstance(value, tuple | list):
        return f"({', '.join(_told(each, place) for each in value)})"
    if isinstance(value, slice):
        return f"slice{_told((value.start, value.stop, value.step), place)}"
    if isinstance(value, functools.partial):
        return f"{_told(value.func, place)} of {_told((value.args, value.keywords), place)}"
    if isinstance(value, (*PLAIN, torch.dtype)):
        return repr(value)
    if isinstance(value, torch.device):
        return "device"  # wherever it runs it is the same network
    return _named(value)


def _named(value: Any) -> str:
    """A function or a class by its name, one of the user's by its source too."""
    named = value if hasattr(value, "__qualname__") else type(value)
    module = str(getattr(named, "__module__", None) or "")
    name = str(value) if isinstance(value, torch._ops.OpOverload) else named.__qualname__
    source = "" if module.partition(".")[0] in KNOWN else _source(named)
    return f"{module}.{name}{source}"


def _source(value: Any) -> str:
    try:
        return f"\n{inspect.getsource(value)}"
    except (OSError, TypeError):  # of a notebook that is gone, or written in C
        return ""
