"""`train`: train an architecture and save its weights with their card."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnet_probe.errors import ProbeError

NAME = "train"
RECIPE_OPTIONS = {
    "epochs": int,
    "batch": int,
    "lr": float,
    "warmup": float,
    "weight_decay": float,
    "label_smoothing": float,
    "precision": str,
}


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="train an architecture",
        description="Train an architecture from scratch; the weights are saved in half precision "
        "with a card that says how they were made and how good they are. An interrupted training "
        "goes on with --resume.",
    )
    parser.add_argument("--arch", required=True, metavar="NAME")
    parser.add_argument("--data", default="digits", metavar="NAME", help="(default: digits)")
    parser.add_argument("--test-data", metavar="NAME", help="test images (default: the set's own)")
    parser.add_argument("--data-root", type=Path, metavar="DIR")
    parser.add_argument("--normalize", metavar="NAME", help="(default: measured on the images)")
    recipe = parser.add_argument_group("the recipe, and what to change in it")
    recipe.add_argument(
        "--recipe",
        metavar="NAME",
        help="2015 (He et al.: 164 epochs, the rate in steps), fast (60 epochs, one cycle) or "
        "digits (default: digits for the digits, else 2015)",
    )
    for name, kind in RECIPE_OPTIONS.items():
        recipe.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to save (default: runs/train-ARCH-DATA)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    from resnet_probe import data, models, training, zoo
    from resnet_probe.loading import find_device

    arch = models.architecture(options.arch)
    if options.data.startswith(("parquet:", "imagefolder:")) and not options.test_data:
        raise ProbeError(f"{options.data} has one split: give --test-data, the images to test on")
    size = arch.input_shape[1:]
    where = {"root": options.data_root, "size": size}
    train_set = data.load(options.data, split="train", **where)
    test_set = data.load(options.test_data or options.data, split="test", **where)
    scale = data.normalization(options.normalize) if options.normalize else data.measure(train_set)
    given = {name: getattr(options, name) for name in RECIPE_OPTIONS}
    model = arch.build(len(train_set.class_names), seed=options.seed)
    recipe = replace(
        training.recipe(options.recipe or training.usual_recipe(options.data), model),
        **{k: v for k, v in given.items() if v is not None},
    )
    folder = options.out or Path("runs") / _folder_name(arch.spec, data.slug(options.data))
    checkpoint = folder / "checkpoint.pt"
    print(f"{arch.spec} on {options.data}: {recipe.epochs} epochs, {folder}")
    try:
        result = training.train(
            model,
            train_set,
            test_set,
            normalization=scale,
            recipe=recipe,
            seed=options.seed,
            device=find_device(options.device),
            checkpoint=checkpoint,
            resume=options.resume,
            progress=print_row,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the last whole epoch lies in {checkpoint}; go on with --resume") \
            from None  # fmt: skip
    network = zoo.rounded(result.model)
    card = zoo.Card(
        arch=arch.spec,
        data=options.data,
        normalize=scale.name,
        classes=len(train_set.class_names),
        command=_command(options),
        seed=options.seed,
        epochs=recipe.epochs,
        correct=training.count_correct(network, test_set, normalization=scale),
        images=len(test_set),
        seconds=round(float(result.history["seconds"].sum()), 1),
        versions=_versions(),
        machine=_machine(options),
        data_sha256=test_set.fingerprint(),
    )
    card = zoo.save(network, card, folder)
    result.history.to_csv(folder / "history.csv", index=False)
    checkpoint.unlink()
    print(f"\ntest error {card.error_pct:.2f} % ({card.correct} of {card.images} correct)")
    print(f"{folder.resolve()}: {card.stem}.safetensors, {card.stem}.json, history.csv")
    return 0


def print_row(row: dict[str, float]) -> None:
    print(
        f"epoch {row['epoch']:3.0f}  lr {row['lr']:.4f}  loss {row['train_loss']:.4f}  training "
        f"error {row['train_error_pct']:5.2f} %  test error {row['test_error_pct']:5.2f} %  "
        f"{row['seconds']:.1f} s",
        flush=True,
    )


def _folder_name(spec: str, data: str) -> str:
    return f"train-{spec.translate(str.maketrans(':,=', '---'))}-{data}"


def _command(options: Namespace) -> str:
    """The command that gives these weights, without the folder that they were written to."""
    given = [
        "python",
        "-m",
        "resnet_probe",
        "train",
        "--arch",
        options.arch,
        "--data",
        options.data,
    ]
    for name in ("test_data", "normalize", "recipe", *RECIPE_OPTIONS, "seed"):
        value = getattr(options, name)
        if value is not None:
            given += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(given)


def _versions() -> dict[str, str]:
    import torch

    from resnet_probe import __version__

    return {"resnet_probe": __version__, "torch": torch.__version__}


def _machine(options: Namespace) -> str:
    import platform

    import torch

    from resnet_probe.loading import find_device

    if find_device(options.device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
