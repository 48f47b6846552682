"""Image files: what can be said of them before they are decoded, and their pixels."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from resnet_probe.data.files import HEAD, other_kind, regular
from resnet_probe.data.preprocess import Preprocess, check_pixels
from resnet_probe.errors import ProbeError

ORIENTATION = 0x0112
"""The EXIF tag that says which side of a photograph is up; 1 is upright."""
READERS = 8
TOGETHER = 1024
"""Files that are handed to the readers at once."""
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""Formats of images that are read: pixels alone, no programs."""
UNDECODABLE = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error,
               EOFError, MemoryError, Image.DecompressionBombError,
               Image.DecompressionBombWarning)  # fmt: skip
"""What PIL raises for files that are damaged or were made to be."""
WIDE = 257
"""16-bit values over 8-bit ones: 65,535 / 255."""


class Facts(NamedTuple):
    """What the head of one image file says; the hash is of all its bytes."""

    sha256: bytes
    encoding: str
    size: tuple[int, int]
    turned: bool


class Span(NamedTuple):
    """An image file inside another file; `name` is what messages call it."""

    path: str
    start: int
    size: int
    name: str

    def __str__(self) -> str:
        return self.name


def content_of(file: str | Span) -> bytes:
    """The bytes of an image file; raises `ProbeError` for what is no file, and `OSError`."""
    if isinstance(file, str):
        return regular(Path(file), what="an image").read_bytes()
    with Path(file.path).open("rb") as whole:
        whole.seek(file.start)
        return whole.read(file.size)


@dataclass(frozen=True)
class Pictures(Dataset[Tensor]):
    """The pixels of image files, uint8 `[3, height, width]` each, decoded when asked for.

    `files` are their paths as texts: of a million files, `Path` objects would take a gigabyte.
    """

    files: tuple[str | Span, ...]
    preprocess: Preprocess | None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Tensor:
        file = self.files[row]
        source = Path(file) if isinstance(file, str) else content_of(file)
        return pixels(picture(source, self.preprocess, where=str(file)).image)


@dataclass(frozen=True)
class Survey:
    """What is known of all files together, before any is decoded.

    `files` are the SHA-256 of their bytes, `treatment` what is done to their pixels: together they
    stand for what comes out.  `shape` is that of one image, `note` what a reader of results must
    know.
    """

    files: tuple[bytes, ...]
    treatment: str
    shape: tuple[int, int, int]
    note: str


def survey(pictures: Pictures, *, name: str) -> Survey:
    """Reads every file once, in threads, and decodes none; of each its hash alone is kept.

    Raises ProbeError for a file that is no image, and where sizes differ and nothing makes them
    one.
    """
    ready = pictures.preprocess
    hashes: list[bytes] = []
    encodings: set[str] = set()
    sizes: dict[tuple[int, int], int] = {}  # and the first image that has each
    turned = 0
    for file, fact in zip(pictures.files, _all_facts(pictures.files), strict=True):
        if ready is not None and fact.size not in sizes:
            with _named(str(file)):
                ready.check(fact.size)
        sizes.setdefault(fact.size, len(hashes))
        hashes.append(fact.sha256)
        encodings.add(fact.encoding)
        turned += fact.turned
    if ready is None:
        _same_size(pictures, sizes, name)
    width, height = next(iter(sizes)) if ready is None else ready.crop[::-1]
    note = encodings_note(encodings)
    if ready is not None and any(map(ready.touches, sizes)):
        note += f", {ready}"
    if turned:
        note += f", {turned:,} with an EXIF orientation that is left aside"
    treatment = ready.spec + str(ready.spare) if ready else "as they are"
    return Survey(tuple(hashes), treatment, (3, height, width), note)


def _all_facts(files: Sequence[str | Span]) -> Iterator[Facts]:
    """Of each file in order, some read at once."""
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(files), TOGETHER):
            yield from readers.map(_facts, files[start : start + TOGETHER])


