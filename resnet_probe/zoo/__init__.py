"""Trained weights that come with the package, each with a card that says what it is."""

from __future__ import annotations

from resnet_probe.zoo.card import Card, Evaluation
from resnet_probe.zoo.images import find_images
from resnet_probe.zoo.store import cards, find, load, rounded, save, weights

__all__ = [
    "Card",
    "Evaluation",
    "cards",
    "find",
    "find_images",
    "load",
    "rounded",
    "save",
    "weights",
]
