"""Images in a parquet file: a column of encoded images beside a column of labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from resnet_probe.data.image_set import ImageSet, of_one_size
from resnet_probe.data.pictures import encodings_note, picture, pixels
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.errors import ProbeError

IMAGE_COLUMNS = ("img", "image")
BATCH = 1024


def load_parquet(
    path: Path, split: str, limit: int | None, preprocess: Preprocess | None = None
) -> ImageSet:
    """The images of one file, ``[n, 3, h, w]``; the file is the set, whatever the split.

    The image column is called ``img`` or ``image`` and is a struct that holds the encoded
    ``bytes``; the column ``label`` holds integers. ``note`` says how the images are
    encoded, and what ``preprocess`` does to them; without it all must have one size.
    Class names come from the file's metadata where it has them (as the ``datasets`` library
    writes them), else they are the numbers. Raises ProbeError if there is no such file, it is not
    parquet, a column is missing, or an image is undecodable or of another size.
    """
    name = f"parquet:{path}"
    file = opened(path)
    column = image_column(file.schema_arrow, name)
    images, labels, encodings, touched = [], [], set(), False
    for row, (encoded, label) in enumerate(records(file, column, limit, name=name), start=1):
        if not isinstance(encoded, bytes) or label is None:
            raise ProbeError(f"row {row} of {name} has no {'label' if encoded else 'image'}")
        found = picture(encoded, where=f"row {row} of {name}")
        shown = found.image if preprocess is None else preprocess(found.image)
        touched |= shown is not found.image
        images.append(pixels(shown))
        labels.append(label)
        encodings.add(found.encoding)
    if not labels:
        raise ProbeError(f"{name} holds no rows")
    return ImageSet(
        name=name,
        split=split,
        images=of_one_size(images, name=name),
        labels=torch.tensor(labels, dtype=torch.int64),
        class_names=class_names(file.schema_arrow, max(labels) + 1),
        note=encodings_note(encodings) + (f", {preprocess}" if touched else ""),
    )


def opened(path: Path) -> Any:
    """A ``pyarrow.parquet.ParquetFile``."""
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise ProbeError(f"there is no file {path} to read images from")
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ProbeError(f"{path} is not a parquet file ({str(error).splitlines()[0]})") from error


def image_column(schema: Any, name: str) -> str:
    """The image column's name; ProbeError unless both columns are there with the right types."""
    import pyarrow.types as types

    for column in IMAGE_COLUMNS:
        if column in schema.names and "label" in schema.names:
            kind = schema.field(column).type
            holds_bytes = types.is_struct(kind) and kind.get_field_index("bytes") >= 0
            if holds_bytes and types.is_integer(schema.field("label").type):
                return column
    found = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise ProbeError(
        f"{name} has the columns {found}: expected img or image, a struct with bytes, "
        "and label, an integer"
    )


def records(file: Any, column: str, limit: int | None, *, name: str) -> Iterator[tuple[Any, Any]]:
    """``(encoded bytes, label)`` row by row, read in batches."""
    import pyarrow

    left = file.metadata.num_rows if limit is None else limit
    batches = file.iter_batches(batch_size=min(BATCH, max(left, 1)), columns=[column, "label"])
    try:
        for batch in batches:
            rows = batch.slice(0, left).to_pylist()
            yield from (((row[column] or {}).get("bytes"), row["label"]) for row in rows)
            left -= len(rows)
            if left == 0:
                return
    except (pyarrow.ArrowException, OSError) as error:
        raise ProbeError(f"the rows of {name} cannot be read ({error})") from error


def class_names(schema: Any, classes: int) -> tuple[str, ...]:
    """From the metadata of the ``datasets`` library, else ``0``, ``1``, …"""
    try:
        written = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(written["info"]["features"]["label"]["names"])
    except (KeyError, TypeError, ValueError):
        return tuple(str(number) for number in range(classes))
