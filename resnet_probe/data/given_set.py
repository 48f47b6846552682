"""Images of the user's own: a `DataLoader`, a `Dataset`, tensors, or batches one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from resnet_probe.data.given_rows import Batch, Rows, pair_of, rows_of
from resnet_probe.data.image_set import AS_FLOAT, check_limit
from resnet_probe.data.normalize import Normalization
from resnet_probe.data.read_ahead import ReadAhead, in_order
from resnet_probe.data.streamed_set import PIECE
from resnet_probe.engine.images import Images, ImageStream, Read
from resnet_probe.errors import ProbeError


@dataclass(frozen=True, eq=False)
class GivenSet:
    """Labelled images that the user's own objects give, as their own transforms make them.

    ``read(start, stop)`` gives images ``[stop − start, *shape[1:]]``, bytes or floats; ``held`` is
    all of them where they lie in memory. The rest is as in `ImageSet`.
    """

    name: str
    shape: tuple[int, ...]
    read: Read
    held: Tensor | None
    floats: bool
    labels: Tensor
    class_names: tuple[str, ...]
    note: str = "as the given data set has them"
    split: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, limit: int | None) -> GivenSet:
        """The first ``limit`` images (all of them for None or a limit beyond the last)."""
        labels, held = self.labels[:limit], self.held
        return replace(
            self,
            labels=labels,
            shape=(len(labels), *self.shape[1:]),
            held=None if held is None else held[:limit],
        )

    def fingerprint(self) -> str:
        """SHA-256, in hex, over the shape, the images as they come and the labels."""
        digest = hashlib.sha256(repr(self.shape).encode())
        for tensor in (*self.pieces(), self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def pieces(self) -> Iterator[Tensor]:
        """All images, some at a time."""
        for start in range(0, len(self), PIECE):
            yield self.read(start, min(start + PIECE, len(self)))

    def on(self, device: torch.device, scale: Normalization) -> Images:
        """The images as a study takes them: floats as they are but for ``scale``."""
        finish = partial(_finish, scale=scale)
        if self.held is not None:
            return finish(self.held.to(device))
        return ImageStream(
            self.read, range(len(self)), self.shape[1:], device=device, finish=finish
        )


def given(
    source: Any, *, limit: int | None = None, stream: bool | None = None, workers: int | None = None
) -> GivenSet:
    """What a user has: a `DataLoader` or `Dataset` of (image, label), or any batches of both.

    The rows of a data set are read in their order, whatever the loader's, and only those that its
    sampler gives; ``stream`` leaves them where they are and None does so beyond 1 GiB, else they
    are read once. Batches that are only iterable are read once and kept. ``workers`` processes
    read, by default as many as the loader has.

    Raises ProbeError for what gives no tensors of images with a whole number each, and for images
    that differ from one reading to the next.
    """
    check_limit(limit)
    rows = rows_of(source)
    if rows is None:
        if stream:
            raise ProbeError("batches that can only be iterated over cannot be streamed: give a "
                             "DataLoader or a Dataset with a length")  # fmt: skip
        return _of_batches(source, limit)
    return _of_rows(rows.first(limit), stream, rows.workers if workers is None else workers)


def _of_rows(rows: Rows, stream: bool | None, workers: int) -> GivenSet:
    example = rows.example()
    size = len(rows) * example.nbytes
    kept = size <= AS_FLOAT if stream is None else not stream
    labels = None if kept else rows.known_labels()
    read: Read = ReadAhead(rows, workers=workers, collate=rows.images)
    held = None
    if labels is None:
        parts = list(_gathered(rows, workers, keep=kept))
        labels = torch.cat([part.labels for part in parts])
        if kept:
            held = torch.cat([part.images for part in parts])
            read = partial(_slice, held)
    return GivenSet(
        name=rows.name,
        shape=(len(rows), *example.shape),
        read=read,
        held=held,
        floats=example.is_floating_point(),
        labels=labels,
        class_names=rows.class_names,
    )


def _of_batches(source: Iterable[Any], limit: int | None) -> GivenSet:
    parts: list[Batch] = []
    count = 0
    with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers
        for batch in source:
            parts.append(pair_of(batch))
            count += len(parts[-1].labels)
            if limit is not None and count >= limit:
                break
    if not parts:
        raise ProbeError("the given batches are none: expected batches of (images, labels)")
    held = torch.cat([part.images for part in parts])[:limit]
    labels = torch.cat([part.labels for part in parts])[:limit]
    return GivenSet(
        name=type(source).__name__,
        shape=tuple(held.shape),
        read=partial(_slice, held),
        held=held,
        floats=held.is_floating_point(),
        labels=labels,
        class_names=(),
    )


def _gathered(rows: Rows, workers: int, *, keep: bool) -> Iterator[Batch]:
    for batch in in_order(rows, 0, workers=workers, collate=rows.batch):
        yield batch if keep else Batch(batch.images[:0], batch.labels)


def _slice(held: Tensor, start: int, stop: int) -> Tensor:
    return held[start:stop]


def _finish(images: Tensor, *, scale: Normalization) -> Tensor:
    if not images.is_floating_point() or scale.name != "none":
        return scale.apply(images)
    layout = torch.channels_last if images.dim() == 4 else torch.contiguous_format
    return images.to(torch.float32, memory_format=layout)
