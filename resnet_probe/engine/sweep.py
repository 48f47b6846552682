"""The engine: many edits of one chain over a data set, every common prefix run once.

The programs of all edits form a prefix tree.  One batch of images at a time, the tree is walked
depth first, smaller subtrees first, so that only states at which a larger subtree still waits are
kept: at most log2(edits) + 1 of them.  Deleting each of N blocks in turn costs N(N−1)/2 + N branch
evaluations, the baseline included, where the plain loop takes N(N−1) + N, and two states of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain, Step
from resnet_probe.edits import Edit
from resnet_probe.edits.program import Blocks
from resnet_probe.edits.variants import branch_runs
from resnet_probe.engine.fold import folded
from resnet_probe.engine.images import Images, on_device
from resnet_probe.engine.memory import DEFAULT_MEMORY, batch_size, footprint, format_bytes
from resnet_probe.engine.precision import full_precision
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs, residual

PROOF = 8
"""How many images the folded chain is held against the chain on, at most."""

Progress = Callable[[int, int], None]
"""Called with (branch evaluations done, branch evaluations in all)."""


@dataclass
class PrefixTree:
    """All programs that begin alike; `ends` are the indices of the edits that are complete here."""

    ends: list[int] = field(default_factory=list)
    children: dict[Step, PrefixTree] = field(default_factory=dict)
    programs: int = 0

    @classmethod
    def of(cls, edits: Sequence[Edit], chain: Blocks) -> PrefixTree:
        """Raises `ProbeError` for an edit that this chain cannot have."""
        root = cls()
        for index, edit in enumerate(edits):
            node = root
            node.programs += 1
            for step in edit.steps(chain):
                node = node.children.setdefault(step, cls())
                node.programs += 1
            node.ends.append(index)
        for node in root:
            ordered = sorted(node.children.items(), key=lambda item: item[1].programs)
            node.children = dict(ordered)
        return root

    def __iter__(self) -> Iterator[PrefixTree]:
        """Every node, each before its children."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.children.values())

    @property
    def branch_runs(self) -> int:
        """How many branches are evaluated for one batch."""
        return sum(branch_runs(step) for node in self for step in node.children)

    @property
    def states(self) -> int:
        """How many states are kept at once while the tree is walked."""
        needed: dict[int, int] = {}
        for node in reversed(list(self)):
            below = [needed[id(child)] for child in node.children.values()]
            needed[id(node)] = max([1, *(1 + n for n in below[:-1]), *below[-1:]])
        forms = any(not isinstance(place, int) for node in self for place, _ in node.children)
        return needed[id(self)] + forms  # several blocks from one state add up in one more


def plain_runs(edits: Sequence[Edit], chain: Blocks) -> int:
    """How many branches a loop runs that begins each edit at the first block."""
    return sum(branch_runs(step) for edit in edits for step in edit.steps(chain))


@dataclass(frozen=True)
class Piece:
    """Logits `[stop − start, classes]` of images `start` to `stop`, for every edit in `edits`."""

    edits: tuple[int, ...]
    start: int
    stop: int
    logits: Tensor


