"""Training images beside the tested ones: to re-estimate statistics, and to fit values on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_probe.errors import ProbeError
from resnet_probe.loading.prepared import Prepared
from resnet_probe.loading.request import Request
from resnet_probe.settings import Settings, option

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.data import AnySet
    from resnet_probe.engine.images import Images

TITLE = "training images"
SHARED = 0.1
"""More images than this share in common with those that are tested on are no accident."""


@dataclass(frozen=True, kw_only=True)
class Recalibration(Settings):
    """Training images beside those that are tested."""

    recalibrate: int | None = option(
        None,
        "measure once more with statistics re-estimated on so many training images",
        metavar="IMAGES",
        group=TITLE,
    )
    calibrate: int | None = option(
        None,
        "fit what replaces a branch on so many training images",
        metavar="IMAGES",
        group=TITLE,
    )
    recalibrate_data: str | None = option(
        None,
        "where these come from (default: the training split of --data); a file or folder has one "
        "split only, so it needs one of its own",
        metavar="NAME",
        group=TITLE,
    )


class Training(NamedTuple):
    """Normalized images `[n, …]` to re-estimate statistics on, images and labels to fit values on,
    None where none were asked for, and what identifies them."""

    images: Images | None
    identity: dict[str, Any]
    calibration: tuple[Images, Tensor] | None = None


def training_images(prepared: Prepared, request: Request, asked: Recalibration) -> Training:
    """The images that `recalibrate=` and `calibrate=` ask for: the first of one set.

    Raises `ProbeError` for a set without a training split, too few images, images of another
    shape, and images that are tested on.
    """
    from resnet_probe import data

    counts = {"recalibrate": asked.recalibrate, "calibrate": asked.calibrate}
    given = {name: count for name, count in counts.items() if count is not None}
    if not given:
        if asked.recalibrate_data:
            raise ProbeError(
                "recalibrate_data= goes with recalibrate= or calibrate=: say how many images"
            )
        return Training(None, {})
    for name, count in given.items():
        if count < 2:
            raise ProbeError(f"{name}={count}: at least 2 training images are needed")
    found = _load(prepared, request, asked, max(given.values()))
    for name, count in given.items():
        if len(found) < count:
            raise ProbeError(f"{name}={count}: {found.name} has {len(found)} images")
    _refuse_test_images(prepared.image_set, found)
    images = found.on(prepared.images.device, data.normalization(prepared.normalize))
    identity = {**given, "recalibrate_data": found.name, "recalibrate_sha256": found.fingerprint()}
    calibration = None
    if asked.calibrate is not None:
        calibration = (images[: asked.calibrate], found.labels[: asked.calibrate])
    renewed = None if asked.recalibrate is None else images[: asked.recalibrate]
    return Training(renewed, identity, calibration)


def _load(prepared: Prepared, request: Request, asked: Recalibration, count: int) -> AnySet:
    from resnet_probe import data

    name, own = prepared.image_set.name, asked.recalibrate_data
    if own is None and ":" in name:
        raise ProbeError(
            f"{name} has one split, and nothing is re-estimated or fitted on the images that are "
            "tested on: give recalibrate_data=, the training images"
        )
    found = data.read(
        own or name, split="train", root=request.data_root, preprocess=prepared.preprocess,
        limit=count, workers=request.workers,
    ).of_channels(prepared.image_set.shape[1])  # fmt: skip
    if found.shape[1:] != prepared.image_set.shape[1:]:
        raise ProbeError(
            f"the images of {found.name} have the shape {tuple(found.shape[1:])}, those of "
            f"{name} {tuple(prepared.image_set.shape[1:])}: both need the same"
        )
    return found


def _refuse_test_images(test: AnySet, training: AnySet) -> None:
    tested = set(_hashes(test))
    common = sum(each in tested for each in _hashes(training))
    if common > SHARED * min(len(test), len(training)):
        raise ProbeError(
            f"{common} of the {len(training)} images of {training.name} are also among those that "
            "are tested on: what is re-estimated or fitted comes from training images only"
        )


def _hashes(images: AnySet) -> Iterator[bytes]:
    for piece in images.pieces():
        for image in piece.cpu():
            yield hashlib.sha256(image.numpy().tobytes()).digest()
