"""What a training leaves: the network, and a table with one row an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from torch import nn

from resnet_probe.data import ImageSet, Normalization
from resnet_probe.results import Result
from resnet_probe.training.recipe import Recipe

Row = dict[str, float]
STUDY = "train"


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A trained network, in eval mode, and how it got there, one row an epoch.

    Columns of ``history``: ``epoch`` (from 1), ``lr`` (of the epoch's last step), ``train_loss``
    and ``train_error_pct`` (over the epoch's own steps: augmented images, changing weights),
    ``test_error_pct`` (after the epoch), ``seconds`` (wall time, evaluation included) and
    ``images_per_s`` (of the training alone). ``identity`` is what `identity_of` gives.
    """

    model: nn.Module
    history: pd.DataFrame
    identity: Mapping[str, Any]

    def result(self, **facts: Any) -> Result:
        """The history as a run to save, load and draw; ``facts`` say how it was made."""
        return Result(STUDY, self.history, {**facts, "identity": dict(self.identity)})


def identity_of(
    name: str,
    train_set: ImageSet,
    test_set: ImageSet,
    *,
    normalization: Normalization,
    recipe: Recipe,
    seed: int,
) -> dict[str, Any]:
    """Everything that decides the weights, ``name`` being what the network is called.

    A run is resumed, or its folder written again, only where all of it agrees.
    """
    return {
        "arch": name,
        "data": train_set.name,
        "data_note": train_set.note,
        "test_data": test_set.name,
        **asdict(recipe),
        "seed": seed,
        "normalization": normalization.name,
        "training images": train_set.fingerprint(),
        "test images": test_set.fingerprint(),
    }
