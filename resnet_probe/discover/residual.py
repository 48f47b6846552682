"""`chain_of`: the residual blocks of a model, found in its graph and proven."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.discover.branches import by_branch
from resnet_probe.discover.copies import plain, undisturbed, usual_torch
from resnet_probe.discover.gradients import strays
from resnet_probe.discover.naming import layers, names, stages
from resnet_probe.discover.nested import LEVELS, Found, choose
from resnet_probe.discover.outputs import Pick
from resnet_probe.discover.parts import Parts
from resnet_probe.discover.proof import check_graph, prove, refuse_mixing, tolerance
from resnet_probe.discover.report import inner_blocks, role, skips, why_none, why_not_cut
from resnet_probe.discover.rows import images_first
from resnet_probe.discover.segments import (
    Cut,
    Segment,
    behind,
    holds_parameters,
    is_activation,
    is_weighted,
    segments,
)
from resnet_probe.discover.trace import Trace, Untraceable, export_trace, trace
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs, in_two_rows

PRODUCTS = {operator.mul, torch.mul, "mul"}


def chain_of(
    model: nn.Module,
    example: Any,
    *,
    name: str | None = None,
    output: str | int | None = None,
    along: str | None = None,
    fixed: Mapping[str, Any] | None = None,
    level: str = "inner",
) -> ResidualChain:
    """Cut a residual network into its chain, and prove on `example` that the chain is the network.

    `example` is a batch that the model accepts, on the model's device: a tensor `[n, …]`, a tuple
    of tensors, or a dictionary of them by the names of `forward`.  The chain is called with the
    same.  It shares the model's parameters and buffers, runs in eval mode, and gives its output bit
    for bit; each block with its branch left out equals the graph with that operand of the addition
    set to zero.

    Blocks inside blocks: the innermost that make a series are the chain, and the skips around them
    are carried beside the state (`level="outer"`: the outermost are).  So are a U-Net's.  A block
    of several branches, `x + a(x) + m(x)`, is one block; with `level="branch"` it is one a branch,
    and its sum is added in their order, equal to the network's to rounding.

    Paths that part and meet in another way stay whole; the chain's `uncut` says which, and why.
    Of a model that returns several tensors, `output` names the logits: a place or a name, `"0"`,
    `"logits"`, or a way such as `"aux.0"`; without it, the only one, `logits` or `out`.  `along`
    names the input whose state is followed, where there are several (`"decoder_input_ids"`).
    `fixed` are constants that the model is called with; `use_cache=False` is one without asking.

    The graph is torch.fx's where the model traces and takes one tensor, and else `torch.export`'s:
    then `free` names the sizes that may be others than the example's.

    The model is left as it was: its mode, hooks, buffers, attributes and the random state, also
    after an error.

    Raises `ProbeError` if the model cannot be traced, has no residual block, or fails the proof.
    """
    if level not in LEVELS:
        raise ProbeError(f"level={level!r} is not a level of blocks: {', '.join(LEVELS)}")
    name = name or type(model).__name__
    model = plain(model, name)
    with usual_torch(), undisturbed(model):
        return _chain(model, example, name, output, along, fixed, level)


def _chain(
    model: nn.Module,
    example: Any,
    name: str,
    output: str | int | None,
    along: str | None,
    fixed: Mapping[str, Any] | None,
    level: str,
) -> ResidualChain:
    if isinstance(example, Tensor) and along is None and not fixed:
        try:
            graph, rows = _traced(model, example, name, output)
            check_graph(graph, model, rows)
            return _proven(model, graph, rows, level)
        except Untraceable as error:
            try:
                chain = _exported(model, example, name, output, None, None, level)
            except ProbeError:
                raise error from None
            if f"{next(iter(Inputs.of(example)))}[0]" in chain.free:
                return chain
            raise
    return _exported(model, example, name, output, along, fixed, level)


def _traced(
    model: nn.Module, example: Tensor, name: str, output: str | int | None
) -> tuple[Trace, Tensor]:
    """The graph, and the example: one row as two where axes of 1 are taken out, if it takes two."""
    graph = trace(model, example, name, output)
    if graph.squeezes and len(example) == 1:
        twice = torch.cat([example, example])
        with suppress(ProbeError):
            return trace(model, twice, name, output), twice
    return graph, example


def _exported(
    model: nn.Module,
    example: Any,
    name: str,
    output: str | int | None,
    along: str | None,
    fixed: Mapping[str, Any] | None,
    level: str,
) -> ResidualChain:
    constants = dict(fixed or {})
    if isinstance(example, Mapping) and not isinstance(example, Inputs):
        constants |= {k: v for k, v in example.items() if not isinstance(v, Tensor)}
        example = {k: v for k, v in example.items() if isinstance(v, Tensor)}
    inputs = Inputs.of(example)
    graph = export_trace(
        model, in_two_rows(inputs), Pick(name, None if output is None else str(output)),
        positional=isinstance(example, Tensor | tuple | list), along=along, fixed=constants,
    )  # fmt: skip
    return _proven(model, graph, in_two_rows(inputs), level)


def _proven(model: nn.Module, graph: Trace, example: Tensor | Inputs, level: str) -> ResidualChain:
    refuse_mixing(graph, graph.pick.name)
    parts, chain = _cut(graph, tuple(example.shape[1:]), level)
    if not graph.forms and isinstance(example, Tensor) and not example.is_floating_point():
        chain = replace(chain, takes=(("", example.dtype, ("n", *example.shape[1:])),))
    residue = prove(chain, model, graph, parts, example)
    chain = replace(chain, residue=residue, tolerance=tolerance(chain), front_end=graph.front_end)
    chain = replace(chain, strays=strays(chain, model, graph, example))
    return images_first(chain, example)


def _cut(graph: Trace, input_shape: tuple[int, ...], level: str) -> tuple[Parts, ResidualChain]:
    name, found = graph.pick.name, segments(graph)
    choice = choose(graph, found, level)
    cuts = _cuts(graph, found, choice.blocks)
    if not cuts:
        raise ProbeError(f"{name} has no residual block: {why_none(graph, found)}")
    uncut = (*skips(graph, choice), *why_not_cut(graph, found, choice))
    if level == "branch":
        graph, cuts = by_branch(graph, cuts)
    parts = Parts(graph, cuts)
    outputs = (graph.shapes[graph.output] or (1, 0))[1:]
    return parts, ResidualChain(
        name=name,
        stem=parts.stem(),
        blocks=tuple(_blocks(graph, parts)),
        head=parts.head(),
        input_shape=input_shape,
        classes=outputs[-1] if outputs else 1,
        uncut=uncut,
        output_shape=outputs,
        output=graph.pick.path,
        free=graph.free,
        takes=graph.forms,
        beside=parts.beside,
    )


def _cuts(graph: Trace, found: list[Segment], blocks: Sequence[Found]) -> list[Cut]:
    """One cut a block; what follows up to the start of the next one is its `after`."""
    cuts = []
    for place, block in enumerate(blocks):
        if place + 1 < len(blocks):
            after = blocks[place + 1].start
        else:
            after = _with_activations(graph, found, block.end)
        cuts.append(Cut(block.start, block.shortcut, block.branch, block.end, after))
    return cuts


def _with_activations(graph: Trace, found: list[Segment], end: fx.Node) -> fx.Node:
    """The last of the activations that directly follow a sum."""
    for segment in found:
        if segment.start is end and is_activation(segment.end, graph.module):
            end = segment.end
    return end


def _blocks(graph: Trace, parts: Parts) -> list[ResidualBlock]:
    blocks: list[ResidualBlock] = []
    cuts = parts.cuts
    called = names(graph, cuts)
    does = [role(graph, cut.ways) for cut in cuts]
    together = {number: numbers for numbers in parts.sums for number in numbers}
    layer = layers(cuts, called, does)
    stage = stages(graph, cuts)
    for number, cut in enumerate(cuts, start=1):
        block = ResidualBlock(
            number=number,
            name=called[number - 1],
            stage=stage[number - 1],
            shortcut=parts.operand(number, cut.shortcut, cut.branch),
            branch=parts.operand(number, cut.branch, cut.shortcut),
            after=parts.after(number),
            shortcut_kind=_kind(graph, cut),
            in_shape=(graph.shapes[cut.start] or ())[1:],
            out_shape=(graph.shapes[cut.after] or ())[1:],
            role=does[number - 1],
            layer=layer[number - 1],
            inner=inner_blocks(graph, behind(cut.shortcut, cut.start) | cut.ways),
            branch_first=cut.end.args[0] in cut.branch,
            total=parts.total(number) if _several(cut) else None,
            changes=parts.changes(number),
            partners=tuple(other for other in together[number] if other != number),
        )
        blocks.append(block)
    return blocks


def _several(cut: Cut) -> bool:
    return len(cut.shortcut + cut.branch) > 2


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
