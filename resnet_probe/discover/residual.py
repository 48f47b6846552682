"""`chain_of`: the residual blocks of a model, found in its graph and proven."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.discover.proof import prove
from resnet_probe.discover.report import common_path, role, why_none, why_not_cut, within
from resnet_probe.discover.roles import roles
from resnet_probe.discover.segments import (
    Segment,
    holds_parameters,
    is_activation,
    is_weighted,
    segments,
)
from resnet_probe.discover.trace import Trace, ancestors, subgraph, trace
from resnet_probe.errors import ProbeError


@dataclass(frozen=True)
class Cut:
    """Where a block lies in the graph: from `start` to the addition `end`, and on to `after`."""

    start: fx.Node
    shortcut: fx.Node
    branch: fx.Node
    end: fx.Node
    after: fx.Node


def chain_of(model: nn.Module, example: Tensor, *, name: str | None = None) -> ResidualChain:
    """Cut a residual network into its chain, and prove on `example` that the chain is the network.

    `example` is a batch `[n, …]` that the model accepts, on the model's device.  The chain shares
    the model's parameters and buffers, runs in eval mode, and gives its output bit for bit; each
    block with its branch left out equals the graph with that operand of the addition set to zero.

    Paths that part and meet in another way stay whole; the chain's `uncut` says which, and why.

    Raises `ProbeError` if the model cannot be traced, has no residual block, or fails the proof.
    """
    name = name or type(model).__name__
    graph = trace(model, example, name)
    found = segments(graph)
    cuts = _cuts(graph, found)
    if not cuts:
        raise ProbeError(f"{name} has no residual block: {why_none(graph, found)}")
    source, end = graph.nodes[0], _output(graph, name)
    chain = ResidualChain(
        name=name,
        stem=subgraph(graph, source, cuts[0].start),
        blocks=tuple(_blocks(graph, cuts)),
        head=subgraph(graph, cuts[-1].after, end),
        input_shape=tuple(example.shape[1:]),
        classes=(graph.shapes[end] or (0,))[-1],
        uncut=(*why_not_cut(graph, found), *within(graph, cuts)),
    )
    return replace(chain, residue=prove(chain, model, graph, cuts, example))


def _cuts(graph: Trace, found: list[Segment]) -> list[Cut]:
    """One cut a residual segment; what follows up to the next one is its `after`."""
    operands = [(i, roles(graph, segment)) for i, segment in enumerate(found)]
    at = [(i, pair) for i, pair in operands if pair]
    cuts = []
    for place, (i, (shortcut, branch)) in enumerate(at):
        last = place + 1 == len(at)
        stop = i + 1 if last else at[place + 1][0]
        while last and stop < len(found) and is_activation(found[stop].end, graph.module):
            stop += 1
        cuts.append(Cut(found[i].start, shortcut, branch, found[i].end, found[stop - 1].end))
    return cuts


def _blocks(graph: Trace, cuts: list[Cut]) -> list[ResidualBlock]:
    blocks: list[ResidualBlock] = []
    stage, shape = 0, None
    for number, cut in enumerate(cuts, start=1):
        if graph.shapes[cut.end] != shape:
            stage, shape = stage + 1, graph.shapes[cut.end]
        block = ResidualBlock(
            number=number,
            name=common_path(ancestors(cut.branch, cut.start)) or f"addition {number}",
            stage=stage,
            shortcut=subgraph(graph, cut.start, cut.shortcut),
            branch=subgraph(graph, cut.start, cut.branch),
            after=subgraph(graph, cut.end, cut.after),
            shortcut_kind=_kind(graph, cut),
            in_shape=(graph.shapes[cut.start] or ())[1:],
            out_shape=(graph.shapes[cut.after] or ())[1:],
            role=role(graph, ancestors(cut.branch, cut.start)),
        )
        blocks.append(block)
    return blocks


def _kind(graph: Trace, cut: Cut) -> str:
    if cut.shortcut is cut.start:
        return "identity"
    nodes = ancestors(cut.shortcut, cut.start)
    if any(is_weighted(node, graph.module) for node in nodes):
        return "projection"
    return (
        "affine"
        if any(holds_parameters(node, graph.module) for node in nodes)
        else ("parameter-free")
    )


def _output(graph: Trace, name: str) -> fx.Node:
    end = graph.nodes[-1].args[0]
    if not isinstance(end, fx.Node) or graph.shapes.get(end) is None:
        raise ProbeError(f"{name} does not return one tensor: a chain needs logits as its output")
    return end
