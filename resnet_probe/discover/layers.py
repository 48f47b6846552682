"""`layers_of`: a plain network as a chain whose blocks are layers, to delete them too."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, fx, nn

from resnet_probe.chain import OptionA, PlainLayer, ResidualChain
from resnet_probe.discover.copies import plain, undisturbed, usual_torch, witness
from resnet_probe.discover.gradients import strays
from resnet_probe.discover.parts import subgraph
from resnet_probe.discover.proof import prove_output, refuse_mixing, tolerance
from resnet_probe.discover.segments import is_activation, segments
from resnet_probe.discover.trace import Trace, trace
from resnet_probe.errors import ProbeError


def layers_of(
    model: nn.Module, example: Tensor, *, name: str | None = None, output: str | int | None = None
) -> ResidualChain:
    """Cut a network without shortcuts at its convolutions: the comparison of Veit et al. 2016, 4.1.

    A layer is a convolution with the normalisation and activation behind it; pooling that follows
    stays when the layer is deleted.  The first convolution is the stem, what follows the last
    layer the head; neither can be deleted.  A layer that changes the shape leaves the
    parameter-free option-A shortcut behind, any other the identity.  `output` as in `chain_of`.

    Raises `ProbeError` if the model cannot be traced, has parallel paths, or has no such layer.
    """
    name = name or type(model).__name__
    model = plain(model, name)
    with usual_torch(), undisturbed(model):
        graph = trace(model, example, name, output)
        refuse_mixing(graph, name)
        chain = _cut(graph, name, tuple(example.shape[1:]))
        residue = prove_output(chain, witness(model, name), graph, example, chain(example))
        chain = replace(chain, strays=strays(chain, model, graph, example))
    return replace(chain, residue=residue, tolerance=tolerance(chain), front_end=graph.front_end)


def _cut(graph: Trace, name: str, input_shape: tuple[int, ...]) -> ResidualChain:
    parallel = [segment.end.name for segment in segments(graph) if not segment.is_series]
    if parallel:
        raise ProbeError(f"{name} is not a plain network: its paths part and meet at {parallel[0]}")
    nodes = [graph.nodes[0], *(segment.end for segment in segments(graph))]
    starts = [i for i, node in enumerate(nodes) if _convolution(graph, node)]
    if len(starts) < 2:
        raise ProbeError(f"{name} has no layer to delete: it has {len(starts)} convolutions")
    ends = [_end_of_layer(graph, nodes, i) for i in starts]
    stops = [*(i - 1 for i in starts[2:]), ends[-1]]
    layers: list[PlainLayer] = []
    for start, end, stop in zip(starts[1:], ends[1:], stops, strict=True):
        layers.append(_layer(graph, layers, *(nodes[i] for i in (start - 1, start, end, stop))))
    outputs = (graph.shapes[nodes[-1]] or (1, 0))[1:]
    return ResidualChain(
        name=name,
        stem=subgraph(graph, nodes[0], nodes[starts[1] - 1]),
        blocks=tuple(layers),
        head=subgraph(graph, nodes[ends[-1]], nodes[-1]),
        input_shape=input_shape,
        classes=outputs[-1] if outputs else 1,
        output_shape=outputs,
    )


def _layer(
    graph: Trace,
    before: list[PlainLayer],
    start: fx.Node,
    layer: fx.Node,
    end: fx.Node,
    stop: fx.Node,
) -> PlainLayer:
    name = str(layer.target)
    given, made, left = ((graph.shapes[node] or ())[1:] for node in (start, end, stop))
    stand_in, kind = _stand_in(name, given, made)
    return PlainLayer(
        number=len(before) + 1,
        name=name,
        stage=(before[-1].stage if before else 1) + (bool(before) and given != made),
        shortcut=stand_in,
        branch=subgraph(graph, start, end),
        after=subgraph(graph, end, stop),
        shortcut_kind=kind,
        in_shape=given,
        out_shape=left,
    )


def _stand_in(name: str, before: tuple[int, ...], behind: tuple[int, ...]) -> tuple[nn.Module, str]:
    if before == behind:
        return nn.Identity(), "identity stand-in"
    stride = -(-before[-1] // behind[-1])
    fits = all(-(-side // stride) == out for side, out in zip(before[1:], behind[1:], strict=True))
    if behind[0] < before[0] or not fits:
        raise ProbeError(
            f"{name} cannot be deleted: no parameter-free shortcut leads from {before} to {behind}"
        )
    return OptionA(before[0], behind[0], stride), "option-A stand-in"


def _convolution(graph: Trace, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(
        graph.module.get_submodule(str(node.target)), nn.modules.conv._ConvNd
    )


def _end_of_layer(graph: Trace, nodes: list[fx.Node], start: int) -> int:
    """The index of the last normalisation or activation directly behind the convolution."""
    end = start
    for i in range(start + 1, len(nodes)):
        node = nodes[i]
        norm = node.op == "call_module" and isinstance(
            graph.module.get_submodule(str(node.target)),
            nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm,
        )
        if not (norm or is_activation(node, graph.module)):
            break
        end = i
    return end
