"""What discovery says in words: names, roles, and why something was not cut."""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx, nn
from torch.nn import functional as F

from resnet_probe.discover.naming import common_path
from resnet_probe.discover.nested import Choice
from resnet_probe.discover.segments import (
    ADDITIONS,
    Segment,
    behind,
    dominator,
    is_weighted,
    roles,
)
from resnet_probe.discover.trace import CONTEXT, Trace, ancestors

SHOWN = 3
CARRIED = "; the residual blocks inside are cut, and the other paths are carried beside the state"
MATRIX_PRODUCTS = {"matmul", "bmm", "einsum"}


def why_not_cut(graph: Trace, found: list[Segment], choice: Choice | None = None) -> list[str]:
    """One sentence for each place where paths part and meet without being a residual block."""
    cut = {block.end for block in choice.blocks} if choice is not None else set()
    return [
        f"{_place(segment)}: {_reason(segment)}"
        + (
            CARRIED
            if cut & set(graph.between(segment.start, segment.end))
            else _beside(graph, [segment])
        )
        for segment in found
        if not segment.is_series and roles(graph, segment) is None
    ]


def skips(graph: Trace, choice: Choice) -> list[str]:
    """One sentence for each block around a series of blocks, which is none of the chain."""
    found = []
    for block, inner in choice.around:
        place = common_path(behind(block.shortcut + block.branch, block.start)) or block.end.name
        found.append(
            f"{place}: a skip around {len(inner)} blocks, carried beside them and added behind the "
            'last (a block itself with level="outer")'
        )
    return found


def why_none(graph: Trace, found: list[Segment]) -> str:
    """Why no segment at all is a residual block."""
    parallel = [segment for segment in found if not segment.is_series]
    if not parallel:
        return "no two paths of its graph part and meet again in an addition (a plain network)"
    ends = sorted({_operation(segment) for segment in parallel if not segment.operands()})
    if not ends:
        return why_not_cut(graph, parallel)[0]
    return (
        f"its parallel paths meet in {', '.join(ends)}, not in an addition of two of them"
        + _beside(graph, parallel)
    )


def inner_blocks(graph: Trace, region: Iterable[fx.Node]) -> tuple[str, ...]:
    """The names of the residual blocks whose additions lie in `region`, in the order they run."""
    additions = sorted((n for n in region if n.target in ADDITIONS), key=graph.position.__getitem__)
    starts = {node: dominator(graph, node) for node in additions}
    found = []
    for node, start in starts.items():
        if len(node.users) == 1 and starts.get(next(iter(node.users))) is start:
            continue  # a part of a sum of more operands
        pair = roles(graph, Segment(start, node)) if start is not None else None
        branch = behind(pair[1], start) if start is not None and pair is not None else set()
        if any(is_weighted(n, graph.module) for n in branch):  # no rotary sum, and no GELU's
            found.append(common_path(branch) or node.name)
    return tuple(dict.fromkeys(found))


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
    if not node.op.startswith("call"):
        return False
    name = str(getattr(node.target, "__name__", node.target))
    if "attention" in name:
        return True
    factors = [a for a in node.all_input_nodes if a in graph.data or CONTEXT in a.meta]
    return name.split(".")[0] in MATRIX_PRODUCTS and len(factors) > 1


def _is_spatial(graph: Trace, node: fx.Node) -> bool:
    if node.op == "call_module":
        module = graph.module.get_submodule(str(node.target))
        return isinstance(module, nn.modules.conv._ConvNd) and max(module.kernel_size) > 1
    kernel = node.args[1] if node.target in {F.conv1d, F.conv2d, F.conv3d} else None
    return isinstance(kernel, fx.Node) and max((graph.shapes[kernel] or ())[2:], default=1) > 1


def _beside(graph: Trace, found: list[Segment]) -> str:
    """That there are residual blocks on one of the parallel paths, if so."""
    region = {n for s in found for n in ancestors(s.end, s.start) - {s.end}}
    inner = inner_blocks(graph, region)
    if not inner:
        return ""
    more = f" and {len(inner) - SHOWN} more" if len(inner) > SHOWN else ""
    return (
        f"; the residual blocks on one of these paths ({', '.join(inner[:SHOWN])}{more}) do not "
        "carry the whole state"
    )


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
