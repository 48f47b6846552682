"""What the blocks of a chain are called, and which of them make one layer or stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile
from math import prod

from torch import fx

from resnet_probe.discover.segments import Cut, holds_parameters, is_weighted
from resnet_probe.discover.trace import Trace

ATTENTION = "attention"


def common_path(nodes: Iterable[fx.Node]) -> str:
    """The path that the modules of a branch have in common."""
    return _common([path.split(".") for path in map(path_of, nodes) if path])


def path_of(node: fx.Node) -> str:
    """The module that a node calls, or that owns the weights of an operation; else nothing."""
    return str(node.target) if node.op == "call_module" else node.meta.get("owner", "")


def names(graph: Trace, cuts: Sequence[Cut]) -> list[str]:
    """One name a block, no two alike: what its modules share, or only those that hold its weights.

    The attention and the MLP of one encoder layer share the layer; their weights do not.  A module
    that is called again is the same name with `#2`.
    """
    nodes = [cut.ways for cut in cuts]
    found = [
        common_path(branch) or _of_weights(graph, branch) or f"addition {i}"
        for i, branch in enumerate(nodes, start=1)
    ]
    for closer in (_of_weights, _first_of_weights):
        alike = _of_several(found, nodes)
        found = [
            closer(graph, branch) or name if name in alike else name
            for name, branch in zip(found, nodes, strict=True)
        ]
    calls: Counter[str] = Counter()
    for i, name in enumerate(found):
        calls[name] += 1
        found[i] = name if calls[name] == 1 else f"{name}#{calls[name]}"
    return found


def layers(cuts: Sequence[Cut], names: Sequence[str], roles: Sequence[str]) -> list[int]:
    """The number of the layer of each block, from 1.

    A layer is what one module adds in its forward pass, as an encoder layer adds its attention and
    its MLP.  Where the same kind of branch comes again, a new layer begins: a stage that adds block
    after block in a loop has as many layers.  In the network's own forward pass, only an attention
    and what follows it belong together.
    """
    numbers: list[int] = []
    owners = [_owner(cut) for cut in cuts]
    last, seen = None, set[tuple[str, str]]()
    for owner, name, role in zip(owners, names, roles, strict=True):
        place = _outermost(owner, owners)
        kind = (role, _without_numbers(name.removeprefix(place)) if place else "")
        apart = not place and (ATTENTION, "") not in seen
        new = place != last or kind in seen or apart
        numbers.append(int(new) + (numbers[-1] if numbers else 0))
        last, seen = place, {kind} if new else seen | {kind}
    return numbers


def stages(graph: Trace, cuts: Sequence[Cut]) -> list[int]:
    """The number of the stage of each block, from 1: a run of blocks whose sums have one shape.

    Where only the arrangement changes, before a block that keeps it, the stage goes on: a
    transformer that turns its image into a list of windows and back has not begun another.
    """
    numbers: list[int] = []
    shape = None
    for cut in cuts:
        mine = graph.shapes[cut.end] or ()
        same = shape is not None and prod(mine) == prod(shape) and graph.shapes[cut.start] == mine
        new = mine != shape and not same
        numbers.append(int(new) + (numbers[-1] if numbers else 0))
        shape = mine
    return numbers


def _owner(cut: Cut) -> str:
    """The innermost module in whose forward pass branch and addition lie; empty for the network."""
    inside = filter(None, map(_called, cut.ways))
    levels = zip(_called(cut.end), *inside, strict=False)
    together = takewhile(lambda paths: len(set(paths)) == 1, levels)
    return ([paths[0] for paths in together] or [""])[-1]


def _called(node: fx.Node) -> list[str]:
    """The modules that were being called when a node was traced, from the outermost."""
    return [path for path, _ in node.meta.get("nn_module_stack", {}).values()]


def _outermost(owner: str, owners: Iterable[str]) -> str:
    """The module around `owner` that adds as well, if there is one: no layer lies in another."""
    around = [other for other in owners if other and f"{owner}.".startswith(f"{other}.")]
    return min(around, key=len, default=owner)


def _without_numbers(name: str) -> str:
    """`blocks.0.mlp#2` as `blocks.mlp`."""
    return ".".join(part for part in name.split("#")[0].split(".") if not part.isdecimal())


def _of_weights(graph: Trace, nodes: Iterable[fx.Node]) -> str:
    """The path that the convolutions and linear maps share, or else the parameters read as such."""
    nodes = list(nodes)
    heavy = [node for node in nodes if is_weighted(node, graph.module)]
    modules = {str(node.target) for node in heavy if node.op == "call_module"}
    if len(modules) == 1 and any(graph.module.get_submodule(min(modules)).children()):
        return min(modules)  # a module of parts, such as nn.MultiheadAttention, is a name by itself
    parameters = [n for n in nodes if n.op == "get_attr" and holds_parameters(n, graph.module)]
    return common_path(heavy) or _common([str(n.target).split(".") for n in parameters])


def _first_of_weights(graph: Trace, nodes: Iterable[fx.Node]) -> str:
    """The path of the first convolution or linear map, as the last resort."""
    heavy = (node for node in nodes if is_weighted(node, graph.module) and path_of(node))
    first = min(heavy, key=graph.position.__getitem__, default=None)
    return path_of(first) if first is not None else ""


def _of_several(names: Sequence[str], branches: Sequence[set[fx.Node]]) -> set[str]:
    """The names that stand for branches of different modules."""
    modules: dict[str, set[frozenset[str]]] = {}
    for name, branch in zip(names, branches, strict=True):
        called = frozenset(filter(None, map(path_of, branch)))
        modules.setdefault(name, set()).add(called)
    return {name for name, found in modules.items() if len(found) > 1}


def _common(paths: list[list[str]]) -> str:
    levels = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    common = [parts[0] for parts in levels]
    return ".".join(common[:-1] if len(paths) == 1 else common)
