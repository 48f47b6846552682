"""How each block of a chain is switched: off, on, twice, or its branch scaled; and presets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from resnet_probe.chain import ResidualChain, Step
from resnet_probe.edits import Edit, draw_numbers
from resnet_probe.errors import ProbeError, did_you_mean

Setting = Literal["on", "off", "twice"] | float
"""Of one block; a number is the factor of its branch."""

PRESETS = {
    "all on": "the network as it is",
    "random": "k blocks off, drawn at random",
    "most important": "the k blocks off whose single deletion costs the most",
    "short paths": "only the k most important blocks on, so that no path is longer than k",
}
RANKED = ("most important", "short paths")
"""Those that need to know what deleting each single block does."""


@dataclass(frozen=True)
class Switches:
    """`settings[b − 1]` is the setting of block b; made by `Switches.of`, which checks it."""

    settings: tuple[Setting, ...]

    @classmethod
    def of(
        cls,
        chain: ResidualChain,
        *,
        off: Iterable[int] = (),
        twice: Iterable[int] = (),
        scaled: Mapping[int, float] | None = None,
    ) -> Switches:
        """The blocks named are off, run twice, or have their branch scaled; the others are on.

        Raises `ProbeError` for a block that the chain does not have or that is named twice, one
        that cannot run twice (it changes the shape), and a factor that a layer of a plain network
        cannot have, or that is not finite.
        """
        settings: dict[int, Setting] = {}
        asked: list[tuple[int, Setting]] = [
            *((b, "off") for b in off),
            *((b, "twice") for b in twice),
            *(scaled or {}).items(),
        ]
        for number, setting in asked:
            _check(chain, number, setting)
            if number in settings:
                raise ProbeError(
                    f"{chain.unit} {number} is switched to {_words(settings[number])} and to "
                    f"{_words(setting)}: name it once"
                )
            settings[number] = setting
        return cls(tuple(settings.get(b.number, "on") for b in chain))

    def put(self, chain: ResidualChain, number: int, setting: Setting) -> Switches:
        """The same with one block switched; raises `ProbeError` as `of` does."""
        _check(chain, number, setting)
        return Switches((*self.settings[: number - 1], setting, *self.settings[number:]))

    @property
    def off(self) -> tuple[int, ...]:
        return self._where("off")

    @property
    def twice(self) -> tuple[int, ...]:
        return self._where("twice")

    @property
    def scaled(self) -> dict[int, float]:
        """Block to factor."""
        pairs = enumerate(self.settings, start=1)
        return {b: setting for b, setting in pairs if not isinstance(setting, str)}

    @property
    def edit(self) -> Edit:
        """The same as an edit that `Sweep` runs; its kind is mixed where it holds several kinds."""
        made = Edit.delete(*self.off)
        for number in self.twice:
            made >>= Edit.repeat(number)
        made >>= Edit.scale(self.scaled)
        changed = [b for b, setting in enumerate(self.settings, start=1) if setting != "on"]
        return replace(made, edits=len(changed), blocks=" ".join(map(str, changed)))

    def steps(self, number: int) -> tuple[Step, ...]:
        """What is run in the place of block `number`."""
        setting = self.settings[number - 1]
        if setting == "twice":
            return ((number, 1.0), (number, 1.0))
        gates = {"on": 1.0, "off": 0.0}
        return ((number, gates[setting] if isinstance(setting, str) else float(setting)),)

    def first_difference(self, other: Switches) -> int:
        """The first block that is switched otherwise; the number of blocks + 1 if none is."""
        pairs = zip(self.settings, other.settings, strict=True)
        different = (b for b, (ours, theirs) in enumerate(pairs, start=1) if ours != theirs)
        return next(different, len(self.settings) + 1)

    def __str__(self) -> str:
        """`3 off, 1 twice, 1 scaled`, or `all on`."""
        counts = {"off": len(self.off), "twice": len(self.twice), "scaled": len(self.scaled)}
        return ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "all on"

    def _where(self, wanted: str) -> tuple[int, ...]:
        return tuple(b for b, setting in enumerate(self.settings, start=1) if setting == wanted)


def _check(chain: ResidualChain, number: int, setting: Setting) -> None:
    block = chain.block(number)
    if setting == "twice" and not block.keeps_shape:
        shapes = " to ".join("×".join(map(str, s)) for s in (block.in_shape, block.out_shape))
        raise ProbeError(
            f"{chain.unit} {number} ({block.name}) cannot run twice: it changes the shape, {shapes}"
        )
    if isinstance(setting, str):
        if setting not in ("on", "off", "twice"):
            raise ProbeError(f"unknown setting {setting!r}: write on, off, twice or a factor")
        return
    if not math.isfinite(setting):
        raise ProbeError(f"{chain.unit} {number} cannot be scaled by {setting}: give a number")
    if not block.residual:
        raise ProbeError(
            f"layer {number} ({block.name}) cannot be scaled by {setting:g}: a plain layer has no "
            "branch to scale, it is on or off"
        )


def _words(setting: Setting) -> str:
    return setting if isinstance(setting, str) else f"×{setting:g}"


def check_preset(name: str, count: int, *, blocks: int) -> None:
    """Raises `ProbeError` for a preset that does not exist and a count out of range."""
    if name not in PRESETS:
        there = ", ".join(PRESETS) + did_you_mean(name, PRESETS)
        raise ProbeError(f"unknown preset {name!r}: there are {there}")
    if not 0 <= count <= blocks:
        raise ProbeError(f"{count} blocks are out of range: the network has {blocks} (0–{blocks})")


def blocks_off(name: str, count: int, *, ranking: Sequence[int], seed: int = 0) -> list[int]:
    """Block numbers in ascending order; `ranking` has all of them, the most important first."""
    if name == "random":
        return draw_numbers(sorted(ranking), count, torch.Generator().manual_seed(seed))
    if name == "most important":
        return sorted(ranking[:count])
    if name == "short paths":
        return sorted(ranking[count:])
    return []
