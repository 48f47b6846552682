"""A whole chain frozen at a batch of images: logits, and the way back block by block."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.engine.pullback.linearizer import Linearizer
from resnet_probe.engine.pullback.packed import layout_of, packed
from resnet_probe.engine.pullback.tape import Pullback
from resnet_probe.engine.task import loss_gradient
from resnet_probe.errors import ProbeError
from resnet_probe.state import AnyState, Inputs, State, residual, with_residual

FLOATING = ("half", "bfloat16", "float", "double")
"""Methods of a tensor that make one of a floating type of it."""


@dataclass(frozen=True)
class BlockPullback:
    """The transposed Jacobians of a block's three parts at one batch."""

    block: ResidualBlock
    shortcut: Pullback
    branch: Pullback
    after: Pullback

    @property
    def in_place(self) -> bool:
        """Whether the way along the shortcut can be gone in the memory of what comes."""
        return self.shortcut.identity and self.after.in_place

    @property
    def held_bytes(self) -> int:
        return sum(part.held_bytes for part in (self.shortcut, self.branch, self.after))


@dataclass(frozen=True)
class FrozenChain:
    """A chain at one batch: `logits` `[n, classes]`, and the way back to where gradients are asked.

    `blocks` are those behind that place, in the order of the chain; `stem` is None unless the
    place is the input.
    """

    logits: Tensor
    stem: Pullback | None
    blocks: tuple[BlockPullback, ...]
    head: Pullback

    @torch.no_grad()
    def loss_gradient(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of each image's loss with respect to the last state.

        Returns `[n, *shape]`, of norm 1 at the logits, and the norms `[n]` in float64 that it has
        to be multiplied with: everything that follows is linear, and small numbers stay normal.
        """
        gradient = loss_gradient(self.logits, labels).flatten(1)
        largest = gradient.abs().amax(dim=1, keepdim=True)  # squares below 1e-162 are zero
        near_one = gradient / torch.where(largest > 0, largest, 1.0)
        length = near_one.norm(dim=1)
        size = largest.squeeze(1) * length
        unit = near_one / torch.where(length > 0, length, 1.0).unsqueeze(1)
        at_logits = unit.to(self.logits.dtype).view_as(self.logits)
        return self.head(at_logits.unsqueeze(0))[0], size

    @property
    def held_bytes(self) -> int:
        ends = [self.head] if self.stem is None else [self.head, self.stem]
        return sum(p.held_bytes for p in ends) + sum(block.held_bytes for block in self.blocks)


class ChainLinearizer:
    """Freezes a chain at batches of images, for gradients at the input of block `first`.

    With `stem` they are asked at the network's own input.  The forward pass is the chain's own,
    nothing folded.  Raises `ProbeError` for an output that is not finite, naming where it began.
    """

    def __init__(self, chain: ResidualChain, *, first: int = 1, stem: bool = True) -> None:
        beside = chain.beside
        chain = packed(chain) if beside else chain
        self.chain = chain
        self.first = first
        self.ends_beside = beside if not stem else ()
        self.stem = Linearizer(chain.stem) if stem else None
        self.blocks = [
            tuple(Linearizer(part) for part in (block.shortcut, block.branch, block.after))
            for block in chain.blocks[first - 1 :]
        ]
        self.head = Linearizer(chain.head)

    @torch.no_grad()
    def __call__(self, images: Any) -> FrozenChain:
        """The chain at `images` `[n, …]`, on the chain's device and of its type."""
        h, stem = (self.chain.stem(images), None) if self.stem is None else self.stem(images)
        for block in self.chain.blocks[: self.first - 1]:
            h = block.run(h)
        if self.ends_beside:
            self._refuse_beside(h)
        frozen = []
        for block, parts in zip(self.chain.blocks[self.first - 1 :], self.blocks, strict=True):
            shortcut, branch, after = parts
            short, back_short = shortcut(h)
            long, back_long = branch(h)
            h, back_after = after(with_residual(h, block.add(short, long)))
            if len(h) != len(images):
                raise ProbeError(
                    f"the output of block {block.number} ({block.name}) has the shape "
                    f"{tuple(residual(h).shape)} for {len(images)} images: gradients of single "
                    "images need the images along the first axis"
                )
            frozen.append(BlockPullback(block, back_short, back_long, back_after))
        logits, head = self.head(h)
        if not torch.isfinite(logits).all():
            self._blame(images)
        return FrozenChain(logits, stem, tuple(frozen), head)

    @property
    def held_bytes(self) -> int:
        """Memory of the prepared weights."""
        parts: list[Linearizer] = [self.head, *(part for parts in self.blocks for part in parts)]
        return sum(part.held_bytes for part in parts + ([self.stem] if self.stem else []))

    def _refuse_beside(self, state: AnyState) -> None:
        """Raises `ProbeError` where more than the state at hand leads to the logits."""
        more = [name for name, _ in layout_of(state)[1:]] if isinstance(state, State) else []
        if more:
            raise ProbeError(
                f"beside the input of block {self.first} of {self.chain.name} other values lead "
                f"to its logits ({', '.join(more)}): ask for gradients at the network's input"
            )

    def _blame(self, images: Tensor | Inputs) -> None:
        """Say where the first value that is not finite comes from."""
        kind = str(self.chain.dtype).removeprefix("torch.")
        place = next(place for place, h in self._states(images) if not torch.isfinite(h).all())
        raise ProbeError(
            f"{place} is not finite: the weights of {self.chain.name} or the images hold NaN or "
            f"Inf, or {kind} is too small for them"
        )

    def _states(self, images: Tensor | Inputs) -> Iterator[tuple[str, Tensor]]:
        if isinstance(images, Tensor):
            yield "the input", images
        h = self.chain.stem(images)
        yield "the output of the stem", residual(h)
        for block in self.chain.blocks:
            h = block.run(h)
            yield f"the output of block {block.number} ({block.name})", residual(h)
        yield "the output of the head", self.chain.head(h)


NAMED = {"float", "double", "half", "bfloat16"}
"""Methods that name a floating type."""
FACTORIES = {"zeros", "ones", "empty", "rand", "randn", "eye", "linspace"}
"""What makes fractions of torch's default type, where no other is named."""


def in_precision(chain: ResidualChain, dtype: torch.dtype) -> ResidualChain:
    """The chain with weights of that type: itself, or a copy that shares nothing with it."""
    own = {t.dtype for module in chain.modules for t in module.parameters()}
    if own <= {dtype}:
        return chain

    def cast(module: nn.Module) -> nn.Module:
        found = copy.deepcopy(module)._apply(lambda tensor: tensor.to(_alike(tensor.dtype, dtype)))
        for each in found.modules():
            if isinstance(each, fx.GraphModule):
                _compute_in(each, dtype)
        return found

    return chain.map(cast)


def _alike(kind: torch.dtype, dtype: torch.dtype) -> torch.dtype:
    """`dtype` for a floating type, its complex numbers for complex ones, else the type itself."""
    if kind.is_complex:
        return dtype.to_complex()
    return dtype if kind.is_floating_point else kind


def _compute_in(module: fx.GraphModule, dtype: torch.dtype) -> None:
    """Let the steps of a graph that name a floating type, such as those of a norm, name this."""

    def instead(value: Any) -> Any:
        return _alike(value, dtype) if isinstance(value, torch.dtype) else value

    for node in module.graph.nodes:
        if node.op == "call_method" and node.target in FLOATING:
            node.target, node.args = "to", (*node.args, dtype)
        node.args = fx.node.map_aggregate(node.args, instead)
        node.kwargs = fx.node.map_aggregate(node.kwargs, instead)
        name = str(getattr(node.target, "__name__", node.target)).split(".")[0]
        if node.op == "call_method" and name in NAMED:
            node.target, node.args = "to", (*node.args, dtype)
        elif node.op == "call_function" and name in FACTORIES and not node.kwargs.get("dtype"):
            node.kwargs = {**node.kwargs, "dtype": dtype}
        elif node.op == "get_attr":
            tensor = fx.graph_module._get_attr(module, str(node.target))
            if isinstance(tensor, Tensor) and tensor.dtype != _alike(tensor.dtype, dtype):
                owner, _, name = str(node.target).rpartition(".")
                setattr(module.get_submodule(owner), name, tensor.to(_alike(tensor.dtype, dtype)))
    module.recompile()
