"""Images in parquet files: a column of encoded images beside a column of labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from glob import glob
from os import stat_result
from pathlib import Path
from typing import Any

import torch

from resnet_probe.data.files import regular, said
from resnet_probe.data.folder import labelled, numbered
from resnet_probe.data.image_set import ImageSet, check_limit, of_one_size
from resnet_probe.data.pictures import encodings_note, picture, pixels
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.errors import ProbeError

IMAGES = ("img", "image", "images", "jpg", "png")
LABELS = ("label", "labels", "fine_label", "class", "target", "cls")
"""What the two columns are usually called; where neither is there, the only one of its kind."""
SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
DEPTH = 3
"""How many folders deep the parts of a set are looked for."""
BATCH = 64
MANY = 2**16
"""Rows that are read at a time where only their labels are."""
ROOM = 2**27
"""Bytes that the rows of a batch may have: one image can be written once and meant in each row."""


def load_parquet(
    path: Path, split: str, limit: int | None, preprocess: Preprocess | None = None
) -> ImageSet:
    """The images of one file, `[n, 3, h, w]`, which is the set whatever the split, or of its parts.

    A folder, or a pattern with `*`, stands for all parquet files in it, in the order of their
    names; of a folder those whose names or folders begin with the split's, if any do.

    The column of images holds encoded bytes, alone or in a struct as the `datasets` library has
    it; the column of labels holds whole numbers from 0, or names, numbered by their alphabetical
    order. `note` says how the images are encoded, and what `preprocess` does to them; without it
    all must have one size. Class names come from the file's metadata where it has them, else they
    are the numbers.

    Raises `ProbeError` if there is no such file, it is not parquet, a column is missing or there
    are several, or an image is undecodable or of another size.
    """
    check_limit(limit)
    return load_files(f"parquet:{path}", parts(path, split), split, limit, preprocess, opened)


def load_files(
    name: str,
    files: Sequence[Path],
    split: str,
    limit: int | None,
    preprocess: Preprocess | None,
    opening: Callable[[Path], Any],
) -> ImageSet:
    """The same of these files, each of which `opening` opens; they are the set called `name`."""
    state = [(stat.st_size, stat.st_mtime_ns) for stat in map(_stat, files) if stat is not None]
    return _decoded(name, tuple(files), tuple(state), split, limit, preprocess, opening)


def _stat(path: Path) -> stat_result | None:
    try:
        return path.stat()
    except OSError:  # reading it says what is wrong with it
        return None


@lru_cache(maxsize=4)
def _decoded(
    name: str,
    places: tuple[Path, ...],
    state: tuple[tuple[int, int], ...],
    split: str,
    limit: int | None,
    preprocess: Preprocess | None,
    opening: Callable[[Path], Any],
) -> ImageSet:
    """The images of these files as they are now: networks side by side have the same ones."""
    files = [opening(each) for each in places]
    columns = Columns.of(files[0].schema_arrow, name)
    images, labels, encodings, touched = [], [], set(), False
    size = BATCH if limit is None else min(BATCH, limit)
    rows = (row for file in files for row in records(file, columns, size, name=name))
    for row, (encoded, label) in enumerate(rows, start=1):
        if not isinstance(encoded, bytes) or label is None:
            raise ProbeError(f"row {row} of {name} has no {'label' if encoded else 'image'}")
        found = picture(encoded, preprocess, where=f"row {row} of {name}")
        touched |= found.touched
        images.append(pixels(found.image))
        labels.append(label)
        encodings.add(found.encoding)
        if row == limit:
            break
    if not labels:
        raise ProbeError(f"{name} holds no rows")
    named = any(isinstance(label, str) for label in labels)
    if named:  # names are numbered by the order of all that there are
        again = map(opening, places)  # a stream is read once
        rest = sorted({text for file in again for text in _texts(file, columns.label, name=name)})
        numbers, classes, named = labelled([*labels, *rest], name)
        numbers = numbers[: len(labels)]
    else:
        numbers, classes = labels, _classes(labels, files[0].schema_arrow, columns.label, name)
    return ImageSet(
        name=name,
        split=split,
        images=of_one_size(images, name=name),
        labels=torch.tensor(numbers, dtype=torch.int64),
        class_names=classes,
        note=encodings_note(encodings) + (f", {preprocess}" if touched else ""),
        named=named,
    )


def parts(path: Path, split: str, kind: str = "parquet") -> list[Path]:
    """The files that make a set, those of that suffix in a folder; `ProbeError` for none."""
    if "*" in str(path):
        found = [Path(each) for each in sorted(glob(str(path)))]  # noqa: PTH207  may be absolute
    elif path.is_dir():
        patterns = ("*/" * depth + f"*.{kind}" for depth in range(DEPTH + 1))
        found = sorted(each for pattern in patterns for each in path.glob(pattern)
                       if not each.name.startswith("."))  # fmt: skip
        found = _of_split(found, path, split)
    else:
        return [path]
    if not found:
        raise ProbeError(f"there is no {kind} file in {path} to read images from")
    return found


def _of_split(files: list[Path], folder: Path, split: str) -> list[Path]:
    """Those of the split where their names say which they are of, else all."""

    def called(file: Path, names: tuple[str, ...]) -> bool:
        return any(part.startswith(names) for part in file.relative_to(folder).parts)

    if not any(called(file, names) for file in files for names in SPLITS.values()):
        return files
    for name in SPLITS[split]:  # of test and validation, the former
        found = [file for file in files if called(file, (name,))]
        if found:
            return found
    return []


def opened(path: Path) -> Any:
    """A `pyarrow.parquet.ParquetFile`."""
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(regular(path, what="images"))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        from resnet_probe.data.files import head_of, other_kind

        kind = other_kind(head_of(path))
        what = kind if kind and "parquet" not in kind else f"not a parquet file ({said(error)})"
        raise ProbeError(f"{path} is {what}") from error


@dataclass(frozen=True)
class Columns:
    """The two columns that are read; `inside` says that the bytes are in a struct."""

    image: str
    label: str
    inside: bool

    @classmethod
    def of(cls, schema: Any, name: str) -> Columns:
        """Found by their types, of several by their names; `ProbeError` lists what there is."""
        import pyarrow.types as types

        def holds_bytes(kind: Any) -> bool:
            if types.is_struct(kind):
                place = kind.get_field_index("bytes")
                return place >= 0 and holds_bytes(kind.field(place).type)
            return types.is_binary(kind) or types.is_large_binary(kind)

        def names_class(kind: Any) -> bool:
            return types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)

        fields = {field.name: field.type for field in schema}
        images = [key for key, kind in fields.items() if holds_bytes(kind)]
        whole = [key for key, kind in fields.items() if types.is_integer(kind)]
        words = [key for key, kind in fields.items() if names_class(kind)]
        image = _one(images, IMAGES)
        label = _one([key for key in words if key in LABELS], LABELS) or _one(
            whole or words, LABELS
        )
        if image is None or label is None:
            found = ", ".join(f"{key} ({kind})" for key, kind in fields.items())
            what, among = ("image", IMAGES) if image is None else ("label", LABELS)
            raise ProbeError(
                f"{name} has the columns {found[:400]}: expected one column of encoded images and "
                f"one of labels, and of several {what} columns one called {', '.join(among)}"
            )
        return cls(image, label, types.is_struct(fields[image]))


def _one(found: list[str], usual: tuple[str, ...]) -> str | None:
    """The usual one of some columns, or the only one."""
    named = next((name for name in usual if name in found), None)
    return named or (found[0] if len(found) == 1 else None)


def records(file: Any, columns: Columns, size: int, *, name: str) -> Iterator[tuple[Any, Any]]:
    """`(encoded bytes, label)` row by row, read in batches of that size."""
    import pyarrow

    if hasattr(file, "metadata"):
        size = max(1, min(size, ROOM // _largest(file, columns.image)))
    try:
        for batch in file.iter_batches(batch_size=size, columns=[columns.image, columns.label]):
            for row in batch.to_pylist():
                image = row[columns.image]
                inside = (image or {}).get("bytes") if columns.inside else image
                yield inside, row[columns.label]
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise ProbeError(f"the rows of {name} cannot be read ({said(error)})") from error


def _texts(file: Any, column: str, *, name: str) -> Iterator[str]:
    """The labels of all rows of a file, but for those without one."""
    import pyarrow

    try:
        for batch in file.iter_batches(batch_size=MANY, columns=[column]):
            yield from (text for text in batch.column(0).unique().to_pylist() if text is not None)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise ProbeError(f"the rows of {name} cannot be read ({said(error)})") from error


def _largest(file: Any, column: str) -> int:
    """No value of a column has more bytes: those of its largest piece, with each value once."""
    groups = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups))
    pieces = (group.column(n) for group in groups for n in range(group.num_columns))
    sizes = [piece.total_uncompressed_size for piece in pieces
             if piece.path_in_schema.split(".")[0] == column]  # fmt: skip
    return max([1, *sizes])


def _classes(labels: list[int], schema: Any, column: str, name: str) -> tuple[str, ...]:
    """The names of the classes of these numbers."""
    row = next((row for row, label in enumerate(labels, start=1) if label < 0), None)
    if row is not None:
        raise ProbeError(f"row {row} of {name} has the label {labels[row - 1]}: expected 0 or more")
    names = numbered(max(labels), name)
    written = _written(schema, column)
    return written if len(written) >= len(names) else names


def _written(schema: Any, column: str) -> tuple[str, ...]:
    """The names of classes in the metadata of the `datasets` library, if there are any."""
    try:
        written = json.loads((schema.metadata or {})[b"huggingface"])
        names = written["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    whole = isinstance(names, list) and all(isinstance(each, str) for each in names)
    return tuple(names) if whole else ()