class Sweep:
    """Runs edits of one chain, on the chain's device.

    `memory` (bytes) bounds what a run holds beside the images and the chain: states, activations
    and the folded weights.  `batch` fixes the number of images that go through at once; without it
    a batch fits the budget and, on a CPU, the cache.  `exact` runs the chain's own modules,
    unfolded: the arithmetic of the plain loop.  The result does not depend on either but for
    rounding; on CUDA it is that of IEEE float32, without TF32.  Images are taken in the type of the
    chain's weights.

    Raises `ProbeError` if the budget is too small for one image, and, before anything is handed
    out, if the folded chain gives other logits than the chain by more than rounding.
    """

    def __init__(
        self,
        chain: ResidualChain,
        *,
        batch: int | None = None,
        memory: int = DEFAULT_MEMORY,
        exact: bool = False,
    ) -> None:
        self.original = chain
        self.chain = chain if exact else folded(chain)
        self.batch = batch
        self.memory = memory
        self.exact = self.proven = exact

    def __repr__(self) -> str:
        """`Sweep(resnet110: 54 blocks, folded, 2.0 GiB of memory)`."""
        chain, how = self.original, "exact" if self.exact else "folded"
        batch = "" if self.batch is None else f", {self.batch} images at once"
        return (
            f"Sweep({chain.name}: {len(chain)} {chain.unit}s, {how}{batch}, "
            f"{format_bytes(self.memory)} of memory)"
        )

    def run(
        self, edits: Sequence[Edit], images: Images, *, progress: Progress | None = None
    ) -> Iterator[Piece]:
        """The logits of each edited network for `images` `[n, …]`, batch by batch."""
        if not edits:
            return
        tree = PrefixTree.of(edits, self.chain)
        first = edits[0].steps(self.chain)
        batch = self.batch_for(tree, images, first)
        starts = range(0, len(images), batch)
        if not self.proven:
            self._prove(images[: min(batch, PROOF)], first)
            self.proven = True
        done, total = 0, tree.branch_runs * len(starts)
        for start in starts:
            stop = min(start + batch, len(images))
            for ends, logits, runs in self._walk(tree, images[start:stop]):
                done += runs
                if progress is not None:
                    progress(done, total)
                if ends:
                    yield Piece(tuple(ends), start, stop, logits)
                del logits  # before the next are made

    def batch_for(
        self, tree: PrefixTree, images: Images, steps: Sequence[Step] | None = None
    ) -> int:
        """How many images go through the tree at once; `steps` are a program that the chain runs,
        where that is not its own."""
        needs = footprint(self.chain, self._take(images[:1]), steps)
        return batch_size(
            needs,
            states=tree.states,
            memory=self.memory,
            images=len(images),
            asked=self.batch,
            device=self.chain.device,
        )

    def whole_groups(self, edits: Sequence[Edit], images: Images, group: int) -> int:
        """A batch of whole groups of images, one at least: what goes on in them is then the same
        in every batch."""
        size = self.batch_for(PrefixTree.of(edits, self.chain), images)
        return max(group, size // group * group)

    def _take(self, images: Images) -> Any:
        """The images on the chain's device, in the type of its weights and its layout."""
        taken = on_device(images, self.chain.device, self.chain.dtype)
        if isinstance(taken, Inputs):
            return taken
        layout = torch.contiguous_format if self.exact else torch.channels_last
        return taken.contiguous(memory_format=layout) if taken.dim() == 4 else taken

    @torch.inference_mode()
    def _prove(self, images: Images, steps: Sequence[Step]) -> None:
        """Hold the folded chain against the chain that it was made from, at the first edit."""
        taken = self._take(images)
        with full_precision(taken.device):
            found, wanted = self.chain.run(taken, steps), self.original.run(taken, steps)
        gap = (found - wanted).abs()
        gap = gap.masked_fill((found == wanted) | (found.isnan() & wanted.isnan()), 0)
        largest, size = (
            float(gap.nan_to_num(torch.inf).max()),
            float(wanted.abs().nan_to_num(0).max()),
        )
        if largest > torch.finfo(wanted.dtype).eps ** 0.5 * size:
            raise ProbeError(
                f"{self.original.name} with its batch norms folded into its convolutions gives "
                f"logits that are off by {largest:.3g}, where the largest is {size:.3g}: more than "
                "rounding; run it unfolded, with exact=True"
            )

    @torch.inference_mode()
    def _walk(self, tree: PrefixTree, images: Images) -> Iterator[tuple[list[int], Tensor, int]]:
        images = self._take(images)
        with full_precision(images.device):
            h = self.chain.stem(images)
        if tree.ends:
            yield tree.ends, self.chain.head(h), 0
        waiting = [(node, step, h) for step, node in reversed(tree.children.items())]
        while waiting:
            node, (place, gate), h = waiting.pop()
            with full_precision(images.device):
                h = self.chain.block(place).run(h, gate)
                logits = self.chain.head(h) if node.ends else residual(h)
            yield node.ends, logits, branch_runs((place, gate))
            del logits
            waiting.extend((child, step, h) for step, child in reversed(node.children.items()))
