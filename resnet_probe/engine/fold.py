"""A chain made fast for inference: batch norm folded away, buffers reused, channels last.

In eval mode batch norm is affine, so a convolution followed by it is one convolution with other
weights.  The folded chain computes the same function up to rounding; `sweep` says what that means
for predictions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from resnet_probe.chain import PlainLayer, ResidualBlock, ResidualChain
from resnet_probe.state import AnyState

FRESH = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.modules.batchnorm._BatchNorm)
RELU_FUNCTIONS = {torch.relu, F.relu, "relu"}
Find = Callable[[str], nn.Module]


def folded(chain: ResidualChain) -> ResidualChain:
    """The same function in fewer passes over memory; shares no tensor with `chain`."""
    blocks = tuple(_folded_block(block) for block in chain.blocks)
    return replace(chain, stem=fold(chain.stem), blocks=blocks, head=fold(chain.head))


def fold(module: nn.Module) -> nn.Module:
    """A copy of a traced module: batch norm in its convolution, ReLU in place behind it."""
    if not isinstance(module, fx.GraphModule):
        return copy.deepcopy(module)
    graph = fx.Graph()  # a copy of the whole module would be compiled before and after the changes
    graph.output(graph.graph_copy(module.graph, {}))
    given = {name: attrgetter(name)(module) for name in _held(graph)}
    parts = dict(given)
    find = parts.__getitem__
    for node in list(graph.nodes):
        if isinstance(called(find, node), nn.BatchNorm2d) and _lone_input(node):
            _fuse(graph, parts, node)
    for node in list(graph.nodes):
        fresh = node.args and isinstance(called(find, node.args[0]), FRESH)
        if fresh and is_relu(find, node) and _lone_input(node):
            _in_place(graph, node)
    graph.lint()
    own = {id(part): part for name, part in parts.items() if name not in given}  # made by _fuse
    twin = fx.GraphModule(copy.deepcopy({name: parts[name] for name in _held(graph)}, own), graph)
    twin.training = module.training
    for module in twin.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight = module.weight.data.contiguous(memory_format=torch.channels_last)
            module.weight.data = weight
    return twin


def _held(graph: fx.Graph) -> set[str]:
    """The names of what a graph calls and reads."""
    return {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}


def is_relu(find: Find, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(called(find, node)) is nn.ReLU
    return node.op in ("call_function", "call_method") and node.target in RELU_FUNCTIONS


class FoldedBlock(ResidualBlock):
    """A block whose branch ends in a tensor of its own, so that the sum can be made in it."""

    def run(self, h: AnyState, gate: float = 1.0) -> AnyState:
        total = self.sum(h, gate)
        # Only into the sum: a deleted block's shortcut may be the state that other edits share.
        if gate != 0 and isinstance(h, Tensor) and type(self.after) is nn.ReLU:
            return total.relu_()
        return self.close(h, total)

    def sum(self, h: AnyState, gate: float = 1.0) -> Tensor:
        if gate == 0:
            return self.shortcut(h)
        total = self.branch(h)
        if gate != 1:
            total = total.mul_(gate)
        return total.add_(self.shortcut(h))


def _folded_block(block: ResidualBlock) -> ResidualBlock:
    shortcut, branch, after = fold(block.shortcut), fold(block.branch), fold(block.after)
    if isinstance(block, PlainLayer) or not _ends_fresh(branch):
        return replace(block, shortcut=shortcut, branch=branch, after=after, total=None)
    if _is_only_relu(after):
        after = nn.ReLU()
    kept: dict[str, Any] = {field.name: getattr(block, field.name) for field in fields(block)}
    parts = {"shortcut": shortcut, "branch": branch, "after": after, "total": None}
    return FoldedBlock(**kept | parts)


def _is_only_relu(module: nn.Module) -> bool:
    if not isinstance(module, fx.GraphModule):
        return False
    inner = [node for node in module.graph.nodes if node.op not in ("placeholder", "output")]
    return len(inner) == 1 and is_relu(module.get_submodule, inner[0])


def _ends_fresh(module: nn.Module) -> bool:
    """Whether the last operation allocates its output, so that writing into it harms nobody."""
    if not isinstance(module, fx.GraphModule):
        return False
    last = next(node for node in module.graph.nodes if node.op == "output").args[0]
    return isinstance(called(module.get_submodule, last), FRESH) and len(last.users) == 1


def called(find: Find, node: object) -> nn.Module | None:
    """The module that a node calls, if it calls one; `find` gives modules by name."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return find(str(node.target))
    return None


def _lone_input(node: fx.Node) -> bool:
    """Whether nothing else reads what `node` reads."""
    return bool(node.args) and isinstance(node.args[0], fx.Node) and len(node.args[0].users) == 1


def _fuse(graph: fx.Graph, parts: dict[str, Any], norm: fx.Node) -> None:
    """Put a batch norm into the convolution that it reads, if it reads one."""
    node = norm.args[0]
    convolution, scale = (called(parts.__getitem__, each) for each in (node, norm))
    if not (type(convolution) is nn.Conv2d and isinstance(scale, nn.BatchNorm2d)):
        return
    assert isinstance(node, fx.Node)
    name = f"{node.name}_folded"  # of the call: one convolution may stand before several norms
    parts[name] = fuse_conv_bn_eval(convolution, scale)
    node.target = name
    norm.replace_all_uses_with(node)
    graph.erase_node(norm)


def _in_place(graph: fx.Graph, relu: fx.Node) -> None:
    with graph.inserting_after(relu):
        fast = graph.call_function(torch.relu_, (relu.args[0],))
    relu.replace_all_uses_with(fast)
    graph.erase_node(relu)
