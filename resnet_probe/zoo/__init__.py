"""Trained weights that come with the package, each with a card that says what it is."""

from __future__ import annotations

from resnet_probe.zoo.card import Card
from resnet_probe.zoo.store import cards, find, load, rounded, save, weights

__all__ = ["Card", "cards", "find", "load", "rounded", "save", "weights"]
