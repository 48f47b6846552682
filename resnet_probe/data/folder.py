"""Images in files of their own: in folders, one a class, or listed with their classes in a text."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from resnet_probe.data.files import said, text_of
from resnet_probe.data.image_set import PIECE, ImageSet, check_limit, on_demand
from resnet_probe.data.pictures import Pictures, Span, survey
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.data.read_ahead import ReadAhead
from resnet_probe.engine.images import ImageStream
from resnet_probe.errors import ProbeError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
LEFT_OUT = {"__MACOSX", "@eaDir"}
"""Folders that systems leave beside images; hidden files and folders are left out too."""
IN_MEMORY = 2**30
"""Bytes of decoded images, one a value, beyond which a folder is left on disk."""
PATHS = ("path", "file", "filename", "file_name", "filepath", "image", "img")
LABELS = ("label", "labels", "class", "class_name", "target", "category")
"""What the two columns of a list of images are called."""
MOST_CLASSES = 10**6


def load_folder(
    folder: Path,
    split: str,
    preprocess: Preprocess | None,
    limit: int | None,
    *,
    stream: bool | None = False,
    workers: int | None = None,
) -> ImageSet:
    """The images of one folder, `[n, 3, height, width]`; the folder is the set for any split.

    Classes are the subfolders in alphabetical order, their images anywhere below them. Images come
    one of each class in turn, so that the first n are spread over the classes. Without `preprocess`
    all must have one size. `stream` leaves them on disk, None does so beyond 1 GiB of pixels;
    `workers` processes decode them. Raises `ProbeError` if there is no such folder, a class without
    images, a pipe, a device or a broken link among them, or an undecodable image, named by its
    file.
    """
    check_limit(limit)
    classes = class_folders(folder)
    files = interleaved([list(map(str, images_in(each))) for each in classes])[:limit]
    names = tuple(each.name for each in classes)
    found = from_files(f"imagefolder:{folder}", split, files, names, preprocess, stream, workers)
    return replace(found, named=True)


def load_list(
    path: Path,
    split: str,
    preprocess: Preprocess | None,
    limit: int | None,
    *,
    stream: bool | None = False,
    workers: int | None = None,
) -> ImageSet:
    """The images that a CSV file lists with their classes, in its order.

    A column holds paths (called path, file, filename, image, …; else the first), relative to the
    file's folder, another the class (label, class, target, …; else the second): a number, or a
    name, of which the alphabetical order numbers them. The rest is as in `load_folder`.
    """
    check_limit(limit)
    name = f"csv:{path}"
    rows = list(_rows(path))
    labels, names, named = labelled([label for _, label in rows], name)
    files = [
        (str(path.parent / file), label) for (file, _), label in zip(rows, labels, strict=True)
    ]
    found = from_files(name, split, files[:limit], names, preprocess, stream, workers)
    return replace(found, named=named)


def labelled(labels: Sequence[str], name: str) -> tuple[list[int], tuple[str, ...], bool]:
    """The number of the class of each image, the names of the classes, and whether it has those.

    Texts are numbers, or names, which their alphabetical order numbers: give those of all images.
    """
    numbers = [
        int(label) if label.isascii() and label.isdecimal() and len(label) < 10 else None
        for label in labels
    ]
    whole = [number for number in numbers if number is not None]
    if len(whole) == len(labels):
        return whole, numbered(max(whole), name), False
    names = tuple(sorted({*labels}))
    index = {label: number for number, label in enumerate(names)}
    return [index[label] for label in labels], names, True


def from_files(
    name: str,
    split: str,
    files: Sequence[tuple[str | Span, int]],
    classes: tuple[str, ...],
    preprocess: Preprocess | None,
    stream: bool | None,
    workers: int | None,
) -> ImageSet:
    """The images of these files with their classes, decoded, or left where they are."""
    pictures = Pictures(tuple(file for file, _ in files), preprocess)
    known = survey(pictures, name=name)
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    images = on_demand(ReadAhead(pictures, workers=workers), (len(files), *known.shape))
    if stream is None:
        stream = images.shape.numel() > IN_MEMORY
    return ImageSet(
        name, split, images if stream else _decoded(images), labels, classes, known.note,
        known.files, known.treatment,
    )  # fmt: skip


def _decoded(images: ImageStream) -> Tensor:
    """All images in one tensor, filled a piece at a time."""
    found = torch.empty(images.shape, dtype=torch.uint8)
    for piece, place in zip(images.split(PIECE), found.split(PIECE), strict=True):
        place.copy_(piece.to())
    return found


def class_folders(folder: Path) -> list[Path]:
    """The subfolders in alphabetical order; `ProbeError` if there are none."""
    if not folder.is_dir():
        raise ProbeError(f"there is no folder {folder} to read images from")
    found = [each for each in _shown(folder) if each.is_dir()]
    if not found:
        raise ProbeError(f"{folder} has no subfolders: expected one for each class")
    return found


def images_in(folder: Path) -> list[Path]:
    """The image files in a class's folder and those below; `ProbeError` if there are none."""
    found = sorted(_below(folder, set()), key=lambda each: each.relative_to(folder).parts)
    if not found:
        raise ProbeError(
            f"{folder} holds no images: expected files ending in {', '.join(sorted(SUFFIXES))}"
        )
    return found


