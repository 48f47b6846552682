"""From the name of a data set to its images."""

from __future__ import annotations

import os
import re
from pathlib import Path

from resnet_probe.data.arrays import load_npz
from resnet_probe.data.folder import load_folder, load_list
from resnet_probe.data.image_set import ImageSet, check_limit
from resnet_probe.data.named import SETS, load_digits, load_torchvision
from resnet_probe.data.parquet import load_parquet
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.data.saved import load_saved
from resnet_probe.data.tars import load_tars
from resnet_probe.errors import ProbeError, did_you_mean
from resnet_probe.settings import as_file_name

NAMED = ("digits", *SETS)
WITH_PATH = {
    "parquet": "FILE", "imagefolder": "DIR", "csv": "FILE", "npz": "FILE", "webdataset": "TAR",
    "hf": "DIR", "text": "FILE",
}  # fmt: skip
"""Kinds of files and folders, with what stands behind the colon."""
IN_FILES = {"imagefolder": load_folder, "csv": load_list, "webdataset": load_tars}
"""Sets whose images lie in a file each, and may be left there."""
MOST_WORKERS = 256
SPLITS = ("train", "test")


def names() -> list[str]:
    """What a data set can be called: `digits`, …, `parquet:FILE`, `imagefolder:DIR`, …"""
    return [*NAMED, *(f"{kind}:{what}" for kind, what in WITH_PATH.items())]


def beside(name: str) -> str | None:
    """The training images that belong to a set of test images; None where there are none.

    A named set has a training split under its own name; a parquet file `test-…` has it in the file
    of the same name with `train-` in the same folder, where that is there.
    """
    kind, _, path = name.partition(":")
    if not path:
        return name if name in names() else None
    test = Path(path)
    train = test.with_name(test.name.replace("test", "train", 1))
    there = kind == "parquet" and train != test and train.is_file()
    return f"{kind}:{train}" if there else None


def load(
    spec: str,
    *,
    split: str = "test",
    root: Path | None = None,
    size: tuple[int, int] | None = None,
    limit: int | None = None,
) -> ImageSet:
    """The images and labels of a data set, in memory.

    `size` (height, width) is what the images of an `imagefolder` are resized and cropped to,
    as ImageNet is usually evaluated. The rest is as in `read`.
    """
    usual = Preprocess.usual(size) if size and parsed(spec)[0] in IN_FILES else None
    return read(spec, split=split, root=root, preprocess=usual, limit=limit, stream=False)


def read(
    spec: str,
    *,
    split: str = "test",
    root: Path | None = None,
    preprocess: Preprocess | None = None,
    limit: int | None = None,
    stream: bool | None = None,
    workers: int | None = None,
) -> ImageSet:
    """The images and labels of a data set, in memory or, where they are files and many, on disk.

    `root` is where the files of a named set lie (default: `cifar.usual_places`, and the platform's
    cache folder for downloads), `preprocess` what is done to images in files, `limit` how many of
    the first images to take (of a folder, of all classes in turn). A file or folder is the set,
    whatever the split, unless it holds several (`parquet:DIR`, `npz:FILE`). `stream` leaves images
    in files on disk or does not, None does so beyond 1 GiB of pixels; `workers` processes decode.
    Raises `ProbeError` for an unknown name, for files that are missing or unreadable, and where
    a set that lies in one file is to be left on disk.
    """
    kind, path = parsed(spec)
    if split not in SPLITS:
        raise ProbeError(f"there is no split {split!r}: give {' or '.join(SPLITS)}")
    check_limit(limit)
    if workers is not None and not 0 <= workers <= MOST_WORKERS:
        raise ProbeError(f"workers={workers}: give 0 (this process alone) to {MOST_WORKERS}")
    place = Path(path).expanduser()
    if kind in IN_FILES:
        return IN_FILES[kind](place, split, preprocess, limit, stream=stream, workers=workers)
    if stream:
        raise ProbeError(
            f"{spec} lies in memory: only an imagefolder, a csv of files or a webdataset is "
            "streamed from disk"
        )
    if kind == "parquet":
        return load_parquet(place, split, limit, preprocess)
    if kind == "hf":
        return load_saved(place, split, limit, preprocess)
    if kind == "text":
        raise ProbeError(f"{spec} is read with a tokenizer: prepare(model, data=…) has it")
    if kind == "npz":
        return load_npz(place, split, limit)
    if kind == "digits":
        return load_digits(split).take(limit)
    return load_torchvision(kind, split, root, limit)


def slug(spec: str) -> str:
    """A data set's name for use in the name of a folder.

    A file or folder is called by its parent and its own name, without the number of a shard:
    `parquet:/x/cifar10/test-00000-of-00001.parquet` is `cifar10-test`.
    """
    kind, path = parsed(spec)
    if not path:
        return kind
    absolute = Path(os.path.realpath(Path(path).expanduser()))  # of a link to itself, too
    own = absolute.name if kind in ("imagefolder", "hf") else absolute.stem
    own = re.sub(r"-\d+-of-\d+$", "", own)
    return as_file_name(f"{absolute.parent.name}-{own}") or kind


def parsed(spec: str) -> tuple[str, str]:
    """`(name, "")` or `(kind, path)`; ProbeError with the nearest names for anything else."""
    kind, _, path = spec.partition(":")
    if spec in NAMED or (kind in WITH_PATH and path):
        return kind, path
    if kind in WITH_PATH:
        raise ProbeError(f"{spec!r} names no {WITH_PATH[kind]}: give {kind}:{WITH_PATH[kind]}")
    hint = did_you_mean(kind, [*NAMED, *WITH_PATH])
    raise ProbeError(f"there is no data set {spec!r}: there are {', '.join(names())}{hint}")
