"""A data set on disk: its labels are known, its images are decoded when they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from resnet_probe.engine.images import ImageStream, Read

if TYPE_CHECKING:
    from resnet_probe.data.normalize import Normalization

PIECE = 256


@dataclass(frozen=True, eq=False)
class StreamedSet:
    """Labelled images that stay on disk; the attributes are those of `ImageSet`.

    ``read(start, stop)`` gives images as uint8 ``[stop − start, *shape[1:]]``, ``pixels_sha256``
    stands for all of them.
    """

    name: str
    split: str
    shape: tuple[int, int, int, int]
    read: Read
    labels: Tensor
    class_names: tuple[str, ...]
    pixels_sha256: str
    note: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, limit: int | None) -> StreamedSet:
        """The first ``limit`` images (all of them for None or a limit beyond the last)."""
        labels = self.labels[:limit]
        return replace(self, labels=labels, shape=(len(labels), *self.shape[1:]))

    def fingerprint(self) -> str:
        """SHA-256, in hex: that of the `ImageSet` of the same files."""
        return of_files(self.pixels_sha256, self.labels)

    def pieces(self) -> Iterator[Tensor]:
        """All images, uint8, some at a time."""
        for start in range(0, len(self), PIECE):
            yield self.read(start, min(start + PIECE, len(self)))

    def on(self, device: torch.device, scale: Normalization) -> ImageStream:
        """The images as a study takes them: read, moved and normalized when they are needed."""
        return ImageStream(
            self.read, range(len(self)), self.shape[1:], device=device, finish=scale.apply
        )


def of_files(pixels_sha256: str, labels: Tensor) -> str:
    """The fingerprint of a set whose images are known by a hash of their files."""
    digest = hashlib.sha256(pixels_sha256.encode())
    digest.update(labels.cpu().contiguous().numpy().data)
    return digest.hexdigest()
