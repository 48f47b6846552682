"""`chain_of`: the residual blocks of a model, found in its graph and proven."""

from __future__ import annotations

import operator
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.discover.copies import plain, undisturbed
from resnet_probe.discover.naming import layers, names, stages
from resnet_probe.discover.proof import prove
from resnet_probe.discover.report import inner_blocks, role, why_none, why_not_cut
from resnet_probe.discover.segments import (
    Cut,
    Segment,
    Ways,
    behind,
    holds_parameters,
    is_activation,
    is_weighted,
    roles,
    segments,
)
from resnet_probe.discover.trace import Trace, subgraph, trace
from resnet_probe.errors import ProbeError

PRODUCTS = {operator.mul, torch.mul, "mul"}


def chain_of(
    model: nn.Module, example: Tensor, *, name: str | None = None, output: str | int | None = None
) -> ResidualChain:
    """Cut a residual network into its chain, and prove on `example` that the chain is the network.

    `example` is a batch `[n, …]` that the model accepts, on the model's device.  The chain shares
    the model's parameters and buffers, runs in eval mode, and gives its output bit for bit; each
    block with its branch left out equals the graph with that operand of the addition set to zero.

    Paths that part and meet in another way stay whole; the chain's `uncut` says which, and why.
    Of a model that returns several tensors, `output` names the logits: a place or a name, `"0"`,
    `"logits"`, or a way such as `"aux.0"`.

    The model is left as it was: its mode, hooks, buffers, attributes and the random state, also
    after an error.

    Raises `ProbeError` if the model cannot be traced, has no residual block, or fails the proof.
    """
    name = name or type(model).__name__
    model = plain(model, name)
    with undisturbed(model):
        graph = trace(model, example, name, output)
        cuts, chain = _cut(graph, name, tuple(example.shape[1:]))
        return replace(chain, residue=prove(chain, model, graph, cuts, example))


def _cut(graph: Trace, name: str, input_shape: tuple[int, ...]) -> tuple[list[Cut], ResidualChain]:
    found = segments(graph)
    cuts = _cuts(graph, found)
    if not cuts:
        raise ProbeError(f"{name} has no residual block: {why_none(graph, found)}")
    source, end = graph.nodes[0], graph.output
    outputs = (graph.shapes[end] or (1, 0))[1:]
    return cuts, ResidualChain(
        name=name,
        stem=subgraph(graph, source, cuts[0].start),
        blocks=tuple(_blocks(graph, cuts)),
        head=subgraph(graph, cuts[-1].after, end),
        input_shape=input_shape,
        classes=outputs[-1] if outputs else 1,
        uncut=tuple(why_not_cut(graph, found)),
        output_shape=outputs,
        output=graph.pick.path,
    )


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
    called = names(graph, cuts)
    does = [role(graph, behind(cut.branch, cut.start)) for cut in cuts]
    layer = layers(cuts, called, does)
    stage = stages(graph, cuts)
    for number, cut in enumerate(cuts, start=1):
        block = ResidualBlock(
            number=number,
            name=called[number - 1],
            stage=stage[number - 1],
            shortcut=_operand(graph, cut, cut.shortcut, cut.branch),
            branch=_operand(graph, cut, cut.branch, cut.shortcut),
            after=subgraph(graph, cut.end, cut.after),
            shortcut_kind=_kind(graph, cut),
            in_shape=(graph.shapes[cut.start] or ())[1:],
            out_shape=(graph.shapes[cut.after] or ())[1:],
            role=does[number - 1],
            layer=layer[number - 1],
            inner=inner_blocks(graph, behind(cut.shortcut + cut.branch, cut.start)),
            branch_first=cut.end.args[0] in cut.branch,
            total=subgraph(graph, cut.start, cut.end) if _several(cut) else None,
        )
        blocks.append(block)
    return blocks


def _several(cut: Cut) -> bool:
    return len(cut.shortcut + cut.branch) > 2


def _operand(graph: Trace, cut: Cut, ways: Ways, others: Ways) -> nn.Module:
    """One side of the sum, and of the shape of the sum, where the other side gives it that."""
    whole = any(graph.shapes[way] == graph.shapes[cut.end] for way in ways)
    return subgraph(graph, cut.start, *ways, beside=() if whole else others)


def _kind(graph: Trace, cut: Cut) -> str:
    way = cut.shortcut[0]
    if way is cut.start:
        return "identity"
    nodes = behind(cut.shortcut, cut.start)
    if way.target in PRODUCTS and any(is_activation(n, graph.module) for n in nodes):
        return "gated"
    if any(is_weighted(node, graph.module) for node in nodes):
        return "projection"
    if way.target in PRODUCTS and not all(isinstance(a, fx.Node) for a in way.args):
        return "scaled"
    return (
        "affine"
        if any(holds_parameters(node, graph.module) for node in nodes)
        else ("parameter-free")
    )
