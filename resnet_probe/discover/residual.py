"""`chain_of`: the residual blocks of a model, found in its graph and proven."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.discover.proof import prove
from resnet_probe.discover.segments import (
    Segment,
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

    Raises `ProbeError` if the model cannot be traced, has no residual block, or fails the proof.
    """
    name = name or type(model).__name__
    graph = trace(model, example, name)
    found = segments(graph)
    cuts = _cuts(graph, found)
    if not cuts:
        raise ProbeError(f"{name} has no residual block: {_why_none(found)}")
    source, end = graph.nodes[0], _output(graph, name)
    chain = ResidualChain(
        name=name,
        stem=subgraph(graph, source, cuts[0].start),
        blocks=tuple(_blocks(graph, cuts)),
        head=subgraph(graph, cuts[-1].after, end),
        input_shape=tuple(example.shape[1:]),
        classes=(graph.shapes[end] or (0,))[-1],
    )
    prove(chain, model, graph, cuts, example)
    return chain


def _cuts(graph: Trace, found: list[Segment]) -> list[Cut]:
    """One cut a residual segment; what follows up to the next one is its `after`."""
    at = [i for i, segment in enumerate(found) if segment.operands()]
    cuts = []
    for place, i in enumerate(at):
        last = place + 1 == len(at)
        stop = i + 1 if last else at[place + 1]
        while last and stop < len(found) and is_activation(found[stop].end, graph.module):
            stop += 1
        shortcut, branch = _roles(graph, found[i])
        segment = found[i]
        cuts.append(Cut(segment.start, shortcut, branch, segment.end, found[stop - 1].end))
    return cuts


def _roles(graph: Trace, segment: Segment) -> tuple[fx.Node, fx.Node]:
    """(shortcut, branch): the shortcut has fewer activations, then fewer weights."""
    operands = segment.operands()
    assert operands is not None
    first, second = operands
    weights = [_weight(graph, segment.start, operand) for operand in operands]
    if weights[0] == weights[1]:
        raise ProbeError(
            f"{_name(ancestors(segment.end, segment.start))}: its two operands are equally "
            "deep, so which of them is the shortcut cannot be told"
        )
    return (first, second) if weights[0] < weights[1] else (second, first)


def _weight(graph: Trace, start: fx.Node, operand: fx.Node) -> tuple[int, int, int]:
    nodes = ancestors(operand, start)
    activations = sum(is_activation(node, graph.module) for node in nodes)
    weighted = sum(is_weighted(node, graph.module) for node in nodes)
    return activations, weighted, len(nodes)


def _blocks(graph: Trace, cuts: list[Cut]) -> list[ResidualBlock]:
    blocks: list[ResidualBlock] = []
    stage, shape = 0, None
    for number, cut in enumerate(cuts, start=1):
        if graph.shapes[cut.end] != shape:
            stage, shape = stage + 1, graph.shapes[cut.end]
        block = ResidualBlock(
            number=number,
            name=_name(ancestors(cut.branch, cut.start)) or f"addition {number}",
            stage=stage,
            shortcut=subgraph(graph, cut.start, cut.shortcut),
            branch=subgraph(graph, cut.start, cut.branch),
            after=subgraph(graph, cut.end, cut.after),
            shortcut_kind=_kind(graph, cut),
            in_shape=(graph.shapes[cut.start] or ())[1:],
            out_shape=(graph.shapes[cut.after] or ())[1:],
        )
        blocks.append(block)
    return blocks


def _kind(graph: Trace, cut: Cut) -> str:
    if cut.shortcut is cut.start:
        return "identity"
    nodes = ancestors(cut.shortcut, cut.start)
    if any(is_weighted(node, graph.module) for node in nodes):
        return "projection"
    return "parameter-free"


def _name(nodes: set[fx.Node]) -> str:
    """The path that the modules of a branch have in common."""
    paths = [str(node.target).split(".") for node in nodes if node.op == "call_module"]
    levels = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    common = [parts[0] for parts in levels]
    return ".".join(common[:-1] if len(paths) == 1 else common)


def _output(graph: Trace, name: str) -> fx.Node:
    end = graph.nodes[-1].args[0]
    if not isinstance(end, fx.Node) or graph.shapes.get(end) is None:
        raise ProbeError(f"{name} does not return one tensor: a chain needs logits as its output")
    return end


def _why_none(found: list[Segment]) -> str:
    parallel = [segment for segment in found if not segment.is_series]
    if not parallel:
        return "no two paths of its graph part and meet again in an addition (a plain network)"
    ends = sorted({str(getattr(s.end.target, "__name__", s.end.target)) for s in parallel})
    return f"its parallel paths meet in {', '.join(ends)}, not in an addition of two of them"
