"""The engine behind the switches, without any display."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.images import Images
from resnet_probe.engine.sweep import Progress
from resnet_probe.errors import ProbeError
from resnet_probe.explorer.code import code_of
from resnet_probe.explorer.outcome import Outcome, judge
from resnet_probe.explorer.prefixes import Prefixes
from resnet_probe.explorer.presets import RANKED, blocks_off, check_preset
from resnet_probe.explorer.singles import single_deletions
from resnet_probe.explorer.switches import Setting, Switches
from resnet_probe.studies.checks import check_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEMORY = 512 * 2**20
"""Bytes that the kept states take at most, by default."""


class Explorer:
    """One network, some images, and a switch for each block; `now` is the present `Outcome`.

    The states inside the network are kept within `memory` (bytes), so that a change at block b
    costs the blocks from about b on. The logits are those of `Sweep` for the same steps, bit for
    bit at the same `batch`; `exact` runs the network's own modules, unfolded. `class_names` are
    for display.

    Raises `ProbeError` for images and labels that do not fit the chain, names that do not fit its
    classes, a budget too small for the states of the stem, and logits that are not finite.
    """

    def __init__(
        self,
        chain: ResidualChain,
        images: Images,
        labels: Tensor,
        *,
        class_names: Sequence[str] | None = None,
        batch: int | None = None,
        memory: int = MEMORY,
        exact: bool = False,
    ) -> None:
        check_data(chain, images, labels)
        self.chain, self.labels = chain, labels.cpu()
        self.images = images = images[:].to(chain.device)
        self.class_names = _names(chain, class_names)
        self.exact = exact
        self.prefixes = Prefixes(chain, images, batch=batch, memory=memory, exact=exact)
        self.baseline, _ = self.prefixes.run(Switches.of(chain))
        self._singles: pd.DataFrame | None = None
        self.now = self.turn(Switches.of(chain))

    @property
    def switches(self) -> Switches:
        return self.now.switches

    @property
    def code(self) -> str:
        """Python that brings about the present state, given `chain`, `images` and `labels`."""
        return code_of(self.switches, self.now, exact=self.exact, unit=self.chain.unit)

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
        """Switch blocks off by one of `presets.PRESETS`, for `count` blocks.

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

        return draw(self)


def _names(chain: ResidualChain, names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return tuple(str(label) for label in range(chain.classes))
    if len(names) != chain.classes:
        raise ProbeError(
            f"{len(names)} class names do not fit: {chain.name} has {chain.classes} classes"
        )
    return tuple(map(str, names))
