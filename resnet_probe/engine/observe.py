"""Values from inside a chain's modules, handed out while they run.

The modules of a chain are functional torch.fx graphs, so a value that is handed out stays what it
was: nothing that runs later writes into it, and no hook is left on anything.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain as chained
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from resnet_probe.chain import ResidualChain
from resnet_probe.discover.functional import instance_norm
from resnet_probe.discover.parts import broadcast
from resnet_probe.engine.fold import called, is_relu

NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
)
NORM_FUNCTIONS = {
    F.batch_norm, torch.batch_norm, F.group_norm, torch.group_norm, F.layer_norm, torch.layer_norm,
    instance_norm,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class WeightLayer:
    """A convolution on the way of the signal; `block` is 0 in the stem.

    `node` gives its response: behind the norm that directly follows, or the convolution's own.
    """

    number: int
    name: str
    block: int
    kernel: str
    normed: bool
    module: nn.Module
    node: fx.Node


class Observed:
    """Runs a module and hands out the values of some of its nodes beside the output."""

    def __init__(self, module: nn.Module, nodes: Sequence[fx.Node]) -> None:
        self.module = module
        self.nodes = tuple(nodes)
        self.interpreter = _Reporter(module, nodes) if isinstance(module, fx.GraphModule) else None

    def __call__(self, h: Any) -> tuple[Any, list[Tensor]]:
        """The output for `h`, and the values of the nodes in their order."""
        if self.interpreter is None or not self.nodes:
            return self.module(h), []
        self.interpreter.found.clear()
        output = self.interpreter.run(h)
        values = [self.interpreter.found[node] for node in self.nodes]
        self.interpreter.found.clear()
        return output, values


class _Reporter(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, nodes: Sequence[fx.Node]) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.nodes = set(nodes)
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.nodes:
            self.found[n] = value
        return value


def without_gradients(module: nn.Module) -> nn.Module:
    """A copy that shares every tensor, its parameters as constants.

    So a backward pass keeps only what the gradient with respect to states needs, and the
    `requires_grad` flags of the model stay as they are.
    """
    constants = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    buffers = {id(b): b for b in module.buffers()}
    return copy.deepcopy(module, dict(chained(constants.items(), buffers.items())))


def weight_layers(chain: ResidualChain) -> list[WeightLayer]:
    """The convolutions of the stem and the branches, in the order of the network.

    The response of a convolution is taken behind the norm that directly follows it, before any
    activation or addition, as in He et al. 2015, figure 7.  Where that is not so for all of a
    network (pre-activation networks, whose last convolution of a branch has no norm behind it, or
    networks without norms), it is the convolution's own output everywhere, so that the layers of
    one network can be compared.
    """
    parts = [(0, chain.stem), *((block.number, block.branch) for block in chain.blocks)]
    found = [
        (number, part, node)
        for number, part in parts
        if isinstance(part, fx.GraphModule)
        for node in of_value(part)
        if _is_convolution(part, node)
    ]
    normed = bool(found) and all(_norm_behind(part, node) for _, part, node in found)
    return [
        WeightLayer(
            number=place,
            name=str(node.target),
            block=number,
            kernel="×".join(map(str, getattr(called(part.get_submodule, node), "kernel_size", ()))),
            normed=normed,
            module=part,
            node=(_norm_behind(part, node) or node) if normed else node,
        )
        for place, (number, part, node) in enumerate(found, start=1)
    ]


def relus(module: nn.Module) -> list[fx.Node]:
    """The nodes of a traced module that are ReLUs."""
    if not isinstance(module, fx.GraphModule):
        return []
    return [node for node in of_value(module) if is_relu(module.get_submodule, node)]


def of_value(module: fx.GraphModule) -> list[fx.Node]:
    """The nodes that a module's value is made of, in order.

    A branch that is smaller than the sum reads the shortcut beside it, for its shape alone.
    """
    found, waiting = set[fx.Node](), [module.graph.output_node()]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            sized = node.target is broadcast
            waiting += [cast(fx.Node, node.args[0])] if sized else node.all_input_nodes
    return [node for node in module.graph.nodes if node in found]


def _is_convolution(module: fx.GraphModule, node: fx.Node) -> bool:
    return isinstance(called(module.get_submodule, node), nn.modules.conv._ConvNd)


def _norm_behind(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The norm that reads a node's value, if nothing else does."""
    users = list(node.users)
    if len(users) != 1:
        return None
    norm = isinstance(called(module.get_submodule, users[0]), NORMS)
    return users[0] if norm or users[0].target in NORM_FUNCTIONS else None
