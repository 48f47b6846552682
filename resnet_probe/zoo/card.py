"""What is known about a file of weights: how it was made and how good it is."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from resnet_probe import data
from resnet_probe.errors import ProbeError

DERIVED = "error_pct"


@dataclass(frozen=True)
class Card:
    """A model card: one JSON file beside one safetensors file.

    Attributes
    ----------
    arch : the architecture's specification, e.g. ``resnet20`` or ``vgg16_bn:width=16``
    data : the data set it was trained on
    normalize : the normalization it was trained with, as ``data.normalization`` reads it
    classes : how many classes its head tells apart
    command : the command that made it
    seed, epochs : of the training
    correct, images : how many of how many test images the *stored* network, in half precision
        on disk, classifies correctly
    seconds : wall time of the training
    versions : of the libraries that matter, e.g. ``{"torch": "2.11.0"}``
    machine : what it was trained on, in words
    data_sha256 : fingerprint of those test images (``ImageSet.fingerprint``)
    weights_sha256 : of the safetensors file; ``zoo.save`` fills it in
    """

    arch: str
    data: str
    normalize: str
    classes: int
    command: str
    seed: int
    epochs: int
    correct: int
    images: int
    seconds: float
    versions: dict[str, str]
    machine: str = ""
    data_sha256: str = ""
    weights_sha256: str = ""

    @property
    def error_pct(self) -> float:
        """Test error of the stored network in per cent."""
        return 100 * (1 - self.correct / self.images)

    @property
    def stem(self) -> str:
        """The name of both files without their suffix, e.g. ``vgg16_bn-width-16-digits``."""
        return re.sub(r"[^\w.]+", "-", f"{self.arch}-{data.slug(self.data)}")

    def to_json(self) -> str:
        """The card as indented JSON, with the error it implies."""
        return json.dumps({**asdict(self), DERIVED: round(self.error_pct, 4)}, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Card:
        """The card in a JSON file; ProbeError if that is no card."""
        try:
            entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            known = {field.name for field in fields(cls)}
            return cls(**{key: value for key, value in entries.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ProbeError(f"{path} is not a model card ({error})") from error
