"""CIFAR-10 and CIFAR-100 wherever they lie: the published archive, its batches, parquet files.

Batches are pickles. They are unpickled only if they are, byte for byte, the published ones, by the
MD5 sums that torchvision has of them.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnet_probe.data.files import is_folder, said
from resnet_probe.data.image_set import ImageSet
from resnet_probe.data.parquet import load_parquet, parts
from resnet_probe.errors import ProbeError

CLASSES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
PLACES = (".", "data", "plain_text")
"""Where parquet files lie in a set's folder, as `huggingface_hub` downloads it."""
Read = Callable[[str], bytes]
"""Gives the content of one of the published files, by its name."""


def load_cifar(name: str, split: str, root: Path | None, limit: int | None) -> ImageSet | None:
    """`[n, 3, 32, 32]`; None where they are in none of the places.

    `root` is the archive, a parquet file, or a folder that holds one of the forms, itself or in a
    folder of the set's name. Without it they are looked for in `usual_places`. Raises `ProbeError`
    for files that are damaged or are not the published ones.
    """
    for place in usual_places() if root is None else (root.expanduser(),):
        for form in (_in_batches, _in_archive, _in_parquet):
            found = form(name, split, place, limit)
            if found is not None:
                return replace(found, name=name)
    return None


def usual_places() -> list[Path]:
    """This package's cache, `data` here, and the caches of torch, the hub and Keras."""
    import platformdirs

    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME", home / ".cache"))
    hub = Path(os.environ.get("HF_HOME", cache / "huggingface")) / "hub"
    return [
        Path(platformdirs.user_cache_dir("resnet_probe")),
        Path("data"),
        Path(os.environ.get("TORCH_HOME", cache / "torch")) / "datasets",
        Path(os.environ.get("HF_HUB_CACHE", hub)),
        Path(os.environ.get("KERAS_HOME", home / ".keras")) / "datasets",
    ]


def _kind(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, CLASSES[name])


def _in_batches(name: str, split: str, place: Path, limit: int | None) -> ImageSet | None:
    kind = _kind(name)
    first = (kind.train_list if split == "train" else kind.test_list)[0][0]
    for folder in (place, place / kind.base_folder, place / name):
        if is_folder(folder) and (folder / first).is_file():
            return _published(name, split, lambda file, at=folder: (at / file).read_bytes(),  # type: ignore[misc]
                              str(folder), limit)  # fmt: skip
    return None


def _in_archive(name: str, split: str, place: Path, limit: int | None) -> ImageSet | None:
    kind = _kind(name)
    if is_folder(place):
        stem = kind.filename.removesuffix(".tar.gz")  # Keras keeps it as cifar-10-batches-py.tar.gz
        named = (place / f"{each}.tar.gz" for each in (stem, kind.base_folder))
        place = next((each for each in named if each.is_file()), place)
    if not place.is_file() or not place.name.endswith((".tar.gz", ".tgz", ".tar")):
        return None
    try:
        with tarfile.open(place) as archive:

            def read(file: str) -> bytes:
                content = archive.extractfile(f"{kind.base_folder}/{file}")
                return content.read() if content is not None else b""

            return _published(name, split, read, str(place), limit)
    except (tarfile.TarError, EOFError) as error:
        raise ProbeError(f"{place} is not the archive of {name} ({said(error)})") from error


def _published(name: str, split: str, read: Read, where: str, limit: int | None) -> ImageSet:
    """From the files of the authors: batches of rows of 3,072 bytes, and the names of classes."""
    kind = _kind(name)
    listed = kind.train_list if split == "train" else kind.test_list
    batches = [_checked(read, file, md5, where) for file, md5 in listed]
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    lists = [batch.get("labels") or batch["fine_labels"] for batch in batches]
    labels = [label for batch in lists for label in batch]
    meta = _checked(read, kind.meta["filename"], kind.meta["md5"], where)
    names = tuple(map(str, meta[kind.meta["key"]]))
    found = ImageSet(name, split, torch.from_numpy(pixels), torch.tensor(labels), names)
    return found.take(limit)


def _checked(read: Read, file: str, md5: str, where: str) -> Any:
    try:
        content = read(file)
    except (OSError, KeyError) as error:
        raise ProbeError(f"{where} lacks {file} ({said(error)})") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ProbeError(
            f"{file} in {where} is not the published one, by its MD5 sum, and is not unpickled"
        )
    with warnings.catch_warnings():
        # The published pickles are older than the NumPy that complains about them.
        warnings.filterwarnings("ignore", category=np.exceptions.VisibleDeprecationWarning)
        return pickle.loads(content, encoding="latin1")


def _in_parquet(name: str, split: str, place: Path, limit: int | None) -> ImageSet | None:
    if place.is_file() and place.suffix == ".parquet":
        return load_parquet(place, split, limit)
    for folder in _parquet_folders(name, place):
        if is_folder(folder) and any(folder.glob("*.parquet")) and parts(folder, split):
            return load_parquet(folder, split, limit)
    return None


def _parquet_folders(name: str, place: Path) -> Iterator[Path]:
    """A folder of the set itself, one of its name, and the snapshots of the hub's cache."""
    if not is_folder(place):
        return
    hub = (f"datasets--{name}", f"datasets--*--{name}")
    snapshots = [each for form in hub for each in sorted(place.glob(f"{form}/snapshots/*"))]
    for folder in (place, place / name, *snapshots):
        yield from (folder / inner for inner in (*PLACES, name))
