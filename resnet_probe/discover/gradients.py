"""Whether autograd gives the same gradient of a chain as of its network."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe.chain import ResidualChain
from resnet_probe.discover.copies import witness
from resnet_probe.discover.trace import Trace
from resnet_probe.errors import first_line
from resnet_probe.state import Inputs

ROWS = 2
"""How many rows of the example are enough, as a way back keeps every activation."""
SHARE = 1e-3
"""The share of a gradient that rounding may make, in float32 and finer types."""
SEED = 0


def strays(chain: ResidualChain, model: nn.Module, graph: Trace, example: Tensor | Inputs) -> str:
    """Why the gradients of the chain are not those of the network; nothing where they are.

    A graph holds what a forward pass computes, and not where it stops or replaces gradients.
    Nothing is said either where autograd gives no gradient of the network, or none that is finite.
    """
    given, wanted = _watched(chain, example[:ROWS])
    whole = witness(model, chain.name)
    try:
        expected = _gradient(lambda: graph.pick(graph.call(whole, given)), wanted)
    except Exception:  # autograd refuses its writes, or it is for other numbers of rows
        return ""
    try:
        found = _gradient(lambda: chain(given), wanted)
    except Exception as error:
        return f"autograd finds no way back through the chain of {chain.name}: {first_line(error)}"
    gap = sum(float((a - b).double().square().sum()) for a, b in zip(found, expected, strict=True))
    size = sum(float(b.double().square().sum()) for b in expected)
    share = max(SHARE, 20 * torch.finfo(chain.dtype).eps)
    if not isfinite(size) or gap <= share**2 * size or gap <= torch.finfo(chain.dtype).eps ** 2:
        return ""
    return (
        f"autograd gives another gradient of {chain.name} than of its chain: its forward pass "
        "stops or replaces gradients (torch.no_grad, an autograd.Function), or a hook does"
    )


def _watched(chain: ResidualChain, example: Any) -> tuple[Any, list[Tensor]]:
    """Inputs to run on, and that of which gradients are asked: they, or a weight near them."""
    values = example.values if isinstance(example, Inputs) else {"": example}
    leaves = {key: value.detach().clone() for key, value in values.items()}
    wanted: list[Tensor] = [
        leaf.requires_grad_() for leaf in leaves.values() if leaf.is_floating_point()
    ]
    if not wanted:
        near = (*chain.stem.parameters(), *chain.blocks[0].branch.parameters())
        wanted += sorted((p for p in near if p.requires_grad), key=Tensor.numel)[:1]
    with torch.enable_grad():
        given = {key: leaf.clone() for key, leaf in leaves.items()}  # which may be written into
    return (Inputs(given) if isinstance(example, Inputs) else given[""]), wanted


@torch.enable_grad()
def _gradient(run: Callable[[], Tensor], wanted: list[Tensor]) -> tuple[Tensor, ...]:
    """Of a random sum of the logits; zeros where no gradient leads back."""
    logits = run()
    if not wanted or not logits.requires_grad:
        return tuple(map(torch.zeros_like, wanted))
    generator = torch.Generator().manual_seed(SEED)
    back = torch.randn(logits.shape, generator=generator).to(logits)
    return torch.autograd.grad(
        logits, wanted, back, retain_graph=True, allow_unused=True, materialize_grads=True
    )
