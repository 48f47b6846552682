"""The engine behind the switches, without any display."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.chain import ResidualChain
from resnet_probe.edits import Edit
from resnet_probe.engine.fold import folded
from resnet_probe.engine.memory import DEFAULT_MEMORY, batch_size, footprint, format_bytes
from resnet_probe.engine.precision import full_precision
from resnet_probe.engine.sweep import Progress, Sweep
from resnet_probe.errors import ProbeError
from resnet_probe.explorer.outcome import Outcome, judge
from resnet_probe.explorer.switches import RANKED, Setting, Switches, blocks_off, check_preset
from resnet_probe.state import residual
from resnet_probe.studies.checks import check_data
from resnet_probe.studies.study import subject_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEMORY = 512 * 2**20
"""Bytes that the kept states take at most, by default."""
GIVEN = {1: ("ready",), 3: ("chain", "images", "labels")}
"""What the code calls what an explorer is made of, by how many they are."""


class Explorer:
    """One network, some images, and a switch for each block; `now` is the present `Outcome`.

    It takes a chain, images `[n, …]` and labels `[n]`, or what `prepare` gives.

    The states inside the network are kept within `memory` (bytes), so that a change at block b
    costs the blocks from about b on. The logits are those of `Sweep` for the same steps, bit for
    bit at the same `batch`; `exact` runs the network's own modules, unfolded. `class_names` are
    for display.

    Raises `ProbeError` for images and labels that do not fit the chain, names that do not fit its
    classes, a budget too small for the states of the stem, and logits that are not finite.
    """

    def __init__(
        self,
        chain: ResidualChain | Any,
        images: Any = None,
        labels: Any = None,
        *,
        class_names: Sequence[str] | None = None,
        batch: int | None = None,
        memory: int = MEMORY,
        exact: bool = False,
    ) -> None:
        self.given = (chain,) if images is None else (chain, images, labels)
        chain, images, labels, _ = subject_of(chain, images, labels)
        check_data(chain, images, labels)
        self.chain, self.labels = chain, labels.cpu()
        self.images = images = images[:].to(chain.device)
        self.class_names = _names(chain, class_names)
        self.exact = exact
        self.prefixes = Prefixes(chain, images, batch=batch, memory=memory, exact=exact)
        self.baseline, _ = self.prefixes.run(Switches.of(chain))
        self._singles: pd.DataFrame | None = None
        self.now = self.turn(Switches.of(chain))

    def __repr__(self) -> str:
        """`Explorer(resnet20: 9 blocks, 200 images; all on: 198 of 200 images right …)`."""
        chain = self.chain
        return (
            f"Explorer({chain.name}: {len(chain)} {chain.unit}s, {len(self.labels):,} images; "
            f"{self.now!r})"
        )

    @property
    def switches(self) -> Switches:
        return self.now.switches

    @property
    def code(self) -> str:
        """Python that brings about the present state and leaves it in `now`.

        In a notebook it uses the names that the notebook has for what this explorer was made of;
        elsewhere `chain`, `images` and `labels`, or `ready`.
        """
        return self.code_in(_notebook())

    def code_in(self, names: Mapping[str, Any]) -> str:
        """The same with the names of a namespace, as far as it holds what the code needs."""
        there = [_name_of(thing, names) for thing in self.given]
        shown = _name_of(self, names)
        lines = ["import resnet_probe as rp", ""]
        if None in there and shown:
            lines = [f"explorer = {shown}"]
        else:
            usual_names = GIVEN[len(there)]
            given = ", ".join(name or usual for name, usual in zip(there, usual_names, strict=True))
            exact = ", exact=True" if self.exact else ""
            lines.append(f"explorer = rp.Explorer({given}{exact})")
        arguments = {"off": list(self.switches.off), "twice": list(self.switches.twice),
                     "scaled": self.switches.scaled}  # fmt: skip
        asked = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value)
        said = f"{len(self.chain)} {self.chain.unit}s, {self.switches}"
        lines.insert(-1, f"# {said}: {self.now.correct} of {self.now.images} images right")
        return "\n".join([*lines, f"now = explorer.set({asked})", "print(now.sentence)", ""])

    def set(
        self,
        *,
        off: Iterable[int] = (),
        twice: Iterable[int] = (),
        scaled: Mapping[int, float] | None = None,
    ) -> Outcome:
        """Switch the whole network: what is not named is on. As `Switches.of`, and `turn`."""
        return self.turn(Switches.of(self.chain, off=off, twice=twice, scaled=scaled))

    def switch(self, number: int, setting: Setting) -> Outcome:
        """Switch one block: on, off, twice, or a factor for its branch."""
        return self.turn(self.switches.put(self.chain, number, setting))

    def turn(self, switches: Switches) -> Outcome:
        """Run the network with these switches; if that fails, `now` stays what it was."""
        began = time.perf_counter()
        logits, runs = self.prefixes.run(switches)
        self.now = judge(
            switches, logits, self.baseline, self.labels, class_names=self.class_names,
            seconds=time.perf_counter() - began, branch_runs=runs,
        )  # fmt: skip
        return self.now

    def preset(
        self, name: str, count: int = 0, *, seed: int = 0, progress: Progress | None = None
    ) -> Outcome:
        """Switch blocks off by one of `switches.PRESETS`, for `count` blocks.

        Raises `ProbeError` for another name, and for a count that the network does not have.
        """
        check_preset(name, count, blocks=len(self.chain))
        if name in RANKED:
            ranking = self.singles(progress)["block"].tolist()
        else:
            ranking = [block.number for block in self.chain]
        return self.set(off=blocks_off(name, count, ranking=ranking, seed=seed))

    @property
    def ranked(self) -> bool:
        """Whether `singles` has been measured."""
        return self._singles is not None

    def singles(self, progress: Progress | None = None) -> pd.DataFrame:
        """What deleting each single block does (see `single_deletions`); measured once."""
        if self._singles is None:
            self._singles = single_deletions(
                self.chain, self.images, self.labels, exact=self.exact, progress=progress
            )
        return self._singles

    def figure(self) -> Figure:
        """The present state as a matplotlib figure."""
        from resnet_probe.explorer.figure import draw

        return draw(self.chain, self.now, self.images, self.class_names)


def _names(chain: ResidualChain, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return tuple(str(label) for label in range(chain.classes))
    if len(names) != chain.classes:
        raise ProbeError(
            f"{len(names)} class names do not fit: {chain.name} has {chain.classes} classes"
        )
    return tuple(map(str, names))


def _notebook() -> Mapping[str, Any]:
    """The names that the cells of the running notebook have made; none outside of one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell.user_ns if shell is not None else {}


