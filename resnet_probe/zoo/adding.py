"""Takes a trained network into the zoo, under a name that says what its images are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from resnet_probe import data, results
from resnet_probe.data import ImageSet, Normalization
from resnet_probe.errors import ProbeError
from resnet_probe.settings import as_file_name
from resnet_probe.training import count_correct
from resnet_probe.zoo.card import Card, Evaluation
from resnet_probe.zoo.store import SHIPPED, load, save

FIRST = ("preresnet110", "resnet56", "plain56", "vgg16:width=16", "vgg16_bn:width=16", "resnet110")
THREE_TIMES = ("resnet20", "plain20", "preresnet20", "resnet56", "plain56", "preresnet110")
RATES = {"vgg16:width=16": 0.02, "plain56": 0.1}
"""A network without batch norm, or so deep without shortcuts, hardly learns at the others'."""


def wanted(arch: str, seed: int) -> tuple[str, dict[str, Any]]:
    """Its name, and what is asked for where nothing else is."""
    rate = {"lr": RATES[arch]} if arch in RATES else {}
    name = as_file_name(arch) + (f"-seed{seed}" if seed else "")
    return name, {"arch": arch, "seed": seed, **rate}


WANTED: Mapping[str, Mapping[str, Any]] = dict(
    [wanted(arch, 0) for arch in FIRST]
    + [wanted(arch, seed) for arch in THREE_TIMES for seed in (0, 1, 2)]
)
"""Networks that a zoo of photographs should have, in order, and what is special about each."""
ROUNDING = 1e-3
"""Share of the images that another device may decide otherwise: near-ties, rounded its way."""


def add(
    path: Path,
    test_set: ImageSet,
    *,
    name: str,
    note: str = "",
    also: Mapping[str, ImageSet] | None = None,
    folder: Path = SHIPPED,
) -> Card:
    """Copy the network of the card at ``path`` into ``folder``; the card as written there.

    ``name`` is what its data are called in the zoo, ``note`` what a reader of its error must know
    about them; ``test_set`` are the images of the card's own error, and ``also`` other images, by
    name, to report beside it. The network is evaluated on all of them. The history of the training
    comes along from the folder ``history`` beside the card, if there is one. Raises ProbeError
    where the evaluation contradicts the card by more than rounding, or where ``name`` is no plain
    name.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ProbeError(f"{name!r} is no name of a data set: write letters, digits and dashes")
    card = Card.read(path)
    model, scale = load(card, folder=path.parent), data.normalization(card.normalize)
    correct = count_correct(model, test_set, normalization=scale)
    other = abs(correct - card.correct) > ROUNDING * len(test_set)
    if other or test_set.fingerprint() != card.data_sha256:
        raise ProbeError(
            f"{path} is about other images than {test_set.name}: it says {card.correct} of "
            f"{card.images} correct, and of those {correct} of {len(test_set)} are"
        )
    others = [evaluation(model, images, scale, called) for called, images in (also or {}).items()]
    named = replace(
        card, correct=correct, data=name, note=note or card.note, test_data="",
        also=tuple(others), history=history_beside(path),
    )  # fmt: skip
    return save(model, named, folder)


def history_beside(path: Path) -> dict[str, list[float]]:
    """The history that `train` has left beside a card, by column, to four digits."""
    folder = path.parent / "history"
    if not folder.is_dir():
        return {}
    table = results.load(folder).table
    return {
        str(column): [float(f"{value:.4g}") for value in table[column]]
        for column in table.columns
        if column != "epoch"
    }


def evaluation(model: nn.Module, images: ImageSet, scale: Normalization, name: str) -> Evaluation:
    """The network's error on images that are called ``name``."""
    correct = count_correct(model, images, normalization=scale)
    return Evaluation(name, images.note, correct, len(images), images.fingerprint())
