"""Whether a card is true: its network evaluated again, on its images where they are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resnet_probe import data
from resnet_probe.training import count_correct
from resnet_probe.zoo.card import Card, Evaluation
from resnet_probe.zoo.images import find_images
from resnet_probe.zoo.store import SHIPPED, load


@dataclass(frozen=True)
class Verdict:
    """What a card says of some images, and how many of them are right now; None: not at hand."""

    card: Card
    said: Evaluation
    correct: int | None

    @property
    def holds(self) -> bool | None:
        """Whether the card is true to the last image; None where it cannot be told."""
        return None if self.correct is None else self.correct == self.said.correct


def verify(card: Card, *, root: Path | None = None, folder: Path = SHIPPED) -> Iterator[Verdict]:
    """A verdict on each evaluation of the card; images are looked for in ``root``."""
    for said in (own_evaluation(card), *card.also):
        yield check(card, said, root=root, folder=folder)


def check(
    card: Card, said: Evaluation, *, root: Path | None = None, folder: Path = SHIPPED
) -> Verdict:
    """The verdict on one evaluation; raises ProbeError for weights that are not the card's."""
    images = find_images(said.name, said.images, said.data_sha256, root)
    if images is None:
        return Verdict(card, said, None)
    scale = data.normalization(card.normalize)
    correct = count_correct(load(card, folder=folder), images, normalization=scale)
    return Verdict(card, said, correct)


def own_evaluation(card: Card) -> Evaluation:
    """The evaluation on the card's own test images."""
    return Evaluation(card.data, card.note, card.correct, card.images, card.data_sha256)
