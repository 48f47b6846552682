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


@dataclass(frozen=True)
class Picture:
    """An opened image in RGB and the encoding it was stored in (``JPEG``, ``PNG``, …)."""

    image: Image.Image
    encoding: str

    def pixels(self) -> Tensor:
        """uint8 ``[3, height, width]``."""
        return torch.from_numpy(np.array(self.image)).permute(2, 0, 1).contiguous()


def picture(source: Path | bytes, *, where: str) -> Picture:
    """Decode an image file, or its bytes, to RGB.

    Raises ProbeError, beginning with ``where``, if that is no image, or not all of one.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            return Picture(opened.convert("RGB"), opened.format or "unknown")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ProbeError(f"{where} cannot be decoded as an image ({error})") from error


def encodings_note(encodings: Iterable[str]) -> str:
    """``stored as PNG``, ``stored as JPEG and PNG``: a lossy encoding changes what is measured."""
    return "stored as " + " and ".join(sorted(set(encodings)))
