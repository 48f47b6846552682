"""What a study takes as images: a tensor, or images that are read a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor

from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs

Read = Callable[[int, int], Tensor]
"""`read(start, stop)`: images `start` to `stop − 1`, `[stop − start, …]`, on the CPU."""


class ImageStream:
    """Images `[n, …]` that are read when they are needed.

    Stands in for the float tensor of all of them wherever that is only measured, sliced and moved:
    `len`, `shape`, `images[start:stop]` (a view, nothing is read) and `.to(device)` (reads it, and
    normalizes it there).  The values are those of the tensor, bit for bit.

    `shape` is that of one image, `device` where `.to()` puts them.
    """

    def __init__(
        self,
        read: Read,
        rows: range,
        shape: tuple[int, ...],
        *,
        device: torch.device,
        finish: Callable[[Tensor], Tensor] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._read = read
        self._rows = rows
        self._finish = finish
        self.dtype = dtype
        self.device = device
        self.shape = torch.Size((len(rows), *shape))

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"ImageStream(shape={tuple(self.shape)}, device={self.device})"

    @overload
    def __getitem__(self, which: slice) -> ImageStream: ...
    @overload
    def __getitem__(self, which: int) -> Tensor: ...
    def __getitem__(self, which: slice | int) -> ImageStream | Tensor:
        """A view of a range of images; a number gives one image, read.

        Raises `ProbeError` for a step other than 1: images are read in their order.
        """
        if isinstance(which, int):
            row = range(len(self))[which]  # IndexError beyond the last, as iteration needs it
            return self[row : row + 1].to()[0]
        rows = self._rows[which]
        if rows.step != 1:
            raise ProbeError(f"images[{which.start}:{which.stop}:{which.step}]: give no step")
        return ImageStream(
            self._read, rows, self.shape[1:], device=self.device, finish=self._finish,
            dtype=self.dtype,
        )  # fmt: skip

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """All these images, read: `[n, …]`, of `dtype`, else of the stream's, else as read."""
        images = self._read(self._rows.start, self._rows.stop).to(device or self.device)
        finished = images if self._finish is None else self._finish(images)
        wanted = dtype or self.dtype
        return finished if wanted is None else finished.to(wanted)

    def of_type(self, dtype: torch.dtype) -> ImageStream:
        """The same images, given as numbers of that type."""
        if dtype == self.dtype:
            return self
        return ImageStream(
            self._read, self._rows, self.shape[1:], device=self.device, finish=self._finish,
            dtype=dtype,
        )  # fmt: skip

    def finished(
        self,
        finish: Callable[[Tensor], Tensor],
        *,
        device: torch.device,
        shape: tuple[int, ...] | None = None,
    ) -> ImageStream:
        """The same images, with `finish` done to what is read, on `device`, after all before.

        `shape` is that of one image then, where it is another.
        """
        before = self._finish
        both = finish if before is None else partial(_one_after_another, before, finish)
        return ImageStream(
            self._read, self._rows, shape or self.shape[1:], device=device, finish=both
        )

    def picked(self, rows: Sequence[int]) -> ImageStream:
        """The images of these numbers, in this order."""
        there = [self._rows[row] for row in rows]
        pick = getattr(self._read, "picked", None)
        read = partial(_each, self._read, there) if pick is None else pick(there)
        return ImageStream(
            read, range(len(there)), self.shape[1:], device=self.device, finish=self._finish,
            dtype=self.dtype,
        )  # fmt: skip

    def split(self, size: int) -> tuple[ImageStream, ...]:
        """Views of at most `size` images each, in order."""
        return tuple(self[start : start + size] for start in range(0, len(self), size))


Images: TypeAlias = Tensor | ImageStream
"""What a study takes; `state.Inputs` of several tensors, by name, stand in for one tensor."""


def on_device(images: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The images there, in that type: what is no floating-point number (a token) keeps its own."""
    if isinstance(images, Tensor) and not images.is_floating_point():
        return images.to(device)
    return images.to(device, dtype)


def picked(images: Any, rows: Sequence[int]) -> Any:
    """The images of these numbers, in this order; of a stream none is read."""
    if isinstance(images, Inputs):
        return images.map(lambda value: value[torch.as_tensor(rows, device=value.device)])
    if isinstance(images, Tensor):
        found = images[torch.as_tensor(rows, device=images.device)]
        last = images.dim() == 4 and images.is_contiguous(memory_format=torch.channels_last)
        return found.contiguous(memory_format=torch.channels_last) if last else found
    return images.picked(rows)


def _one_after_another(
    first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor], images: Tensor
) -> Tensor:
    return second(first(images))


def _each(read: Read, rows: Sequence[int], start: int, stop: int) -> Tensor:
    return torch.cat([read(row, row + 1) for row in rows[start:stop]])
