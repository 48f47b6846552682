"""Folders of the Hugging Face `datasets` library: arrow files of `save_to_disk`, or the hub's.

A data set of the hub has its parquet files in `data/`; one that was saved says in `state.json`
which arrow files it has, and several splits are in folders that `dataset_dict.json` lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_probe.data.files import is_folder, regular, said, text_of
from resnet_probe.data.image_set import ImageSet, check_limit
from resnet_probe.data.parquet import SPLITS, load_files, opened, parts
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.errors import ProbeError

STATE, INFO, SEVERAL = "state.json", "dataset_info.json", "dataset_dict.json"


def load_saved(
    folder: Path, split: str, limit: int | None, preprocess: Preprocess | None = None
) -> ImageSet:
    """The images of the split in a folder, `[n, 3, h, w]`; of a single one it is the set.

    Raises `ProbeError` for a folder that holds neither form, and what `load_parquet` does.
    """
    check_limit(limit)
    if not is_folder(folder):
        raise ProbeError(f"there is no folder {folder} to read a data set from")
    place = _of_split(folder, split)
    saved = (place / STATE).is_file()
    files = _arrow_files(place) if saved else parts(place, split)
    return load_files(f"hf:{folder}", files, split, limit, preprocess, arrow if saved else opened)


def _of_split(folder: Path, split: str) -> Path:
    """The folder of the split, or the folder itself where it has no splits."""
    if not (folder / SEVERAL).is_file():
        return folder
    names = _record(folder / SEVERAL).get("splits")
    names = [each for each in names if isinstance(each, str)] if isinstance(names, list) else []
    for each in SPLITS[split]:
        if each in names:
            return folder / each
    raise ProbeError(
        f"{folder} has the splits {', '.join(names)[:300] or 'of no name'}: expected "
        f"{' or '.join(SPLITS[split])}, or name the folder of one"
    )


def _arrow_files(folder: Path) -> list[Path]:
    state = _record(folder / STATE)
    if state.get("_indices_data_files"):
        raise ProbeError(
            f"{folder} holds a selection of its rows beside them: save it again after "
            "dataset.flatten_indices()"
        )
    listed = state.get("_data_files")
    names = [each.get("filename") for each in listed if isinstance(each, dict)] if isinstance(
        listed, list) else []  # fmt: skip
    if not names or not all(isinstance(each, str) and Path(each).name == each for each in names):
        raise ProbeError(f"{folder / STATE} lists no arrow files of its folder")
    return [folder / str(each) for each in names]


def _record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text_of(path, what="a record of a data set"))
    except (ValueError, RecursionError) as error:
        raise ProbeError(f"{path} is not JSON ({said(error)})") from error
    if not isinstance(found, dict):
        raise ProbeError(f"{path} is no record of a data set")
    return found


@dataclass(frozen=True)
class ArrowFile:
    """An arrow file, a stream of record batches, with what a parquet file is asked for."""

    schema_arrow: Any
    reader: Any

    def iter_batches(self, batch_size: int, columns: Sequence[str]) -> Iterator[Any]:
        for batch in self.reader:
            batch.validate(full=True)  # before a length in it is believed
            some = batch.select(list(columns))
            for start in range(0, len(some), batch_size):
                yield some.slice(start, batch_size)


def arrow(path: Path) -> ArrowFile:
    """One of the files, left on disk; classes have the names that `dataset_info.json` gives."""
    import pyarrow

    try:
        reader = pyarrow.ipc.open_stream(pyarrow.memory_map(str(regular(path, what="images"))))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ProbeError(f"{path} is not an arrow file ({said(error)})") from error
    schema, info = reader.schema, path.parent / INFO
    if b"huggingface" not in (schema.metadata or {}) and info.is_file():
        told = json.dumps({"info": _record(info)}).encode()
        schema = schema.with_metadata({b"huggingface": told})
    return ArrowFile(schema, reader)
