"""From the bytes of an image file to pixels."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnet_probe.errors import ProbeError

WIDE = 257
"""16-bit values over 8-bit ones: 65,535 / 255."""


@dataclass(frozen=True)
class Picture:
    """An opened image in RGB and the encoding it was stored in (``JPEG``, ``PNG``, …)."""

    image: Image.Image
    encoding: str


def picture(source: Path | bytes, *, where: str) -> Picture:
    """Decode an image file, or its bytes, to RGB.

    Gray values become three equal channels, CMYK and palettes are converted, transparency is
    dropped. The orientation that a camera notes in EXIF is left aside, as the loaders of
    torchvision and timm do, with which published weights were trained and measured.

    Raises ProbeError, beginning with ``where``, if that is no image, or not all of one.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            return Picture(_rgb(opened), opened.format or "unknown")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ProbeError(f"{where} cannot be decoded as an image ({error})") from error


def pixels(image: Image.Image) -> Tensor:
    """An RGB image as uint8 ``[3, height, width]``."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def encodings_note(encodings: Iterable[str]) -> str:
    """``stored as PNG``, ``stored as JPEG and PNG``: a lossy encoding changes what is measured."""
    return "stored as " + " and ".join(sorted(set(encodings)))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray, which PIL would clip to white at 255
        image = Image.fromarray((np.asarray(image) // WIDE).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info:  # a palette with transparent entries: PIL asks for this way
        image = image.convert("RGBA")
    return image.convert("RGB")
