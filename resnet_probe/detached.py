"""A chain with the same weights that no gradient is asked of."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import chain as chained

from torch import nn

from resnet_probe.chain import ResidualChain


def detached(chain: ResidualChain) -> ResidualChain:
    """A chain of the same tensors whose parameters take no part in backpropagation.

    So a backward pass keeps only what the gradient with respect to states needs, and the
    `requires_grad` flags of the model stay as they are.
    """
    blocks = tuple(
        replace(
            block,
            shortcut=without_gradients(block.shortcut),
            branch=without_gradients(block.branch),
            after=without_gradients(block.after),
        )
        for block in chain.blocks
    )
    stem, head = without_gradients(chain.stem), without_gradients(chain.head)
    return replace(chain, stem=stem, blocks=blocks, head=head)


def without_gradients(module: nn.Module) -> nn.Module:
    """A copy that shares every tensor, its parameters as constants."""
    constants = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    buffers = {id(b): b for b in module.buffers()}
    return copy.deepcopy(module, dict(chained(constants.items(), buffers.items())))
