"""Image files: what can be said of them before they are decoded, and their pixels one by one."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from resnet_probe.data.decode import encodings_note, picture, pixels
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.errors import ProbeError

ORIENTATION = 0x0112
"""The EXIF tag that says which side of a photograph is up; 1 is upright."""
READERS = 8


class Facts(NamedTuple):
    """What the head of one image file says; the hash is of all its bytes."""

    sha256: str
    encoding: str
    size: tuple[int, int]
    turned: bool


@dataclass(frozen=True)
class Pictures(Dataset[Tensor]):
    """The pixels of image files, uint8 ``[3, height, width]`` each, decoded when asked for."""

    files: tuple[Path, ...]
    preprocess: Preprocess | None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Tensor:
        file = self.files[row]
        found = picture(file, where=str(file)).image
        return pixels(found if self.preprocess is None else self.preprocess(found))


@dataclass(frozen=True)
class Survey:
    """What is known of all files together, before any is decoded.

    ``sha256`` stands for the pixels that come out: it is of the files' bytes and the preprocessing.
    ``shape`` is that of one image, ``note`` what a reader of results must know.
    """

    sha256: str
    shape: tuple[int, int, int]
    note: str


def survey(pictures: Pictures, *, name: str) -> Survey:
    """Reads every file once, in threads, and decodes none.

    Raises ProbeError for a file that is no image, and where sizes differ and nothing makes them
    one.
    """
    with ThreadPoolExecutor(READERS) as readers:
        facts = list(readers.map(_facts, pictures.files))
    ready = pictures.preprocess
    digest = hashlib.sha256((ready.spec + str(ready.spare) if ready else "as they are").encode())
    for fact in facts:
        digest.update(bytes.fromhex(fact.sha256))
    width, height = facts[0].size if ready is None else ready.crop[::-1]
    if ready is None:
        _same_size(pictures, facts, name)
    note = encodings_note(fact.encoding for fact in facts)
    if ready is not None and any(ready.touches(fact.size) for fact in facts):
        note += f", {ready}"
    turned = sum(fact.turned for fact in facts)
    if turned:
        note += f", {turned:,} with an EXIF orientation that is left aside"
    return Survey(digest.hexdigest(), (3, height, width), note)


def _facts(file: Path) -> Facts:
    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content)) as opened:
            # Asked for what is not in its head, a PNG would be decoded to look behind its pixels.
            turned = "exif" in opened.info and opened.getexif().get(ORIENTATION, 1) != 1
            encoding = opened.format or "unknown"
            return Facts(hashlib.sha256(content).hexdigest(), encoding, opened.size, turned)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ProbeError(f"{file} cannot be decoded as an image ({error})") from error


def _same_size(pictures: Pictures, facts: list[Facts], name: str) -> None:
    for number, (file, fact) in enumerate(zip(pictures.files, facts, strict=True), start=1):
        if fact.size != facts[0].size:
            here, first = ("×".join(map(str, each.size[::-1])) for each in (fact, facts[0]))
            raise ProbeError(
                f"{name} holds images of different sizes: image {number} ({file.name}) is {here} "
                f"(height×width) where the first is {first}: give a size to resize them"
            )
