"""The proof that a chain is the network that it was cut from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualChain
from resnet_probe.discover.copies import witness
from resnet_probe.discover.trace import Trace
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.discover.residual import Cut


REPEATS = 10
"""How many times the scatter of the network's own repetitions the chain may be off."""
ROUNDING = 100
"""And how many units in the last place of its largest value, at most."""


def prove(
    chain: ResidualChain, model: nn.Module, graph: Trace, cuts: list[Cut], example: Tensor
) -> float:
    """The largest difference of chain and network on `example`: 0, or `ProbeError`.

    Whole: the chain's output is the model's.  Block by block: run is what the graph computes, and
    a gate of 0 is what the graph computes with the branch operand of the addition set to zero.
    A chain that knows the batch size is held against the model on a larger batch too.  Only a
    network that does not repeat itself bit for bit is proven to the rounding of its repetitions.
    """
    evaluate = partial(_evaluate, _interpreter(graph, example), graph)
    residues = []
    with torch.no_grad():
        h = chain.stem(example)
        for block, cut in zip(chain.blocks, cuts, strict=True):
            follow = block.run(h)
            network = partial(evaluate, h, cut, zeroed=False)
            residues.append(_residue(follow, network, f"{block.name}: running it"))
            network = partial(evaluate, h, cut, zeroed=True)
            residues.append(
                _residue(block.run(h, 0), network, f"{block.name}: leaving out its branch")
            )
            h = follow
        whole = witness(model, chain.name)
        for _ in range(2):  # a network that keeps count is another one at its second call
            residues.append(prove_output(chain, whole, graph, example, chain.head(h)))
        if graph.knows_batch:
            more = torch.cat([example, example[:1].flip(-1)])
            residues.append(_prove_batch(chain, whole, graph, more))
    return max(residues)


def prove_output(
    chain: ResidualChain, model: nn.Module, graph: Trace, example: Tensor, logits: Tensor
) -> float:
    """The largest difference of these logits from the model's: 0, or `ProbeError` (see `prove`)."""

    def network() -> Tensor:
        return graph.pick(model(example))

    return _residue(logits, network, f"{chain.name}: the chain from end to end")


def _prove_batch(chain: ResidualChain, model: nn.Module, graph: Trace, images: Tensor) -> float:
    try:
        model(images)
    except Exception:  # a network for one batch size only, which the example has
        return 0.0
    return prove_output(chain, model, graph, images, chain(images))


def _interpreter(graph: Trace, example: Tensor) -> fx.Interpreter:
    interpreter = fx.Interpreter(graph.module, garbage_collect_values=False)
    interpreter.env = {graph.nodes[0]: example}
    return interpreter


def _evaluate(
    interpreter: fx.Interpreter, graph: Trace, h: Tensor, cut: Cut, *, zeroed: bool
) -> Tensor:
    """The graph's own nodes from `cut.start` to `cut.after`, one by one."""
    source = graph.nodes[0]
    interpreter.env = {source: interpreter.env[source], cut.start: h}
    for node in graph.between(cut.start, cut.after):
        value = interpreter.run_node(node)
        zero = zeroed and node is cut.branch
        interpreter.env[node] = torch.zeros_like(value) if zero else value
    return interpreter.env[cut.after]


def _residue(found: Tensor, network: Callable[[], Tensor], what: str) -> float:
    expected = network()
    if found.shape == expected.shape and torch.equal(found, expected):
        return 0.0
    if found.shape != expected.shape:
        gap = f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    else:
        largest = (found - expected).abs().max().item()
        scatter = (network() - expected).abs().max().item()
        rounding = torch.finfo(expected.dtype).eps * expected.abs().max().item()
        if largest <= min(REPEATS * scatter, ROUNDING * rounding):
            return largest
        gap = f"a largest difference of {largest:.3g}"
    raise ProbeError(
        f"the proof of discovery failed at {what} does not reproduce the network ({gap}): "
        "it may depend on chance, on state outside the forward pass, or on a hook"
    )
