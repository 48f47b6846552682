"""Images in folders: one subfolder a class."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from resnet_probe.data.image_set import ImageSet
from resnet_probe.data.pictures import Pictures, Survey, survey
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.data.read_ahead import ReadAhead
from resnet_probe.data.streamed_set import StreamedSet
from resnet_probe.errors import ProbeError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
IN_MEMORY = 2**30
"""Bytes of decoded images, one a value, beyond which a folder is left on disk."""


def load_folder(
    folder: Path,
    split: str,
    preprocess: Preprocess | None,
    limit: int | None,
    *,
    stream: bool | None = False,
    workers: int | None = None,
) -> ImageSet | StreamedSet:
    """The images of one folder, ``[n, 3, height, width]``; the folder is the set for any split.

    Classes are the subfolders in alphabetical order. Images come one of each class in turn, so
    that the first n are spread over the classes. Without ``preprocess`` all must have one size.
    ``stream`` leaves them on disk, None does so beyond 1 GiB of pixels; ``workers`` processes
    decode them. Raises ProbeError if there is no such folder, a class without images, or an
    undecodable image, named by its file.
    """
    name = f"imagefolder:{folder}"
    classes = class_folders(folder)
    files = interleaved([images_in(each) for each in classes])[:limit]
    pictures = Pictures(tuple(file for file, _ in files), preprocess)
    known = survey(pictures, name=name)
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    read = ReadAhead(pictures, workers=workers)
    names = tuple(each.name for each in classes)
    shape = (len(files), *known.shape)
    if stream is None:
        stream = torch.Size(shape).numel() > IN_MEMORY
    if stream:
        return StreamedSet(name, split, shape, read, labels, names, known.sha256, known.note)
    return in_memory(name, split, read, labels, names, known)


def in_memory(
    name: str, split: str, read: ReadAhead, labels: Tensor, names: tuple[str, ...], known: Survey
) -> ImageSet:
    """All images decoded into one tensor, filled a piece at a time."""
    images = torch.empty(len(labels), *known.shape, dtype=torch.uint8)
    for start in range(0, len(labels), 256):
        stop = min(start + 256, len(labels))
        images[start:stop] = read(start, stop)
    return ImageSet(name, split, images, labels, names, known.note, known.sha256)


def class_folders(folder: Path) -> list[Path]:
    """The subfolders in alphabetical order; ProbeError if there are none."""
    if not folder.is_dir():
        raise ProbeError(f"there is no folder {folder} to read images from")
    found = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]
    if not found:
        raise ProbeError(f"{folder} has no subfolders: expected one for each class")
    return sorted(found, key=lambda each: each.name)


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a class's folder; ProbeError if there are none."""
    found = [each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES]
    if not found:
        raise ProbeError(
            f"{folder} holds no images: expected files ending in {', '.join(sorted(SUFFIXES))}"
        )
    return sorted(found, key=lambda each: each.name)


def interleaved(classes: list[list[Path]]) -> list[tuple[Path, int]]:
    """``(file, class)``: the first of each class, the second of each, and so on."""
    turns = zip_longest(*classes)
    return [(file, label) for turn in turns for label, file in enumerate(turn) if file is not None]