def _below(folder: Path, above: set[Path]) -> Iterator[Path]:
    """Whatever is called an image, pipes too; a folder that leads to itself is not entered."""
    here = folder.resolve()
    for each in _shown(folder) if here not in above else ():
        if each.is_dir():
            yield from _below(each, above | {here})
        elif each.suffix.lower() in SUFFIXES:
            yield each


def _shown(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without what systems hide there."""
    try:
        found = [each for each in folder.iterdir() if not each.name.startswith(".")]
    except OSError as error:
        raise ProbeError(f"{folder} cannot be read ({said(error)})") from error
    return sorted((e for e in found if e.name not in LEFT_OUT), key=lambda each: each.name)


def interleaved(classes: list[list[str]]) -> list[tuple[str, int]]:
    """`(file, class)`: the first of each class, the second of each, and so on."""
    turns = zip_longest(*classes)
    return [(file, label) for turn in turns for label, file in enumerate(turn) if file is not None]


def numbered(most: int, name: str) -> tuple[str, ...]:
    """`0`, `1`, … up to a label; `ProbeError` for one that is no number of a class."""
    if most >= MOST_CLASSES:
        raise ProbeError(f"{name} has a label {most:,}: labels are the numbers of classes, below "
                         f"{MOST_CLASSES:,}")  # fmt: skip
    return tuple(str(number) for number in range(most + 1))


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """(path, label) of each line; `ProbeError` for a line without either."""
    lines = text_of(path, what="a list of images").splitlines()
    try:
        found = [(n, row) for n, row in enumerate(csv.reader(lines), start=1) if any(row)]
    except csv.Error as error:
        raise ProbeError(f"{path} cannot be read as a list of images ({said(error)})") from error
    if not found:
        raise ProbeError(f"{path} lists no images")
    head = [cell.strip().lower() for cell in found[0][1]]
    columns = [next((head.index(name) for name in names if name in head), None)
               for names in (PATHS, LABELS)]  # fmt: skip
    if None not in columns:
        found = found[1:]
    at, label = (n if column is None or None in columns else column
                 for n, column in enumerate(columns))  # fmt: skip
    if not found:
        raise ProbeError(f"{path} lists no images")
    for number, row in found:
        if len(row) <= max(at, label) or not row[at].strip() or not row[label].strip():
            raise ProbeError(f"line {number} of {path} has no path and label: {','.join(row)[:80]}")
        yield row[at].strip(), row[label].strip()
