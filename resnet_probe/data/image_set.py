"""Labelled images, in memory or read when they are needed: the one form that everything takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from resnet_probe.data.normalize import Normalization, triple, written
from resnet_probe.engine.images import Images, ImageStream, Read, on_device
from resnet_probe.errors import ProbeError
from resnet_probe.state import Inputs

AS_FLOAT = 2**30
"""Bytes of normalized images, four a value, that are held as they are."""
PIECE = 256
"""How many images are looked at together where all are gone through."""


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Labelled images: one tensor, or an `ImageStream` that reads them when they are needed.

    Attributes
    ----------
    name : as it was asked for, e.g. `digits` or `parquet:/data/test.parquet`
    split : `train` or `test`, empty where it has none
    images : as they lie there: bytes, uint8 `[n, channels, height, width]`, or `floats`
    labels : int64 `[n]`, the class of each image from 0; or any labels `[n, …]` of `engine.task`
    class_names : the name of class 0, 1, …
    note : what a reader of a number measured on these images must know, e.g. `stored as JPEG`
    files : the SHA-256 of the file of each image, where they come one from each
    treatment : what is done to those files, as the fingerprint has it
    floats : whether they are floats that the user's own transforms made
    named : whether classes came as names, which their alphabetical order has numbered

    Raises `ProbeError` if the tensors do not have that shape and type.
    """

    name: str
    split: str
    images: Images
    labels: Tensor
    class_names: tuple[str, ...]
    note: str = ""
    files: tuple[bytes, ...] = ()
    treatment: str = ""
    floats: bool = False
    named: bool = False

    def __repr__(self) -> str:
        """`ImageSet(digits, test: 898 images of 3×16×16, 10 classes)`."""
        split = f", {self.split}" if self.split else ""
        shape = "×".join(map(str, self.images.shape[1:]))
        return (
            f"ImageSet({self.name}{split}: {len(self.images):,} images of {shape}, "
            f"{len(self.class_names)} classes)"
        )

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if isinstance(images, Tensor) and not self.floats and not self.tokens:
            _check_bytes(images, self.name)
        fits = labels.dtype == torch.int64 or labels.is_floating_point()
        if not fits or labels.shape[:1] != images.shape[:1]:
            raise ProbeError(
                f"the labels of {self.name} are {labels.dtype} of shape {tuple(labels.shape)}: "
                f"expected torch.int64 of shape ({len(images)},), or of more axes, or floats"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def tokens(self) -> bool:
        """Whether these are no images but tokens `[n, t]`, or several inputs by name."""
        images = self.images
        return isinstance(images, Inputs) or (
            isinstance(images, Tensor) and images.dtype == torch.int64
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n, 3, height, width)`."""
        return tuple(self.images.shape)

    @property
    def pixels(self) -> Tensor:
        """All images in one tensor, as they lie there; of a stream all are read."""
        return self.images if isinstance(self.images, Tensor) else self.images.to()

    def fingerprint(self) -> str:
        """SHA-256, in hex, over the shape, the pixels and the labels: equal sets, equal hash.

        Of images from files of their own, over these files, what is done to them, and the labels:
        none has to be decoded.  It does not depend on how the set was made smaller, nor on whether
        it lies in memory.
        """
        return self._fingerprint

    @property
    def at_hand(self) -> bool:
        """Whether no image has to be read for the fingerprint."""
        return bool(self.files) or not isinstance(self.images, ImageStream)

    @cached_property
    def _fingerprint(self) -> str:
        if self.files:
            pixels = hashlib.sha256(self.treatment.encode())
            for file in self.files:
                pixels.update(file)
            digest = hashlib.sha256(pixels.hexdigest().encode())
        else:
            digest = hashlib.sha256(repr(self.shape).encode())
            for piece in self.pieces():
                digest.update(_bytes_of(piece))
        digest.update(_bytes_of(self.labels))
        return digest.hexdigest()

    def take(self, limit: int | None) -> ImageSet:
        """The first `limit` images (all of them for None or a limit beyond the last)."""
        check_limit(limit)
        if limit is None or limit >= len(self):
            return self
        return replace(
            self,
            images=self.images[:limit],
            labels=self.labels[:limit],
            files=self.files[:limit],
        )

    def of_channels(self, count: int) -> ImageSet:
        """In gray, `[n, 1, height, width]`, for a network of one channel; else as they are.

        Gray is the luminance of ITU-R 601-2, rounded as Pillow's `convert("L")` rounds it: an image
        that was gray, and lies here in three equal channels, is what it was.
        """
        if count != 1 or self.floats or self.tokens or self.shape[1:-2] != (3,):
            return self
        images, shape = self.images, (1, *self.shape[2:])
        if isinstance(images, Tensor):
            images = torch.cat([_gray(piece) for piece in images.split(PIECE)])
        else:
            images = images.finished(_gray, device=images.device, shape=shape)
        note = f"{self.note}, in gray" if self.note else "in gray"
        return replace(self, images=images, note=note, treatment=f"{self.treatment} gray")

    def pieces(self) -> Iterator[Tensor]:
        """All images as they lie there, some at a time; of inputs by name one after the other."""
        if isinstance(self.images, Inputs):
            for name in sorted(self.images):
                yield from self.images[name].split(PIECE)
            return
        for piece in self.images.split(PIECE):
            yield piece if isinstance(piece, Tensor) else piece.to()

    def on(
        self, device: torch.device, scale: Normalization, dtype: torch.dtype = torch.float32
    ) -> Images:
        """The images as a study takes them, normalized: one float tensor up to 1 GiB of it.

        Beyond, they stay where they are, and a piece is moved and normalized when needed.  Floats
        of the user's own are left as they are by a `scale` called `none`.
        """
        finish = partial(_finished, scale=scale, dtype=dtype, as_they_are=self.floats)
        images = self.images
        if self.tokens:
            return on_device(images, device, dtype)
        if isinstance(images, Tensor):
            if self.floats or 4 * images.numel() <= AS_FLOAT:
                return finish(images.to(device))
            images = on_demand(partial(_slice, images), self.shape)
        return images.finished(finish, device=device)


def measure(image_set: ImageSet) -> Normalization:
    """The mean and standard deviation of a set itself, rounded to four places.

    Computed over all pixels of all images; a constant channel gets the deviation 1.
    """
    total = torch.zeros(3, dtype=torch.float64)
    squares = torch.zeros(3, dtype=torch.float64)
    pixels = 0
    for images in image_set.pieces():
        values = images.to(torch.float64) / 255
        total += values.sum(dim=(0, 2, 3)).cpu()
        squares += values.square().sum(dim=(0, 2, 3)).cpu()
        pixels += images[:, 0].numel()
    mean = total / pixels
    std = (squares / pixels - mean.square()).clamp_min(0).sqrt()
    means = triple([round(value, 4) for value in mean.tolist()])
    stds = triple([round(value, 4) or 1.0 for value in std.tolist()])
    return Normalization(written(means, stds), means, stds)


def on_demand(read: Read, shape: tuple[int, ...]) -> ImageStream:
    """Images `[n, …]` that `read(start, stop)` gives, as they lie there."""
    return ImageStream(read, range(shape[0]), shape[1:], device=torch.device("cpu"))


def check_limit(limit: int | None) -> None:
    """Raise `ProbeError` unless `limit` is None or at least 1."""
    if limit is not None and limit < 1:
        raise ProbeError(f"a limit of {limit} images leaves nothing: give 1 or more")


def of_one_size(images: Sequence[Tensor], *, name: str, advice: str = "") -> Tensor:
    """Stack `[3, h, w]` images into `[n, 3, h, w]`; `ProbeError` at the first other size."""
    first = images[0].shape
    for number, image in enumerate(images, start=1):
        if image.shape != first:
            raise ProbeError(
                f"{name} holds images of different sizes: image {number} is {size_of(image)} "
                f"(height×width) where the first is {size_of(images[0])}{advice}"
            )
    return torch.stack(tuple(images))


def size_of(image: Tensor) -> str:
    """`height×width` of an image whose last two axes are those."""
    return "×".join(str(side) for side in image.shape[-2:])


def _check_bytes(images: Tensor, name: str) -> None:
    if images.dtype != torch.uint8 or images.dim() < 4:
        raise ProbeError(
            f"the images of {name} are {images.dtype} of shape {tuple(images.shape)}: "
            "expected torch.uint8 of shape (n, channels, height, width)"
        )


def _bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a tensor's values in their order, whatever its type."""
    return tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def _gray(images: Tensor) -> Tensor:
    """Bytes `[n, 3, h, w]` to `[n, 1, h, w]`; the weights are Pillow's, in parts of 2^16."""
    red, green, blue = images.to(torch.int32).unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16)[:, None].to(torch.uint8)


def _slice(images: Tensor, start: int, stop: int) -> Tensor:
    return images[start:stop]


def _finished(
    images: Tensor, *, scale: Normalization, dtype: torch.dtype, as_they_are: bool
) -> Tensor:
    if not as_they_are or scale.name != "none":
        return scale.apply(images).to(dtype)
    layout = torch.channels_last if images.dim() == 4 else torch.contiguous_format
    return images.to(dtype, memory_format=layout)
