"""The proof that a chain is the network that it was cut from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualChain
from resnet_probe.discover.trace import Trace, evaluated
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.discover.residual import Cut


def prove(
    chain: ResidualChain, model: nn.Module, graph: Trace, cuts: list[Cut], example: Tensor
) -> None:
    """Raise `ProbeError` unless chain and network agree bit for bit on `example`.

    Whole: the chain's output is the model's.  Block by block: run is what the graph computes, and
    a gate of 0 is what the graph computes with the branch operand of the addition set to zero.
    """
    interpreter = fx.Interpreter(graph.module, garbage_collect_values=False)
    with torch.no_grad():
        h = chain.stem(example)
        for block, cut in zip(chain.blocks, cuts, strict=True):
            follow = block.run(h)
            _same(
                follow,
                _evaluate(interpreter, graph, cut, h, zeroed=False),
                f"{block.name}: running it",
            )
            lesioned = _evaluate(interpreter, graph, cut, h, zeroed=True)
            _same(block.run(h, 0), lesioned, f"{block.name}: leaving out its branch")
            h = follow
        logits = chain.head(h)
    prove_output(chain, model, example, logits)


def prove_output(chain: ResidualChain, model: nn.Module, example: Tensor, logits: Tensor) -> None:
    """Raise `ProbeError` unless the model, called as it is, gives these logits bit for bit."""
    with evaluated(model):
        expected = model(example)
    _same(logits, expected, f"{chain.name}: the chain from end to end")


def _evaluate(
    interpreter: fx.Interpreter, graph: Trace, cut: Cut, h: Tensor, *, zeroed: bool
) -> Tensor:
    """The graph's own nodes from `cut.start` to `cut.after`, one by one."""
    interpreter.env = {cut.start: h}
    for node in graph.between(cut.start, cut.after):
        value = interpreter.run_node(node)
        zero = zeroed and node is cut.branch
        interpreter.env[node] = torch.zeros_like(value) if zero else value
    return interpreter.env[cut.after]


def _same(found: Tensor, expected: Tensor, what: str) -> None:
    if found.shape == expected.shape and torch.equal(found, expected):
        return
    if found.shape != expected.shape:
        gap = f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    else:
        gap = f"a largest difference of {(found - expected).abs().max().item():.3g}"
    raise ProbeError(
        f"the proof of discovery failed at {what} does not reproduce the network ({gap}): "
        "it may depend on chance, on state outside the forward pass, or on a hook"
    )
