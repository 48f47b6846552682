"""Trains a classifier on images that lie on the device, and resumes to the same weights."""

from __future__ import annotations

from resnet_probe.training.evaluation import count_correct
from resnet_probe.training.history import TrainingRun
from resnet_probe.training.recipe import RECIPES, Recipe, learning_rate, recipe, usual_recipe
from resnet_probe.training.team import Team, joined
from resnet_probe.training.trainer import train

__all__ = [
    "RECIPES",
    "Recipe",
    "Team",
    "TrainingRun",
    "count_correct",
    "joined",
    "learning_rate",
    "recipe",
    "train",
    "usual_recipe",
]
