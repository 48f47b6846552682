"""What discovery says in words: names, roles, and why something was not cut."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from torch import fx, nn
from torch.nn import functional as F

from resnet_probe.discover.roles import roles
from resnet_probe.discover.segments import Segment, is_weighted, segments
from resnet_probe.discover.trace import Trace, ancestors

if TYPE_CHECKING:
    from resnet_probe.discover.residual import Cut

MATRIX_PRODUCTS = {"matmul", "bmm", "einsum"}


def common_path(nodes: set[fx.Node]) -> str:
    """The path that the modules of a branch have in common."""
    paths = [str(node.target).split(".") for node in nodes if node.op == "call_module"]
    levels = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    common = [parts[0] for parts in levels]
    return ".".join(common[:-1] if len(paths) == 1 else common)


def why_not_cut(graph: Trace, found: list[Segment]) -> list[str]:
    """One sentence for each place where paths part and meet without being a residual block."""
    return [
        f"{_place(segment)}: {_reason(segment)}"
        for segment in found
        if not segment.is_series and roles(graph, segment) is None
    ]


def why_none(graph: Trace, found: list[Segment]) -> str:
    """Why no segment at all is a residual block."""
    parallel = [segment for segment in found if not segment.is_series]
    if not parallel:
        return "no two paths of its graph part and meet again in an addition (a plain network)"
    ends = sorted({_operation(segment) for segment in parallel if not segment.operands()})
    if not ends:
        return why_not_cut(graph, parallel)[0]
    return f"its parallel paths meet in {', '.join(ends)}, not in an addition of two of them"


def within(graph: Trace, cuts: list[Cut]) -> list[str]:
    """One sentence for each block that holds residual blocks of its own."""
    found = []
    for number, cut in enumerate(cuts, start=1):
        inner = segments(graph, cut.start, cut.branch)
        places = [_place(segment) for segment in inner if roles(graph, segment)]
        if places:
            found.append(
                f"{', '.join(places)}: inside the branch of block {number}, which is cut as a whole"
            )
    return found


def role(graph: Trace, nodes: set[fx.Node]) -> str:
    """What a branch mainly does: attention, convolution (in space), or mlp."""
    if any(_is_attention(graph, node) for node in nodes):
        return "attention"
    weighted = [node for node in nodes if is_weighted(node, graph.module)]
    if any(_is_spatial(graph, node) for node in weighted):
        return "convolution"
    return "mlp" if weighted else ""


def _is_attention(graph: Trace, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(graph.module.get_submodule(str(node.target)), nn.MultiheadAttention)
    name = str(getattr(node.target, "__name__", node.target))
    if "attention" in name:
        return True
    factors = [a for a in node.args if isinstance(a, fx.Node) and a.op != "get_attr"]
    return name in MATRIX_PRODUCTS and len(factors) > 1


def _is_spatial(graph: Trace, node: fx.Node) -> bool:
    if node.op == "call_module":
        module = graph.module.get_submodule(str(node.target))
        return isinstance(module, nn.modules.conv._ConvNd) and max(module.kernel_size) > 1
    kernel = node.args[1] if node.target in {F.conv1d, F.conv2d, F.conv3d} else None
    return isinstance(kernel, fx.Node) and max((graph.shapes[kernel] or ())[2:], default=1) > 1


def _place(segment: Segment) -> str:
    return common_path(ancestors(segment.end, segment.start)) or segment.end.name


def _operation(segment: Segment) -> str:
    return str(getattr(segment.end.target, "__name__", segment.end.target))


def _reason(segment: Segment) -> str:
    if segment.operands():
        return (
            "the two operands of its addition are equally deep, so which of them is the shortcut "
            "cannot be told"
        )
    return f"its parallel paths meet in {_operation(segment)}, not in an addition of two of them"