def _facts(file: str | Span) -> Facts:
    content = b""
    try:
        content = content_of(file)
        with _opened(io.BytesIO(content)) as opened:
            # Asked for what is not in its head, a PNG would be decoded to look behind its pixels.
            turned = "exif" in opened.info and opened.getexif().get(ORIENTATION, 1) != 1
            encoding = opened.format or "unknown"
            return Facts(hashlib.sha256(content).digest(), encoding, opened.size, turned)
    except UNDECODABLE as error:
        raise ProbeError(_refusal(str(file), content, error)) from error


def _same_size(pictures: Pictures, sizes: dict[tuple[int, int], int], name: str) -> None:
    """Refuses more than one size; `sizes` has the first image of each, in order."""
    if len(sizes) > 1:
        first, here = ("×".join(map(str, size[::-1])) for size in list(sizes)[:2])
        row = list(sizes.values())[1]
        raise ProbeError(
            f"{name} holds images of different sizes: image {row + 1} "
            f"({Path(str(pictures.files[row])).name}) is {here} (height×width) where the first is "
            f"{first}: give a size to resize them"
        )


@dataclass(frozen=True)
class Picture:
    """An image in RGB, the encoding it was stored in (`JPEG`, `PNG`, …), whether it was resized."""

    image: Image.Image
    encoding: str
    touched: bool = False


def picture(source: Path | bytes, preprocess: Preprocess | None = None, *, where: str) -> Picture:
    """Decode an image file, or its bytes, to RGB, and resize and crop it.

    Gray values become three equal channels, CMYK and palettes are converted, transparency is
    dropped. The orientation that a camera notes in EXIF is left aside, as the loaders of
    torchvision and timm do, with which published weights were trained and measured.

    Raises `ProbeError`, beginning with `where`, if that is no image, not all of one, or too large.
    """
    content = source if isinstance(source, bytes) else None
    try:
        with _opened(source if content is None else io.BytesIO(content)) as opened, _named(where):
            image = _rgb(opened)
            ready = image if preprocess is None else preprocess(image)
            return Picture(ready, opened.format or "unknown", ready is not image)
    except UNDECODABLE as error:
        raise ProbeError(_refusal(where, content, error)) from error


def _opened(source: Any) -> Image.Image:
    """The image, of a format that PIL decodes by itself, with a number of pixels that fits.

    EPS, for one, it would hand to another program.
    """
    if not Image.OPEN.keys() >= {"PNG", "WEBP"}:
        Image.init()
    opened = Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])
    try:
        check_pixels(*opened.size, "it")
    except ProbeError as error:
        opened.close()
        raise ValueError(str(error)) from error
    return opened


def _refusal(where: str, content: bytes | None, error: Exception) -> str:
    kind = other_kind(content[:HEAD]) if content else ""
    if kind and "image" not in kind:
        return f"{where} is {kind}"
    reason = "of none of the formats " + ", ".join(FORMATS)
    known = str(error) if not isinstance(error, UnidentifiedImageError) else reason
    return f"{where} cannot be decoded as an image ({known})"


@contextmanager
def _named(where: Path | str) -> Iterator[None]:
    """Puts the name of an image before what is said of it."""
    try:
        yield
    except ProbeError as error:
        raise ProbeError(f"{where} is too large: {error}") from error


def pixels(image: Image.Image) -> Tensor:
    """An RGB image as uint8 `[3, height, width]`."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def encodings_note(encodings: Iterable[str]) -> str:
    """`stored as PNG`, `stored as JPEG and PNG`: a lossy encoding changes what is measured."""
    return "stored as " + " and ".join(sorted(set(encodings)))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":  # PIL would take 0–1 for black
        raise ValueError("it holds fractions, and nothing says which of them is white")
    if image.mode.startswith("I"):  # 16-bit gray, which PIL would clip to white at 255
        image = Image.fromarray((np.asarray(image) // WIDE).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info:  # a palette with transparent entries: PIL asks for this way
        image = image.convert("RGBA")
    return image.convert("RGB")
