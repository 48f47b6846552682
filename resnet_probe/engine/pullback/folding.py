"""Which batch norms disappear into the weights of a neighbouring convolution on the way back.

In eval mode batch norm scales each channel.  That scale commutes with activation masks, so it can
move into the convolution before it, or into the one behind the next ReLU.  Only the way back is
folded: the forward pass stays the network's own, and with it every mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from resnet_probe.engine.fold import is_relu
from resnet_probe.engine.pullback.convolution import TransposedConvolution, has_rule


@dataclass(frozen=True)
class Folding:
    """The prepared convolutions of a graph, and the batch norms whose scales they hold."""

    convolutions: dict[fx.Node, TransposedConvolution]
    absorbed: frozenset[fx.Node]

    @classmethod
    def of(cls, module: fx.GraphModule) -> Folding:
        convolutions = {
            node: leaf
            for node in module.graph.nodes
            if isinstance(leaf := leaf_of(module, node), nn.Conv2d) and has_rule(leaf)
        }
        behind = {n: torch.ones(c.out_channels) for n, c in convolutions.items()}
        before = {n: torch.ones(c.in_channels) for n, c in convolutions.items()}
        absorbed = set()
        for node in module.graph.nodes:
            norm = leaf_of(module, node)
            if not is_frozen_norm(norm):
                continue
            source, reader = _only_source(node), _reader(module, node)
            for place, found in ((behind, source), (before, reader)):
                if found in place:
                    place[found] = place[found].to(scale_of(norm)) * scale_of(norm)
                    absorbed.add(node)
                    break
        made = {
            node: TransposedConvolution.of(
                conv, behind=behind[node].to(conv.weight), before=before[node].to(conv.weight)
            )
            for node, conv in convolutions.items()
        }
        return cls(made, frozenset(absorbed))

    @property
    def held_bytes(self) -> int:
        return sum(convolution.weight.nbytes for convolution in self.convolutions.values())


def leaf_of(module: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls."""
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def is_frozen_norm(module: nn.Module | None) -> bool:
    """Whether a module is a batch norm over images that uses its running statistics."""
    return (
        isinstance(module, nn.BatchNorm2d)
        and type(module) is nn.BatchNorm2d
        and module.running_var is not None
        and not module.training
    )


def scale_of(norm: nn.Module | None) -> Tensor:
    """What a batch norm multiplies each channel with, `[channels]`, in float64."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    return scale if norm.weight is None else scale * norm.weight.detach().double()


def _only_source(node: fx.Node) -> object:
    source = node.args[0]
    return source if isinstance(source, fx.Node) and len(source.users) == 1 else None


def _reader(module: fx.GraphModule, node: fx.Node) -> object:
    """The one operation that reads a node, behind a ReLU if there is one."""
    while len(node.users) == 1:
        node = next(iter(node.users))
        if not is_relu(module.get_submodule, node):
            return node
    return None
