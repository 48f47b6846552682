"""Images in tar archives as webdataset has them: `key.jpg` beside `key.cls` or `key.json`.

An archive is read once from member to member; of the images only their places are kept, so that
each is read where it lies when it is needed.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, product
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from resnet_probe.data.files import head_of, other_kind, regular, said
from resnet_probe.data.folder import LABELS, LEFT_OUT, SUFFIXES, from_files, labelled
from resnet_probe.data.image_set import ImageSet, check_limit
from resnet_probe.data.parquet import parts
from resnet_probe.data.pictures import Span
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.errors import ProbeError

CLASS, RECORD = "cls", "json"
"""The ends of the files that say an image's class: alone, or in a record."""
LARGEST_LABEL = 2**20
"""Bytes of such a file."""
LONGEST_NAME = 1000
MOST_SHARDS = 100_000
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass
class Sample:
    """What the archive has under one key: an image, and its class as a text."""

    key: str
    images: list[Span] = field(default_factory=list)
    label: str | None = None


def load_tars(
    path: Path,
    split: str,
    preprocess: Preprocess | None,
    limit: int | None,
    *,
    stream: bool | None = False,
    workers: int | None = None,
) -> ImageSet:
    """The images of one archive, `[n, 3, height, width]`, or of several in their order.

    Several are `{000..003}` or `{a,b}` in the name, a pattern with `*`, or a folder, of which those
    of the split are taken where their names say so.  Classes are whole numbers, or names, of which
    the alphabetical order numbers them.  The rest is as in `load_folder`.

    Raises `ProbeError` for a file that is no tar archive or is cut short, a sample without an image
    or a class, and one with several images.
    """
    check_limit(limit)
    name = f"webdataset:{path}"
    every = (_labelled(each, shard) for shard in shards(path, split) for each in samples(shard))
    found = list(islice(every, limit))
    if not found:
        raise ProbeError(f"{name} holds no images")
    labels, classes, named = labelled([label for _, label in found], name)
    if named:  # names are numbered by the order of all that there are
        rest = [label for _, label in every]
        labels, classes, _ = labelled([*(label for _, label in found), *rest], name)
    files = [(span, label) for (span, _), label in zip(found, labels, strict=False)]
    images = from_files(name, split, files, classes, preprocess, stream, workers)
    return replace(images, named=named)


def shards(path: Path, split: str) -> list[Path]:
    """The archives that a name stands for; `ProbeError` where there are none."""
    if "{" not in str(path):
        return parts(path, split, "tar")
    pieces = BRACES.split(str(path))  # texts, and between them what stood in braces
    choices = [_choices(each) if n % 2 else [each] for n, each in enumerate(pieces)]
    count = prod(map(len, choices))
    if not 0 < count <= MOST_SHARDS:
        raise ProbeError(f"{path} stands for {count:,} archives: at most {MOST_SHARDS:,} are read")
    return [Path("".join(each)) for each in product(*choices)]


def _choices(inside: str) -> list[str]:
    found = RANGE.fullmatch(inside)
    if found is None:
        return inside.split(",")
    first, last = found.groups()
    if len(first) > 9 or len(last) > 9 or int(last) - int(first) >= MOST_SHARDS:
        raise ProbeError(f"{{{inside}}} stands for too many archives: at most {MOST_SHARDS:,}")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def samples(shard: Path) -> Iterator[Sample]:
    """The samples of an archive in its order: what stands side by side under one key."""
    sample: Sample | None = None
    regular(shard, what="images")
    head = head_of(shard)
    kind = other_kind(head)
    if kind and "tar archive" not in kind:
        raise ProbeError(f"{shard} is {kind}")
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            size = shard.stat().st_size
            for member in archive:
                key, end = _key(member)
                if not key:
                    continue
                if member.issparse() or member.offset_data + member.size > size:
                    raise ProbeError(f"{shard} is cut short: {member.name} does not end in it")
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample
                    sample = Sample(key)
                _take(sample, end, member, shard, file)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise ProbeError(f"{shard} cannot be read as a tar archive ({said(error)})") from error
    if sample is not None:
        yield sample


def _key(member: tarfile.TarInfo) -> tuple[str, str]:
    """(key, end) of a file's name, `a/0001` and `jpg` of `a/0001.jpg`; else nothing.

    The end begins at the first dot of the last part, as webdataset has it.
    """
    place = PurePosixPath(member.name)
    hidden = any(part.startswith(".") or part in LEFT_OUT for part in place.parts if part != ".")
    base, dot, end = place.name.partition(".")
    if hidden or not member.isfile() or not dot:
        return "", ""
    return str(place.with_name(base)), end.lower()


def _take(sample: Sample, end: str, member: tarfile.TarInfo, shard: Path, file: BinaryIO) -> None:
    if f".{end}" in SUFFIXES:
        where = f"{member.name} in {shard}"
        sample.images.append(Span(str(shard), member.offset_data, member.size, where))
    elif end == CLASS or (end == RECORD and sample.label is None):
        if member.size > LARGEST_LABEL:
            raise ProbeError(f"{member.name} in {shard} has {member.size:,} bytes: too many for a "
                             "class")  # fmt: skip
        before = file.tell()
        file.seek(member.offset_data)
        content = file.read(member.size)
        file.seek(before)
        text = content.decode(errors="replace").strip()
        if end == CLASS and not (text.isprintable() and len(text) <= LONGEST_NAME):
            raise ProbeError(f"{member.name} in {shard} holds no number or name of a class")
        found = text if end == CLASS else _in_record(text)
        sample.label = sample.label if found is None else found


def _in_record(text: str) -> str | None:
    """The class in a record: a whole number or a name under a usual key."""
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    keys = [key for key in (CLASS, *LABELS) if isinstance(record, dict) and key in record]
    value = record[keys[0]] if keys else None
    known = isinstance(value, int | str) and not isinstance(value, bool)
    return str(value).strip() if known else None


def _labelled(sample: Sample, shard: Path) -> tuple[Span, str]:
    if len(sample.images) != 1:
        many = f"{len(sample.images)} images" if sample.images else "no image"
        raise ProbeError(
            f"sample {sample.key} of {shard} has {many}: expected one, {sample.key}.jpg or png"
        )
    if not sample.label:
        raise ProbeError(
            f"sample {sample.key} of {shard} has no class: expected {sample.key}.{CLASS} with a "
            f"number or a name, or {sample.key}.{RECORD} with a label"
        )
    return sample.images[0], sample.label