def _name_of(thing: Any, names: Mapping[str, Any]) -> str | None:
    """`images`, or `ready.images` where something named holds it; names that begin with _ last."""
    known = sorted(names.items(), key=lambda item: item[0].startswith("_"))
    own = [name for name, value in known if value is thing]
    held = [
        f"{name}.{part}"
        for name, value in known
        for part in ("explorer", *GIVEN[3])  # a widget's, or those of what `prepare` returned
        if getattr(value, "__dict__", {}).get(part) is thing
    ]
    return next(iter([*own, *held]), None)


class Prefixes:
    """Runs a chain again and again, each time only from the first block switched otherwise.

    Kept are the states at the inputs of blocks 1, 1 + `spacing`, 1 + 2·`spacing` … for the
    switches that were run last, with the smallest spacing that fits into `memory` (bytes). Raises
    `ProbeError` where not even the stem's states do.
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
            h = residual(self.chain.block(number).run(h, gate))
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


def single_deletions(
    chain: ResidualChain,
    images: Tensor,
    labels: Tensor,
    *,
    exact: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """What each single block is worth on these images: one row a block, the most important first.

    `delta_pct` is how much the error grows without the block, `delta_loss` how much the mean
    cross-entropy does (nats); blocks of equal error are ordered by it, then by number.
    """
    n = len(chain)
    plan = [Edit(), *(Edit.delete(b) for b in range(1, n + 1))]
    loss, right = np.zeros(n + 1), np.zeros(n + 1)
    for piece in Sweep(chain, exact=exact).run(plan, images, progress=progress):
        logits, truth = piece.logits.double().cpu(), labels[piece.start : piece.stop].cpu()
        for index in piece.edits:
            loss[index] += float(F.cross_entropy(logits, truth, reduction="sum"))
            right[index] += int((logits.argmax(1) == truth).sum())
    table = pd.DataFrame(
        {
            "block": range(1, n + 1),
            "delta_pct": 100 * (right[0] - right[1:]) / len(images),
            "delta_loss": (loss[1:] - loss[0]) / len(images),
        }
    )
    order = ["delta_pct", "delta_loss", "block"]
    return table.sort_values(order, ascending=[False, False, True], ignore_index=True)
