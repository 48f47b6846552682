"""`--recalibrate`: training images to re-estimate batch-norm statistics on."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_probe.errors import ProbeError
from resnet_probe.loading import Prepared

if TYPE_CHECKING:
    from resnet_probe.data import AnySet
    from resnet_probe.engine.images import Images

SHARED = 0.1
"""More images than this share in common with those that are tested on are no accident."""


class Training(NamedTuple):
    """Normalized images `[n, …]`, None where none were asked for, and what identifies them."""

    images: Images | None
    identity: dict[str, Any]


def add_recalibration(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("batch-norm statistics")
    group.add_argument(
        "--recalibrate", type=int, metavar="IMAGES",
        help="measure once more with statistics re-estimated on so many training images",
    )  # fmt: skip
    group.add_argument(
        "--recalibrate-data", metavar="NAME",
        help="where these come from (default: the training split of --data); a file or folder has "
        "one split only, so it needs one of its own",
    )  # fmt: skip


def training_images(prepared: Prepared, options: Namespace) -> Training:
    """The images that `--recalibrate` asks for.

    Raises `ProbeError` for a set without a training split, too few images, images of another
    shape, and images that are tested on.
    """
    from resnet_probe import data

    count = options.recalibrate
    if count is None:
        if options.recalibrate_data:
            raise ProbeError("--recalibrate-data goes with --recalibrate IMAGES: say how many")
        return Training(None, {})
    if count < 2:
        raise ProbeError(f"--recalibrate {count}: variances need at least 2 images")
    found = _load(prepared, options)
    if len(found) < count:
        raise ProbeError(f"--recalibrate {count}: {found.name} has {len(found)} images")
    _refuse_test_images(prepared.image_set, found)
    images = found.on(prepared.images.device, data.normalization(prepared.normalize))
    identity = {
        "recalibrate": count,
        "recalibrate_data": found.name,
        "recalibrate_sha256": found.fingerprint(),
    }
    return Training(images, identity)


def _load(prepared: Prepared, options: Namespace) -> AnySet:
    from resnet_probe import data

    name, own = prepared.image_set.name, options.recalibrate_data
    if own is None and ":" in name:
        raise ProbeError(
            f"{name} has one split, and statistics are never re-estimated on the images that are "
            "tested on: give --recalibrate-data, the training images"
        )
    found = data.read(
        own or name, split="train", root=options.data_root, preprocess=prepared.preprocess,
        limit=options.recalibrate, workers=options.workers,
    )  # fmt: skip
    if found.shape[1:] != prepared.image_set.shape[1:]:
        raise ProbeError(
            f"the images of {found.name} have the shape {tuple(found.shape[1:])}, those of "
            f"{name} {tuple(prepared.image_set.shape[1:])}: statistics need the same"
        )
    return found


def _refuse_test_images(test: AnySet, training: AnySet) -> None:
    tested = set(_hashes(test))
    common = sum(each in tested for each in _hashes(training))
    if common > SHARED * min(len(test), len(training)):
        raise ProbeError(
            f"{common} of the {len(training)} images of {training.name} are also among those that "
            "are tested on: statistics are re-estimated on training images only"
        )


def _hashes(images: AnySet) -> Iterator[bytes]:
    for piece in images.pieces():
        for image in piece.cpu():
            yield hashlib.sha256(image.numpy().tobytes()).digest()
