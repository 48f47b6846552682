"""What is known about a file of weights: how it was made and how good it is."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from resnet_probe import data
from resnet_probe.data.files import text_of
from resnet_probe.errors import ProbeError
from resnet_probe.settings import as_file_name

DERIVED = "error_pct"
TYPES = {"str": (str,), "int": (int,), "float": (int, float), "dict[str, str]": (dict,)}
"""What an entry of such a field is in JSON; true and false are no numbers."""
NUMBERS = r"\[[\d\s,.e+-]+\]"


@dataclass(frozen=True)
class Evaluation:
    """How many of some other images the stored network classifies correctly.

    ``name`` and ``note`` say which images, ``data_sha256`` is their fingerprint.
    """

    name: str
    note: str
    correct: int
    images: int
    data_sha256: str

    @property
    def error_pct(self) -> float:
        """Error in per cent."""
        return 100 * (1 - self.correct / self.images)


@dataclass(frozen=True)
class Card:
    """A model card: one JSON file beside one safetensors file.

    Attributes
    ----------
    arch : the architecture's specification, e.g. ``resnet20`` or ``vgg16_bn:width=16``
    data : the data set it was trained on, by name or, for the zoo, as it is called there
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
    note : what a reader of its error must know about the images, e.g. ``stored as JPEG``
    test_data : where the test images are not the test split of ``data``, what they are
    effective_paths : how many random blocks each training step kept; None for all
    precision : of the products in the training's convolutions; the errors are in float32
    resolution : the heights of the images over the training; None for full size throughout. Where
        there are some, the batch norms' statistics were estimated anew at full size, on training
        images, as they were for effective paths
    also : how good it is on other images of the same kind
    history : of the training, by the columns of `training.TrainingRun`, a number an epoch
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
    note: str = ""
    test_data: str = ""
    effective_paths: int | None = None
    precision: str = "float32"
    resolution: tuple[int, ...] | None = None
    also: tuple[Evaluation, ...] = ()
    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def error_pct(self) -> float:
        """Test error of the stored network in per cent."""
        return 100 * (1 - self.correct / self.images)

    @property
    def stem(self) -> str:
        """The name of both files without their suffix, and of the network in the zoo.

        ``vgg16_bn-width-16-digits``; ``resnet20-cifar10-jpeg-seed1`` for a seed that is not 0.
        """
        paths = f"-effective-paths-{self.effective_paths}" if self.effective_paths else ""
        seed = f"-seed{self.seed}" if self.seed else ""
        name = data.slug(self.data) if ":" in self.data else self.data
        return as_file_name(f"{self.arch}{paths}-{name}{seed}")

    @property
    def images_called(self) -> str:
        """The test images in words: ``cifar10-jpeg (CIFAR-10, JPEG re-encoded)``."""
        return f"{self.data} ({self.note})" if self.note else self.data

    def to_json(self) -> str:
        """The card as indented JSON, a list of numbers on one line, with the error it implies."""
        text = json.dumps({**asdict(self), DERIVED: round(self.error_pct, 4)}, indent=2)
        return re.sub(NUMBERS, lambda found: json.dumps(json.loads(found[0])), text) + "\n"

    @classmethod
    def read(cls, path: Path) -> Card:
        """The card in a JSON file; ProbeError if that is no card."""
        try:
            entries: dict[str, Any] = json.loads(text_of(path, what="a model card"))
            known = {field.name for field in fields(cls)}
            kept = {key: value for key, value in entries.items() if key in known}
            kept["resolution"] = tuple(kept["resolution"]) if kept.get("resolution") else None
            kept["also"] = tuple(Evaluation(**each) for each in kept.get("also", ()))
            card = cls(**kept)
            _check(card)
            for each in card.also:
                _check(each)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ProbeError(f"{path} is not a model card ({error})") from error
        return card


def _check(found: Card | Evaluation) -> None:
    """Raises ValueError for an entry of another type, and for counts that count no images."""
    for each in fields(found):
        value, kinds = getattr(found, each.name), TYPES.get(str(each.type))
        beyond = isinstance(value, int | float) and not abs(value) < 2**63
        if kinds and (type(value) not in kinds or beyond):
            raise ValueError(f"{each.name} is {str(value)[:40]!r}")
    if not 0 <= found.correct <= found.images or found.images < 1:
        raise ValueError(f"{found.correct} of {found.images} images")
