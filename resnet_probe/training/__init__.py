"""Trains a classifier on images that lie on the device, and resumes to the same weights."""

from __future__ import annotations

from resnet_probe.training.recipe import (
    RECIPES,
    Recipe,
    learning_rate,
    multiplies_in_bfloat16,
    recipe,
    usual_recipe,
)
from resnet_probe.training.team import (
    Team,
    asked_to_stop,
    joined,
    launched,
    own_device,
    processes_started,
    processors,
)
from resnet_probe.training.trainer import TrainingRun, count_correct, identity_of, train

__all__ = [
    "RECIPES",
    "Recipe",
    "Team",
    "TrainingRun",
    "asked_to_stop",
    "count_correct",
    "identity_of",
    "joined",
    "launched",
    "learning_rate",
    "multiplies_in_bfloat16",
    "own_device",
    "processes_started",
    "processors",
    "recipe",
    "train",
    "usual_recipe",
]
