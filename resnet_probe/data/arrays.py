"""Images in an `.npz` archive of arrays, as NumPy, Keras and MedMNIST write them."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnet_probe.data.files import refuse_other_kinds, regular, said
from resnet_probe.data.folder import numbered
from resnet_probe.data.image_set import ImageSet
from resnet_probe.errors import ProbeError

IMAGES = ("images", "x", "data", "X", "imgs", "arr_0")
LABELS = ("labels", "y", "targets", "Y", "label", "arr_1")
"""What the two arrays are called, alone or with the split before or behind (`x_test`)."""
MOST_BYTES = 2**34
"""Bytes of the largest array that is read."""
DAMAGED = (OSError, ValueError, TypeError, AttributeError, LookupError, EOFError, SyntaxError,
           ArithmeticError, RuntimeError, MemoryError, tokenize.TokenError, zipfile.BadZipFile,
           zlib.error)  # fmt: skip
"""What NumPy and Python raise for archives that are damaged or were made to be."""


def load_npz(path: Path, split: str, limit: int | None) -> ImageSet:
    """The images of an archive, `[n, 3, h, w]`, from bytes `[n, h, w]` or with channels at an end.

    The arrays of the split are taken where the archive has them (`x_train`, `test_images`), else
    those without a split. One channel becomes three equal ones. Nothing is unpickled.

    Raises `ProbeError` for a file that is no archive, that lacks one of the arrays, and for arrays
    of another type or shape.
    """
    name = f"npz:{path}"
    if not refuse_other_kinds(regular(path, what="images")).startswith(b"PK"):
        raise ProbeError(f"{path} is not an .npz archive, as numpy.savez writes it")
    try:
        with np.load(path, allow_pickle=False) as archive:
            images = _array(archive, IMAGES, split, name)
            labels = _array(archive, LABELS, split, name)
    except DAMAGED as error:
        raise ProbeError(
            f"{path} cannot be read as an archive of arrays ({said(error)})"
        ) from error
    pixels = _channels_first(images, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.shape != pixels.shape[:1]:
        raise ProbeError(
            f"the labels of {name} are {labels.dtype} of shape {labels.shape}: expected a whole "
            f"number for each of {len(pixels)} images"
        )
    if not len(labels):
        raise ProbeError(f"{name} holds no images")
    if int(labels.min()) < 0:
        raise ProbeError(f"{name} has the label {labels.min()}: expected 0 or more")
    return ImageSet(
        name=name,
        split=split,
        images=torch.from_numpy(np.ascontiguousarray(pixels)),
        labels=torch.from_numpy(labels.astype(np.int64)),
        class_names=numbered(int(labels.max()), name),
    ).take(limit)


def _array(archive: Any, names: tuple[str, ...], split: str, name: str) -> np.ndarray:
    """The array of the first of these names, those of the split before the others."""
    splits = (split, "val") if split == "test" else (split,)
    wanted = [
        form for each in splits for key in names for form in (f"{key}_{each}", f"{each}_{key}")
    ]
    key = next((key for key in (*wanted, *names) if key in archive.files), None)
    if key is None:
        raise ProbeError(
            f"{name} holds {', '.join(archive.files)[:300] or 'nothing'}: expected an array called "
            f"{', '.join(names)}, or such a name with _{split}"
        )
    _refuse_more_than_is_there(archive, key, name)
    return archive[key]


def _refuse_more_than_is_there(archive: Any, key: str, name: str) -> None:
    """Raises `ProbeError` for a huge array, and for one whose head promises more than follows."""
    size = archive.zip.getinfo(f"{key}.npy").file_size
    if size > MOST_BYTES:
        raise ProbeError(f"{key} in {name} has {size:,} bytes: at most {MOST_BYTES:,} are read")
    with archive.zip.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                else np.lib.format.read_array_header_2_0)  # fmt: skip
        shape, _, dtype = read(member)
    count = 1
    for side in shape:
        count *= side
    if count * dtype.itemsize > size or not all(0 <= side <= size for side in shape):
        raise ProbeError(f"{key} in {name} is said to have the shape {shape}, and holds less")


def _channels_first(images: np.ndarray, name: str) -> np.ndarray:
    """Bytes `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` to `[n, 3, h, w]`, c 1 or 3."""
    found = images
    if found.ndim == 3:
        found = found[:, None]
    elif found.ndim == 4 and found.shape[1] not in (1, 3):
        found = found.transpose(0, 3, 1, 2)
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[1] not in (1, 3):
        raise ProbeError(
            f"the images of {name} are {images.dtype} of shape {images.shape}: expected uint8 of "
            "shape (n, height, width), with 1 or 3 channels at either end"
        )
    return found.repeat(3, axis=1) if found.shape[1] == 1 else found
