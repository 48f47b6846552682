"""A training by names and options, in one call: for `train`, and for claims about training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError
from resnet_probe.loading.request import RUN
from resnet_probe.settings import Settings, as_file_name, listed, option, whole_number

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor, nn

    from resnet_probe.chain import ResidualChain
    from resnet_probe.data import ImageSet, Normalization
    from resnet_probe.models.architecture import Architecture
    from resnet_probe.training import Recipe, TrainingRun
    from resnet_probe.zoo import Card

WHAT, HOW, REGIME = "what to train", "the recipe, and what to change in it", "the architecture"
ON_A_CPU = 2
"""Two processes of one thread are faster than one of two."""


def heights(text: str) -> tuple[int, ...]:
    """`16,24,32` as numbers; raises `ProbeError` for anything else."""
    found = [whole_number(part.strip()) for part in text.split(",")]
    if None in found:
        raise ProbeError(f"resolution={text!r} is no list of heights in pixels, such as 16,24,32")
    return tuple(number for number in found if number is not None)


@dataclass(frozen=True, kw_only=True)
class TrainingRequest(Settings):
    """What to train, on which images, and how; what is None in the recipe stays as it is there."""

    arch: str | None = option(None, "architecture by name", metavar="NAME", group=WHAT)
    data: str = option(
        "digits",
        "training images (default: digits; of `zoo train`, cifar10)",
        metavar="NAME",
        group=WHAT,
    )
    test_data: str | None = option(
        None, "test images (default: the set's own)", metavar="NAME", group=WHAT
    )
    data_root: Path | None = option(
        None, "where downloaded data sets are kept", read=Path, metavar="DIR", group=WHAT
    )
    normalize: str | None = option(
        None, "(default: measured on the images)", metavar="NAME", group=WHAT
    )
    recipe: str | None = option(
        None,
        "2015 (He et al.: 164 epochs, the rate in steps), fast (60 epochs, one cycle) or digits "
        "(default: digits for the digits, else 2015)",
        metavar="NAME",
        group=HOW,
    )
    epochs: int | None = option(None, "passes over the training images", metavar="N", group=HOW)
    batch: int | None = option(
        None, "images a step, shared among the processes", metavar="N", group=HOW
    )
    lr: float | None = option(None, "the learning rate at its peak", metavar="RATE", group=HOW)
    warmup: float | None = option(
        None, "of all steps, in which the rate rises", metavar="SHARE", group=HOW
    )
    weight_decay: float | None = option(None, "of all parameters", metavar="X", group=HOW)
    label_smoothing: float | None = option(
        None, "of the target, spread over all classes", metavar="SHARE", group=HOW
    )
    precision: str = option(
        "auto",
        "of the convolutions' products (default: auto, bfloat16 where the device multiplies in it)",
        choices=("auto", "float32", "bfloat16"),
        group=HOW,
    )
    effective_paths: int | None = option(
        None, "each mini-batch keeps N random blocks; the test, all of them", metavar="N", group=HOW
    )
    resolution: tuple[int, ...] | None = option(
        None,
        "growing heights of the images, as 16,24,32: the smaller ones share the first two thirds "
        "of the epochs, the last is full size",
        read=heights,
        write=listed,
        metavar="LIST",
        group=HOW,
    )
    stochastic_depth: str | None = option(
        None,
        "as in --arch NAME:stochastic_depth=P: mini-batches leave blocks out by chance; P is the "
        "last block's probability to stay",
        metavar="P",
        group=REGIME,
    )
    deleted_blocks: str | None = option(
        None,
        "as in --arch NAME:deleted=3+7: train what a lesion of blocks 3 and 7 leaves (3,7)",
        metavar="LIST",
        group=REGIME,
    )
    seed: int = option(
        0,
        "of the initial weights and all random draws (default: 0)",
        least=0,
        metavar="N",
        group=RUN,
    )
    processes: int | None = option(
        None,
        "that share every batch (default: those of torchrun; else 2 on a CPU, 1 for the digits)",
        least=1,
        metavar="N",
        group=RUN,
    )
    device: str = option("auto", "(default: auto)", choices=("auto", "cpu", "cuda"), group=RUN)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.arch is None:
            raise ProbeError("which network? give arch=")
        kinds = ("parquet:", "imagefolder:", "webdataset:", "hf:")
        if self.data.startswith(kinds) and not self.test_data:
            raise ProbeError(f"{self.data} has one split: give test_data=, the images to test on")

    @property
    def spec(self) -> str:
        """The architecture with the options that change which blocks it has, and when."""
        from resnet_probe.models import grammar

        added = []
        if self.stochastic_depth is not None:
            added.append(f"stochastic_depth={self.stochastic_depth}")
        if self.deleted_blocks is not None:
            added.append(f"deleted={self.deleted_blocks.replace(',', '+')}")
        name, there = grammar.split(str(self.arch))
        return ":".join([name, ",".join([*there, *added])] if there or added else [name])

    @property
    def processes_wanted(self) -> int:
        """How many processes to start where nobody has started some."""
        from resnet_probe.loading import find_device
        from resnet_probe.training import processors

        if self.processes is not None:
            return self.processes
        alone = find_device(self.device).type != "cpu" or self.data == "digits"
        return 1 if alone else min(ON_A_CPU, processors())

    def ready(self, device: torch.device, **changes: Any) -> Trainable:
        """The network, its images and its recipe; `changes` are further fields of `Recipe`.

        Raises `ProbeError` for unknown names, and images that are not there.
        """
        from resnet_probe import data, models
        from resnet_probe.training import recipe, usual_recipe

        network, name = models.architecture(self.spec), self.recipe or usual_recipe(self.data)
        self._made(recipe(name), device, changes)  # refused before images are read or fetched
        given = data.normalization(self.normalize) if self.normalize else None
        where: dict[str, Any] = {"root": self.data_root, "size": network.input_shape[1:]}
        train_set = data.load(self.data, split="train", **where)
        test_set = data.load(self.test_data or self.data, split="test", **where)
        scale = data.measure(train_set) if given is None else given
        model = network.build(len(train_set.class_names), seed=self.seed)
        chosen = self._made(recipe(name, model), device, changes)
        return Trainable(network, model, train_set, test_set, scale, chosen, self.seed, device)

    def _made(self, named: Recipe, device: torch.device, changes: Mapping[str, Any]) -> Recipe:
        """The recipe of that name, with what is asked for in its place."""
        from resnet_probe.training import multiplies_in_bfloat16

        own = {name: self.values[name] for name in fields_of(named) if name in self.values}
        if self.precision == "auto":
            own["precision"] = "bfloat16" if multiplies_in_bfloat16(device) else "float32"
        chosen = {name: value for name, value in {**own, **changes}.items() if value is not None}
        return replace(named, **chosen)


def fields_of(recipe: Recipe) -> list[str]:
    return [each.name for each in fields(recipe)]


@dataclass(frozen=True, eq=False)
class Trainable:
    """A network before its training, the images, normalization, recipe and seed, and the device."""

    network: Architecture
    model: nn.Module
    train_set: ImageSet
    test_set: ImageSet
    normalization: Normalization
    recipe: Recipe
    seed: int
    device: torch.device

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights."""
        from resnet_probe.training import identity_of

        how: dict[str, Any] = {"recipe": self.recipe, "seed": self.seed}
        how["normalization"] = self.normalization
        return identity_of(self.network.spec, self.train_set, self.test_set, **how)

    def card(
        self,
        run: TrainingRun,
        network: nn.Module,
        *,
        command: str,
        versions: dict[str, str],
        device: str,
    ) -> Card:
        """What is known about the trained network; `network` is it as it is stored, tested here."""
        from resnet_probe import training, zoo

        return zoo.Card(
            arch=self.network.spec,
            data=self.train_set.name,
            test_data="" if self.test_set.name == self.train_set.name else self.test_set.name,
            note=self.train_set.note,
            normalize=self.normalization.name,
            classes=len(self.train_set.class_names),
            command=command,
            seed=self.seed,
            epochs=self.recipe.epochs,
            effective_paths=self.recipe.effective_paths,
            precision=self.recipe.precision,
            resolution=self.recipe.resolution,
            correct=training.count_correct(
                network, self.test_set, normalization=self.normalization
            ),
            images=len(self.test_set),
            seconds=round(float(run.history["seconds"].sum()), 1),
            versions=versions,
            machine=device,
            data_sha256=self.test_set.fingerprint(),
        )

    def train(self, **run: Any) -> TrainingRun:
        """`training.train` of it; `run` are those arguments that do not decide the weights."""
        from resnet_probe import training

        return training.train(
            self.model,
            self.train_set,
            self.test_set,
            normalization=self.normalization,
            recipe=self.recipe,
            seed=self.seed,
            name=self.network.spec,
            device=self.device,
            **run,
        )


