"""Batch-norm statistics estimated anew, on a copy: what a changed network would have for them.

A lesion changes what the layers behind it see, while their batch norms still hold the means and
variances of the whole network.  Each norm's new ones are those of its inputs over all images, every
norm before it already renewed, layer after layer: the network that results has exactly the
statistics that it holds, and the size of the batches that they were computed in has no influence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from resnet_probe.chain import PlainLayer, ResidualBlock, ResidualChain, Step
from resnet_probe.discover.trace import ancestors
from resnet_probe.edits import Edit
from resnet_probe.edits.variants import MeanOfSums
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import CACHE, DEFAULT_MEMORY, footprint, format_bytes, scratch
from resnet_probe.engine.sweep import PrefixTree
from resnet_probe.errors import ProbeError
from resnet_probe.stats.moments import Moments

Norm = nn.modules.batchnorm._BatchNorm
CALLED: dict[Any, int] = {F.batch_norm: 1, torch.batch_norm: 3}
"""Batch norms as functions, and the place of the mean among their arguments; then the variance."""
States = list[Tensor]
"""The state of all images at one place of a network, in batches."""


@dataclass(frozen=True, eq=False)
class Renewed:
    """An edited network with statistics of its own; its blocks are numbered in running order.

    Running `steps` of `chain` is running `edits` (indices) of the network it was made from.
    """

    edits: tuple[int, ...]
    chain: ResidualChain
    steps: tuple[Step, ...]


def recalibrated(
    chain: ResidualChain, images: Images, *, memory: int = DEFAULT_MEMORY
) -> ResidualChain:
    """The chain with the statistics of its batch norms estimated on `images` `[n, …]`.

    Shares the parameters of `chain`, which is left as it is.  Raises `ProbeError` for a network
    without batch norm, for one image alone, and where the states of all images exceed `memory`.
    """
    return next(renewed(chain, [Edit()], images, memory=memory)).chain


@torch.no_grad()
def renewed(
    chain: ResidualChain, edits: Sequence[Edit], images: Images, *, memory: int = DEFAULT_MEMORY
) -> Iterator[Renewed]:
    """Each edited network with the statistics that `images` give it; raises as `recalibrated` does.

    Edits that begin alike share what they have in common.
    """
    if not has_batch_norm(chain):
        raise ProbeError(f"{chain.name} has no batch norm: there are no statistics to re-estimate")
    if len(images) < 2:
        raise ProbeError(
            f"variances need at least 2 images to estimate them on, found {len(images)}"
        )
    tree = PrefixTree.of(edits, chain)
    states = into_batches(chain, images, copies=tree.states + 2, memory=memory)
    stem, states = renew(chain.stem, states)
    waiting: list[tuple[PrefixTree, Step, States, list[ResidualBlock], tuple[Step, ...]]] = [
        (node, step, states, [], ()) for step, node in reversed(tree.children.items())
    ]
    while waiting:
        node, (number, gate), states, path, steps = waiting.pop()
        block, states = renew_block(chain.block(number), gate, states)
        path, steps = [*path, replace(block, number=len(path) + 1)], (*steps, (len(path) + 1, gate))
        if node.ends:
            head, _ = renew(chain.head, states)
            network = replace(chain, stem=stem, blocks=tuple(path), head=head)
            yield Renewed(tuple(node.ends), network, steps)
        waiting += [
            (child, step, states, path, steps) for step, child in reversed(node.children.items())
        ]


def one_chain(networks: Sequence[Renewed]) -> tuple[ResidualChain, list[Edit]]:
    """Several edited networks as edits of one chain: their common beginnings are the same blocks.

    The chain's blocks are all blocks of all networks, each once, then their heads; only the edits
    say how to run them.  They come in the order of the indices in `Renewed.edits`.
    """
    first = networks[0].chain
    blocks: dict[int, ResidualBlock] = {}
    numbers: dict[int, int] = {}

    def number(part: object, block: ResidualBlock) -> int:
        if id(part) not in numbers:
            numbers[id(part)] = len(blocks) + 1
            blocks[id(part)] = replace(block, number=len(blocks) + 1)
        return numbers[id(part)]

    programs: dict[int, Edit] = {}
    for network in networks:
        chain = network.chain
        steps = [(number(chain.block(b), chain.block(b)), gate) for b, gate in network.steps]
        steps.append((number(chain.head, _as_block(chain.head)), 1.0))
        gates = {b: gate for b, gate in steps if gate != 1}
        program = Edit.run(b for b, _ in steps) >> Edit.scale(gates)
        programs |= dict.fromkeys(network.edits, program)
    chain = replace(first, blocks=tuple(blocks.values()), head=nn.Identity())
    return chain, [programs[edit] for edit in sorted(programs)]


def _as_block(head: nn.Module) -> ResidualBlock:
    return PlainLayer(
        number=0, name="head", stage=0, shortcut=nn.Identity(), branch=head, after=nn.Identity(),
        shortcut_kind="", in_shape=(), out_shape=(),
    )  # fmt: skip


def renew_block(block: ResidualBlock, gate: float, states: States) -> tuple[ResidualBlock, States]:
    """The block with new statistics in what it runs at this gate, and what it gives."""
    shortcut, branch = block.shortcut, block.branch
    if block.residual or not gate:
        shortcut, total = renew(shortcut, states)
    if gate:
        branch, response = renew(branch, states)
        scaled = response if gate == 1 else [gate * part for part in response]
        total = list(map(block.add, total, scaled)) if block.residual else scaled
    after, states = renew(block.after, total)
    # What the parts have in common is renewed in each: the network's own sum would not know of it.
    return replace(block, shortcut=shortcut, branch=branch, after=after, total=None), states


def renew(module: nn.Module, states: States) -> tuple[nn.Module, States]:
    """A copy whose batch norms hold the statistics of `states`, and what it makes of them.

    Shares the parameters; a module without batch norms comes back itself.
    """
    if not has_norms(module):
        return module, [module(h) for h in states]
    if isinstance(module, MeanOfSums):
        return _renew_mean(module, states)
    if not isinstance(module, fx.GraphModule):
        raise ProbeError("batch norms of a module that torch.fx did not trace cannot be renewed")
    twin = copy.deepcopy(module, {id(p): p for p in module.parameters()})
    for node in twin.graph.nodes:
        if (paths := _statistics(twin, node)) is not None:
            source = node.kwargs.get("input", node.args[0] if node.args else None)
            _estimate(twin, paths, [_value_at(twin, source, h) for h in states])
    return twin, [twin(h) for h in states]


def has_norms(module: nn.Module) -> bool:
    """Whether a part holds batch norms: modules, or functions of statistics that are stored."""
    parts = list(module.modules())
    graphs = (part for part in parts if isinstance(part, fx.GraphModule))
    called = (_statistics(graph, node) for graph in graphs for node in graph.graph.nodes)
    return any(isinstance(part, Norm) for part in parts) or any(called)


def _statistics(module: fx.GraphModule, node: fx.Node) -> tuple[str, str] | None:
    """Where a batch norm has its mean and its variance; None of any other node."""
    if node.op == "call_module":
        norm = isinstance(module.get_submodule(str(node.target)), Norm)
        return (f"{node.target}.running_mean", f"{node.target}.running_var") if norm else None
    if node.target not in CALLED:
        return None
    first, given = CALLED[node.target], dict[Any, Any](enumerate(node.args)) | node.kwargs
    mean: Any = given.get("running_mean", given.get(first))
    variance: Any = given.get("running_var", given.get(first + 1))
    if not all(isinstance(each, fx.Node) and each.op == "get_attr" for each in (mean, variance)):
        return None
    return str(mean.target), str(variance.target)


def _renew_mean(mean: MeanOfSums, states: States) -> tuple[nn.Module, States]:
    """Each of the blocks by itself: all of them see the same states."""
    sums = [replace(block, after=nn.Identity()) for block in mean.blocks]
    found = [renew_block(b, g, states)[0] for b, g in zip(sums, mean.gates, strict=True)]
    twin = MeanOfSums(found, mean.gates)
    return twin, [twin(h) for h in states]


def _estimate(module: nn.Module, paths: tuple[str, str], inputs: States) -> None:
    """Mean and (unbiased) variance of each channel, as torch keeps them, at these paths."""
    parts = [Moments.of(values.transpose(0, 1).flatten(1), (1,)) for values in inputs]
    whole = Moments.stack(parts).pooled()
    unbiased = whole.m2 / (whole.count - 1).clip(min=1)
    for path, values in zip(paths, (whole.mean, unbiased), strict=True):
        parent, _, name = path.rpartition(".")
        holder = module.get_submodule(parent)
        setattr(holder, name, torch.from_numpy(values).to(getattr(holder, name)))


def _value_at(module: fx.GraphModule, node: fx.Node, h: Tensor) -> Tensor:
    """The value of a node for the input `h`, without running what it does not need."""
    source = next(n for n in module.graph.nodes if n.op == "placeholder")
    interpreter = fx.Interpreter(module, garbage_collect_values=False)
    interpreter.env = {source: h}
    needed = ancestors(node, source)
    for other in module.graph.nodes:
        if other in needed:
            interpreter.env[other] = interpreter.run_node(other)
    return interpreter.env[node]


def into_batches(chain: ResidualChain, images: Images, *, copies: int, memory: int) -> States:
    """The images in batches on the chain's device; `ProbeError` if `copies` of all states exceed
    the budget."""
    needs = footprint(chain, images[:1].to(chain.device))
    whole = copies * len(images) * needs.state
    one = int(scratch(chain.device) * (needs.work + needs.state))
    if whole + one > memory:
        raise ProbeError(
            f"the states of {len(images)} images of {chain.name} take {format_bytes(whole + one)}: "
            f"more than the memory budget of {format_bytes(memory)}; re-estimate on fewer images"
        )
    size = (memory - whole) // one
    if chain.device.type == "cpu":
        size = min(size, max(4, CACHE // needs.state))
    return [part.to(chain.device) for part in images.split(max(1, size))]


def has_batch_norm(chain: ResidualChain) -> bool:
    return any(map(has_norms, chain.modules))
