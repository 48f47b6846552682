"""Integrated gradients over the gates: captum's, on a chain that is differentiable in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.fold import fold
from resnet_probe.engine.memory import SCRATCH, format_bytes, held_for_gradients
from resnet_probe.engine.sweep import Progress
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs
from resnet_probe.studies.attribution.gates import SMOOTH, smooth_metrics

STEPS = 32
"""Of the integral, to begin with: they are doubled until it is complete."""
MOST_STEPS = 512
GAP = 0.005
"""How far the shares may add up to something else than the difference, relative to it."""
AT_ONCE = 128
"""Images and steps that go through together at most on a CPU."""


class Integral(NamedTuple):
    """`shares` `[2, n, blocks]` of `SMOOTH`, and the `steps` that it took."""

    shares: Tensor
    steps: int


@dataclass(frozen=True, eq=False)
class GatedChain:
    """Folded copies of a chain's parts, run with a gate for every image and block.

    Shares nothing with the chain; its parameters take no part in backpropagation.
    """

    chain: ResidualChain

    @classmethod
    def of(cls, chain: ResidualChain) -> GatedChain:
        def constant(module: torch.nn.Module) -> torch.nn.Module:
            return fold(module).requires_grad_(False)

        return cls(chain.map(constant))

    def __call__(self, gates: Tensor, images: Any, labels: Tensor) -> Tensor:
        """`SMOOTH` of each image, `[n, 2]`, with gates `[n, blocks]`."""
        h = self.chain.stem(images)
        for place, block in enumerate(self.chain):
            branch = block.branch(h)
            gate = gates[:, place].view(-1, *[1] * (branch.dim() - 1))
            h = block.close(h, block.shortcut(h) + gate * branch)
        return torch.stack(smooth_metrics(self.chain.head(h), labels), dim=1)

    def bytes_for(self, image: Any, label: Tensor) -> int:
        """What one image keeps alive for its way back."""
        gates = torch.ones(1, len(self.chain), device=image.device, requires_grad=True)
        held = held_for_gradients(self.chain, lambda: self(gates, image, label))
        return max(1, int(2 * SCRATCH * held))


def integrated_gradients(
    network: GatedChain,
    images: Any,
    labels: Tensor,
    difference: Tensor,
    *,
    memory: int,
    progress: Progress | None = None,
) -> Integral:
    """The share of each block and image in `SMOOTH`, from all gates shut to all open.

    `difference` `[2, n]` is what the shares of each image have to add up to.  The steps are doubled
    until they do on the mean within `GAP`, at most to `MOST_STEPS`.  Raises `ProbeError` where the
    budget (bytes) has no room for one image.
    """
    one = network.bytes_for(images[:1], labels[:1])
    rows = memory // one
    if rows < 1:
        raise ProbeError(
            f"a memory budget of {format_bytes(memory)} is too small for the gradients of one "
            f"image of {network.chain.name}: they take {format_bytes(one)}"
        )
    if images.device.type == "cpu":
        rows = min(rows, AT_ONCE)
    steps = STEPS
    while True:
        parts = list(_integrals(network, images, labels, steps, rows, progress))
        shares = torch.stack([torch.cat(part) for part in zip(*parts, strict=True)])
        gap = (shares.sum(2) - difference).mean(1).abs()
        enough = gap <= GAP * difference.mean(1).abs()
        if enough.all() or 2 * steps > MOST_STEPS:
            return Integral(shares, steps)
        steps *= 2


def _integrals(
    network: GatedChain,
    images: Any,
    labels: Tensor,
    steps: int,
    rows: int,
    progress: Progress | None,
) -> Iterator[list[Tensor]]:
    """For some images at a time, the shares `[images, blocks]` in each of `SMOOTH`."""
    from captum.attr import IntegratedGradients

    def gated(gates: Tensor, classes: Tensor, *values: Tensor) -> Tensor:
        """captum repeats tensors for the steps of an integral, and nothing else."""
        given = values[0] if names is None else Inputs(dict(zip(names, values, strict=True)))
        return network(gates, given, classes)

    names = None if isinstance(images, Tensor) else list(images)
    method = IntegratedGradients(gated)
    for start in range(0, len(images), rows):
        some, classes = images[start : start + rows], labels[start : start + rows]
        values = (some,) if isinstance(some, Tensor) else tuple(some.values.values())
        gates = torch.ones(len(some), len(network.chain), device=some.device)
        yield [
            method.attribute(
                gates, baselines=0.0, target=place, additional_forward_args=(classes, *values),
                n_steps=steps, internal_batch_size=rows,
            ).detach().double().cpu()
            for place in range(len(SMOOTH))
        ]  # fmt: skip
        if progress is not None:
            progress(min(start + rows, len(images)), len(images))
