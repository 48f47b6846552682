"""A data set in memory: one tensor of images, one of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from resnet_probe.data.streamed_set import PIECE, of_files
from resnet_probe.engine.images import Images, ImageStream
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.data.normalize import Normalization

AS_FLOAT = 2**30
"""Bytes of normalized images, four a value, that are held as they are."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, small enough to lie in memory as one tensor of bytes.

    Attributes
    ----------
    name : as it was asked for, e.g. ``digits`` or ``parquet:/data/test.parquet``
    split : ``train`` or ``test``
    images : uint8 ``[n, 3, height, width]``, values 0–255
    labels : int64 ``[n]``, the class of each image from 0
    class_names : the name of class 0, 1, …
    note : what a reader of a number measured on these images must know, e.g. ``stored as JPEG``
    pixels_sha256 : stands for the pixels where they come from files that were hashed

    Raises ProbeError if the tensors do not have that shape and type.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    note: str = ""
    pixels_sha256: str = ""

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise ProbeError(
                f"the images of {self.name} are {images.dtype} of shape {tuple(images.shape)}: "
                "expected torch.uint8 of shape (n, 3, height, width)"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ProbeError(
                f"the labels of {self.name} are {labels.dtype} of shape {tuple(labels.shape)}: "
                f"expected torch.int64 of shape ({len(images)},)"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """SHA-256, in hex, over the shape, the pixels and the labels: equal sets, equal hash.

        Of a folder, over its files, what is done to them, and the labels: the same for a set that
        is left on disk.
        """
        if self.pixels_sha256:
            return of_files(self.pixels_sha256, self.labels)
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def take(self, limit: int | None) -> ImageSet:
        """The first ``limit`` images (all of them for None or a limit beyond the last)."""
        check_limit(limit)
        if limit is None or limit >= len(self):
            return self
        images, labels = self.images[:limit], self.labels[:limit]
        return replace(self, images=images, labels=labels, pixels_sha256="")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, 3, height, width)``."""
        return tuple(self.images.shape)

    def pieces(self) -> Iterator[Tensor]:
        """All images, uint8, some at a time."""
        yield from self.images.split(PIECE)

    def on(self, device: torch.device, scale: Normalization) -> Images:
        """The images as a study takes them, normalized: one float tensor up to 1 GiB of it.

        Beyond, the bytes stay where they are, and a piece is moved and normalized when needed.
        """
        if 4 * self.images.numel() <= AS_FLOAT:
            return scale.apply(self.images.to(device))
        shape = self.images.shape[1:]
        rows = range(len(self))
        return ImageStream(self._read, rows, shape, device=device, finish=scale.apply)

    def _read(self, start: int, stop: int) -> Tensor:
        return self.images[start:stop]


def check_limit(limit: int | None) -> None:
    """Raise ProbeError unless ``limit`` is None or at least 1."""
    if limit is not None and limit < 1:
        raise ProbeError(f"a limit of {limit} images leaves nothing: give 1 or more")


def of_one_size(images: Sequence[Tensor], *, name: str, advice: str = "") -> Tensor:
    """Stack ``[3, h, w]`` images into ``[n, 3, h, w]``; ProbeError at the first other size."""
    first = images[0].shape
    for number, image in enumerate(images, start=1):
        if image.shape != first:
            raise ProbeError(
                f"{name} holds images of different sizes: image {number} is {size_of(image)} "
                f"(height×width) where the first is {size_of(images[0])}{advice}"
            )
    return torch.stack(tuple(images))


def size_of(image: Tensor) -> str:
    """``height×width`` of an image whose last two axes are those."""
    return "×".join(str(side) for side in image.shape[-2:])
