"""Runs a chain again and again, each time only from the first block that is switched otherwise."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.fold import folded
from resnet_probe.engine.memory import DEFAULT_MEMORY, batch_size, footprint, format_bytes
from resnet_probe.engine.precision import full_precision
from resnet_probe.errors import ProbeError
from resnet_probe.explorer.switches import Switches


class Prefixes:
    """The states at the inputs of some blocks for the switches that were run last.

    Kept are those of blocks 1, 1 + `spacing`, 1 + 2·`spacing` …, with the smallest spacing that
    fits into `memory` (bytes). Raises `ProbeError` where not even the stem's states do.
    """

    def __init__(
        self, chain: ResidualChain, images: Tensor, *, batch: int | None, memory: int, exact: bool
    ) -> None:
        self.chain = chain if exact else folded(chain)
        self.spacing = _spacing(chain, images, memory)
        layout = torch.contiguous_format if exact else torch.channels_last
        if images.dim() == 4:
            images = images.contiguous(memory_format=layout)
        needs = footprint(self.chain, images[:1].to(chain.device))
        size = batch_size(
            needs, states=1, memory=max(memory, DEFAULT_MEMORY), images=len(images), asked=batch,
            device=chain.device,
        )  # fmt: skip
        self.batches = images.split(size)
        self._kept: dict[int, list[Tensor]] = {}
        self._switches: Switches | None = None

    @property
    def kept_bytes(self) -> int:
        """What the kept states take."""
        return sum(h.nbytes for states in self._kept.values() for h in states)

    @torch.inference_mode()
    def run(self, switches: Switches) -> tuple[Tensor, int]:
        """(logits `[n, classes]` on the CPU, how many branches were run for each image)."""
        start = self._keep_what_stays(switches)
        numbers = range(max(start, 1), len(self.chain) + 1)
        fresh: dict[int, list[Tensor]] = {}
        logits = []
        for place, part in enumerate(self.batches):
            with full_precision(self.chain.device):
                h = self._begin(start, place, part)
                for number in numbers:
                    if (number - 1) % self.spacing == 0:
                        fresh.setdefault(number, []).append(h)
                    h = self._through(h, number, switches)
                logits.append(self.chain.head(h).float().cpu())
        self._kept |= fresh
        return torch.cat(logits), sum(g != 0 for b in numbers for _, g in switches.steps(b))

    def _keep_what_stays(self, switches: Switches) -> int:
        """Forget the states that are no longer true; the last block whose state is, or 0."""
        changed = 0 if self._switches is None else switches.first_difference(self._switches)
        self._kept = {b: states for b, states in self._kept.items() if b <= changed}
        self._switches = switches  # what is kept is true of both, whatever happens next
        return max(self._kept, default=0)

    def _begin(self, start: int, place: int, part: Tensor) -> Tensor:
        return self._kept[start][place] if start else self.chain.stem(part.to(self.chain.device))

    def _through(self, h: Tensor, number: int, switches: Switches) -> Tensor:
        for _, gate in switches.steps(number):
            h = self.chain.block(number).run(h, gate)
        return h


def _spacing(chain: ResidualChain, images: Tensor, memory: int) -> int:
    sizes = [len(images) * prod(b.in_shape) * images.element_size() for b in chain]
    for spacing in range(1, len(chain) + 1):
        if sum(sizes[::spacing]) <= memory:
            return spacing
    raise ProbeError(
        f"a memory budget of {format_bytes(memory)} is too small for {len(images)} images of "
        f"{chain.name}: the states behind its stem alone take {format_bytes(sizes[0])}"
    )
