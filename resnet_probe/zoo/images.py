"""The images that a card was measured on, found by what is in them and not by their name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from resnet_probe import data
from resnet_probe.data import ImageSet
from resnet_probe.errors import ProbeError
from resnet_probe.zoo.card import Card

BUNDLED = ("digits",)
DEPTH = 3
"""How many folders deep images are looked for."""


def find_images(name: str, images: int, sha256: str, root: Path | None) -> ImageSet | None:
    """The set of so many images with that fingerprint; None where it is not to be found.

    ``digits`` come with the package; of other sets a parquet file is looked for in ``root`` and
    the folders in it. Only files with the right number of rows are read. Raises ProbeError for
    digits that are others, and where ``root`` is no folder.
    """
    if name in BUNDLED:
        found = data.load(name)
        if found.fingerprint() != sha256:
            raise ProbeError(f"the {name} made here are not those that a card was measured on")
        return found
    path = find_file(images, sha256, root)
    return None if path is None else loaded(path.resolve())[0]


def find_file(images: int, sha256: str, root: Path | None) -> Path | None:
    """The parquet file in ``root`` that holds these images; None if there is none."""
    for path in parquet_files(root):
        if rows_of(path) == images and loaded(path.resolve())[1] == sha256:
            return path
    return None


def source_of(card: Card, root: Path | None) -> str:
    """The test images of a bundled network as ``data.load`` takes them.

    Raises ProbeError where they neither come with the package nor lie in ``root``.
    """
    if card.data in data.names():
        return card.data
    path = find_file(card.images, card.data_sha256, root)
    if path is not None:
        return f"parquet:{path}"
    where = f"not in {root}" if root else "not part of the package"
    raise ProbeError(
        f"the {card.images:,} test images of {card.stem} are {where}: give data=parquet:FILE, "
        "or data_root=, the folder they lie in"
    )


@lru_cache(maxsize=4)
def loaded(path: Path) -> tuple[ImageSet, str]:
    """The images of a file and their fingerprint; several cards are about the same ones."""
    found = data.load(f"parquet:{path}")
    return found, found.fingerprint()


def parquet_files(root: Path | None) -> list[Path]:
    """All parquet files in a folder, at most `DEPTH` folders deep; ProbeError if it is none."""
    if root is None:
        return []
    if not root.is_dir():
        raise ProbeError(f"there is no folder {root} to look for images in (data_root=)")
    patterns = ("*/" * depth + "*.parquet" for depth in range(DEPTH + 1))
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


def rows_of(path: Path) -> int | None:
    """The number of rows that a parquet file says it has; None if it is not one."""
    import pyarrow
    import pyarrow.parquet

    try:
        return int(pyarrow.parquet.read_metadata(path).num_rows)
    except (pyarrow.ArrowException, OSError):
        return None
