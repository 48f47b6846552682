"""What a linearised module remembers: for each operation, how cotangents go back through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from resnet_probe.engine.pullback import stack

Given = tuple[Tensor, bool]
"""A stack `[k, n, …]`, and whether it may be overwritten."""


class Pull:
    """The transpose of one operation at one point."""

    def __call__(self, g: Tensor, own: bool) -> Sequence[Given]:
        """One stack for each source of the operation; `own` allows to overwrite `g`."""
        raise NotImplementedError

    @property
    def in_place(self) -> bool:
        """Whether the result lies where the cotangent lay, if that may be overwritten."""
        return False

    @property
    def held(self) -> Iterable[Tensor]:
        """The tensors of the forward pass that it keeps."""
        return ()


@dataclass(frozen=True)
class Entry:
    """One operation: the value that it made, and the values that it read (any hashable names)."""

    made: Any
    sources: tuple[Any, ...]
    pull: Pull


@dataclass(frozen=True)
class Pullback:
    """The transposed Jacobian of a module at one batch `[n, *shape]`.

    `pullback(g)` maps a stack `[k, n, *out_shape]` to `[k, n, *shape]`; with `own=True` it may use
    the memory of `g` for that, and if `in_place` holds, it does.  `dtype` is that of the module's
    result, which may be added to one of another type.
    """

    start: Any
    end: Any
    entries: tuple[Entry, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype | None = None
    in_place: bool = field(init=False)

    def __post_init__(self) -> None:
        made = [self.start, *(entry.made for entry in self.entries)]
        read = [*(source for entry in self.entries for source in entry.sources), self.end]
        series = made == read
        elementwise = all(entry.pull.in_place for entry in self.entries)
        object.__setattr__(self, "in_place", series and elementwise)

    def __call__(self, g: Tensor, *, own: bool = False) -> Tensor:
        waiting: dict[Any, Given] = {self.end: (g.to(self.dtype or g.dtype), own)}
        for entry in reversed(self.entries):
            given = waiting.pop(entry.made, None)
            if given is None:  # nothing that counts reads it
                continue
            for source, pulled in zip(entry.sources, entry.pull(*given), strict=True):
                before = waiting.get(source)
                waiting[source] = pulled if before is None else _add(before, pulled)
        found = waiting.get(self.start)
        return stack.zeros(len(g), g.shape[1], self.shape, g) if found is None else found[0]

    @property
    def identity(self) -> bool:
        """Whether it gives back just what it is given."""
        return not self.entries and self.start == self.end

    @property
    def held_bytes(self) -> int:
        """Memory of the forward pass that is kept for going back."""
        kept = [tensor for entry in self.entries for tensor in entry.pull.held]
        storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in kept}
        return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def _add(first: Given, second: Given) -> Given:
    for (a, own), (b, _) in ((first, second), (second, first)):
        if own:
            return a.add_(b), True
    return torch.add(first[0], second[0]), True
