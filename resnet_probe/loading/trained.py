"""A network trained on the spot: what a claim about training needs, in one call."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from resnet_probe import data as data_sets
from resnet_probe import models, training
from resnet_probe.chain import ResidualChain
from resnet_probe.loading import cut, find_device


@dataclass(frozen=True, eq=False)
class Trained:
    """A network in its chain, the test images ``[n, 3, h, w]``, normalized, and their labels.

    ``history`` has a row an epoch, in the columns of `training.TrainingRun`.
    """

    chain: ResidualChain
    images: Tensor
    labels: Tensor
    history: pd.DataFrame


def trained(
    arch: str,
    *,
    data: str = "digits",
    test_data: str | None = None,
    data_root: Path | None = None,
    recipe: str | None = None,
    seed: int = 0,
    where: str = "auto",
    limit: int | None = None,
    work: Path | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
    **changes: Any,
) -> Trained:
    """Train ``arch`` on ``data`` and cut it, with the first ``limit`` test images.

    ``recipe`` is ``2015``, ``fast`` or ``digits`` (by default that of the data); ``changes`` are
    fields of `training.Recipe`, such as ``epochs`` or ``effective_paths``. ``seed`` decides the
    initial weights and the training. In the folder ``work`` a checkpoint is kept, from which the
    same call goes on, or which it takes as it is where it is complete. Raises ProbeError as
    `training.train` does, and for unknown names.
    """
    network, device = models.architecture(arch), find_device(where)
    size = network.input_shape[1:]
    train_set = data_sets.load(data, split="train", root=data_root, size=size)
    test_set = data_sets.load(test_data or data, split="test", root=data_root, size=size)
    scale = data_sets.measure(train_set)
    model = network.build(len(train_set.class_names), seed=seed)
    named = training.recipe(recipe or training.usual_recipe(data), model)
    run = training.train(
        model,
        train_set,
        test_set,
        normalization=scale,
        recipe=replace(
            named, **{key: value for key, value in changes.items() if value is not None}
        ),
        seed=seed,
        name=network.spec,
        device=device,
        checkpoint=work / f"{_slug(network.spec, data, seed, changes)}.pt" if work else None,
        resume=True,
        progress=progress,
    )
    some = test_set.take(limit)
    images = scale.apply(torch.cat(list(some.pieces()))).to(device)
    chain = cut(network, run.model, images[:1])
    return Trained(chain, images, some.labels, run.history)


def _slug(*parts: Any) -> str:
    """What tells this training from others, as a file name."""
    return re.sub(r"[^\w.]+", "-", " ".join(map(str, parts))).strip("-")