@dataclass(frozen=True, eq=False)
class Trained:
    """A network in its chain, the test images `[n, 3, h, w]`, normalized, and their labels.

    `history` has a row an epoch, in the columns of `training.TrainingRun`.
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
    """Train `arch` on `data` and cut it, with the first `limit` test images.

    `recipe` is `2015`, `fast` or `digits` (by default that of the data); `changes` are fields of
    `training.Recipe`, such as `epochs` or `effective_paths`. `seed` decides the initial weights
    and the training. In the folder `work` a checkpoint is kept, from which the same call goes on,
    or which it takes as it is where it is complete. Raises `ProbeError` as `training.train` does,
    and for unknown names.
    """
    import torch

    from resnet_probe.loading.prepared import cut, find_device

    request = TrainingRequest(
        arch=arch, data=data, test_data=test_data, data_root=data_root, recipe=recipe, seed=seed,
        precision="float32", device=where,
    )  # fmt: skip
    device = find_device(where)
    ready = request.ready(device, **changes)
    name = as_file_name(f"{ready.network.spec} {data} {seed} {changes}")
    kept = work / f"{name}.pt" if work else None
    run = ready.train(checkpoint=kept, resume=True, progress=progress)
    some = ready.test_set.take(limit)
    images = ready.normalization.apply(torch.cat(list(some.pieces()))).to(device)
    chain = cut(ready.network, run.model, images[:1])
    return Trained(chain, images, some.labels, run.history)
