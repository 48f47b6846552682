"""Images in folders: one subfolder a class."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from resnet_probe.data.image_set import PIECE, ImageSet, on_demand
from resnet_probe.data.pictures import Pictures, survey
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.data.read_ahead import ReadAhead
from resnet_probe.engine.images import ImageStream
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
) -> ImageSet:
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
    images = on_demand(ReadAhead(pictures, workers=workers), (len(files), *known.shape))
    if stream is None:
        stream = images.shape.numel() > IN_MEMORY
    return ImageSet(
        name, split, images if stream else _decoded(images), labels,
        tuple(each.name for each in classes), known.note, known.files, known.treatment,
    )  # fmt: skip


def _decoded(images: ImageStream) -> Tensor:
    """All images in one tensor, filled a piece at a time."""
    found = torch.empty(images.shape, dtype=torch.uint8)
    for piece, place in zip(images.split(PIECE), found.split(PIECE), strict=True):
        place.copy_(piece.to())
    return found


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
