"""One batch through a chain, forward and back, with everything that is measured on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from resnet_probe.chain import ResidualBlock, ResidualChain
from resnet_probe.engine.images import Images
from resnet_probe.engine.memory import Footprint, batch_size
from resnet_probe.engine.observe import Observed, relus, weight_layers, without_gradients
from resnet_probe.engine.task import loss_gradient
from resnet_probe.state import residual, watched, with_residual
from resnet_probe.studies.checks import check_finite

AT_ONCE = 128
"""Images that go through together at most on a CPU: more gain nothing."""


@dataclass(frozen=True, eq=False)
class SeenBlock:
    """A block at a batch: its input `h`, its terms `[n, …]`, gradients of unit scale, and what its
    ReLUs gave.

    `shortcut` is None for a plain layer.  The gradients are those of each image's cross-entropy
    with respect to the block's input `h` and to the sum, up to a positive factor for each image.
    """

    block: ResidualBlock
    h: Tensor
    shortcut: Tensor | None
    branch: Tensor
    out: Tensor
    gradient_h: Tensor
    gradient_sum: Tensor
    relus: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """A batch of images: their `numbers` `[n]` among all, the weight layers' responses `[n, …]`,
    and the blocks."""

    numbers: NDArray[np.int64]
    layers: tuple[Tensor, ...]
    blocks: tuple[SeenBlock, ...]

    @property
    def tensors(self) -> Iterator[Tensor]:
        """Everything that is held."""
        yield from self.layers
        for block in self.blocks:
            yield from (block.branch, block.out, block.gradient_h, block.gradient_sum, *block.relus)
            if block.shortcut is not None:
                yield block.shortcut


class Passes:
    """Runs images `[n, …]` through the chain's own modules, nothing folded."""

    def __init__(self, chain: ResidualChain) -> None:
        self.chain = chain.map(without_gradients)
        self.layers = weight_layers(self.chain)
        nodes: dict[int, list[fx.Node]] = {number: [] for number in range(len(chain) + 1)}
        for layer in self.layers:
            nodes[layer.block].append(layer.node)
        self.stem = Observed(self.chain.stem, nodes[0])
        self.parts = [
            (block, len(nodes[block.number]),
             Observed(block.branch, nodes[block.number] + relus(block.branch)),
             Observed(block.after, relus(block.after)))
            for block in self.chain
        ]  # fmt: skip

    @torch.enable_grad()
    def __call__(
        self, images: Images, labels: Tensor, numbers: NDArray[np.int64] | None = None
    ) -> Seen:
        """Raises `ProbeError` for logits that are not finite."""
        numbers = np.arange(len(images)) if numbers is None else numbers
        state, layers = self.stem(images.to(self.chain.device))
        state = watched(state)
        states: list[tuple[Tensor, Tensor]] = []
        terms: list[tuple[Tensor | None, Tensor, Tensor, tuple[Tensor, ...]]] = []
        for block, count, branch, after in self.parts:
            response, inner = branch(state)
            short = block.shortcut(state) if block.residual else None
            total = response if short is None else short + response
            states.append((residual(state), total))
            state, behind = after(with_residual(state, total))
            layers += inner[:count]
            terms.append((short, response, residual(state), (*inner[count:], *behind)))
        logits = self.chain.head(state)
        check_finite(logits, self.chain, int(numbers[0]))
        wanted = [tensor for pair in states for tensor in pair]
        gradients = torch.autograd.grad(logits, wanted, unit_gradient(logits, labels))
        blocks = []
        for place, (block, *_) in enumerate(self.parts):
            short, response, out, active = terms[place]
            blocks.append(
                SeenBlock(
                    block=block,
                    h=states[place][0].detach(),
                    shortcut=None if short is None else short.detach(),
                    branch=response.detach(),
                    out=out.detach(),
                    gradient_h=gradients[2 * place],
                    gradient_sum=gradients[2 * place + 1],
                    relus=tuple(value.detach() for value in active),
                )
            )
        return Seen(numbers, tuple(value.detach() for value in layers), tuple(blocks))

    def batch_for(self, images: Images, labels: Tensor, *, asked: int | None, memory: int) -> int:
        """How many images go through at once; `ProbeError` where the budget has no room for one."""
        held = self._held_bytes(images[:1], labels[:1])
        largest = max(1, max(shape for block in self.chain for shape in _sizes(block)))
        needs = Footprint(self.chain.name, 0, 8 * largest, held)  # a copy in float64
        most = batch_size(
            needs, states=2, memory=memory, images=len(images), asked=asked,
            device=torch.device("meta"),  # the cache of a CPU is no limit here
        )  # fmt: skip
        return min(most, AT_ONCE) if asked is None and images.device.type == "cpu" else most

    def _held_bytes(self, image: Images, label: Tensor) -> int:
        """Bytes of an image, twice while it is read, and of what a pass over it keeps alive, for
        its way back and to be measured."""
        given = image.to(self.chain.device)
        storages: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            seen = self(given, label)
        for tensor in seen.tensors:
            keep(tensor)
        for module in self.chain.modules:
            for weight in (*module.parameters(), *module.buffers()):
                storages.pop(weight.untyped_storage().data_ptr(), None)
        return sum(storages.values()) + 2 * given.nbytes


def unit_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of each image's loss at the logits, scaled to norm 1.

    Only its direction is asked for, and that of a confident image would be lost to underflow.
    """
    gradient = loss_gradient(logits.detach(), labels)
    flat = torch.nn.functional.normalize(gradient.flatten(1), dim=1, eps=1e-300)
    return flat.view_as(logits).to(logits.dtype)


def _sizes(block: ResidualBlock) -> tuple[int, int]:
    return torch.Size(block.in_shape).numel(), torch.Size(block.out_shape).numel()
