"""`train`: train an architecture, save its weights with their card, and its history."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli.train_request import (
    RECIPE_OPTIONS,
    folder_name,
    image_sets,
    recipe_of,
    with_regime,
)
from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    import torch

    from resnet_probe.data import ImageSet
    from resnet_probe.training import Team

NAME = "train"
INTERRUPTED = 130


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="train an architecture",
        description="Train an architecture from scratch. The weights are saved in half precision "
        "with a card that says how they were made and how good they are, the history of the "
        "training beside them. An interrupted training goes on with --resume. On several devices: "
        "torchrun --nproc-per-node K -m resnet_probe train …",
    )
    parser.add_argument("--arch", required=True, metavar="NAME")
    parser.add_argument("--data", default="digits", metavar="NAME", help="(default: digits)")
    parser.add_argument("--test-data", metavar="NAME", help="test images (default: the set's own)")
    parser.add_argument("--data-root", type=Path, metavar="DIR")
    parser.add_argument("--normalize", metavar="NAME", help="(default: measured on the images)")
    _add_recipe(parser)
    _add_regime(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--compile", action="store_true", help="compile the steps (a minute or more, once)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to save (default: runs/train-ARCH-DATA)"
    )
    parser.set_defaults(run=run)


def _add_recipe(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("the recipe, and what to change in it")
    group.add_argument(
        "--recipe",
        metavar="NAME",
        help="2015 (He et al.: 164 epochs, the rate in steps), fast (60 epochs, one cycle) or "
        "digits (default: digits for the digits, else 2015)",
    )
    for name, (kind, metavar, text) in RECIPE_OPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=text)


def _add_regime(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("options of the architecture")
    group.add_argument(
        "--stochastic-depth",
        metavar="P",
        help="as in --arch NAME:stochastic_depth=P: mini-batches leave blocks out by chance; P is "
        "the last block's probability to stay",
    )
    group.add_argument(
        "--deleted-blocks",
        metavar="LIST",
        help="as in --arch NAME:deleted=3+7: train what a lesion of blocks 3 and 7 leaves (3,7)",
    )


def run(options: Namespace) -> int:
    from resnet_probe import training
    from resnet_probe.loading import find_device

    with training.joined(find_device(options.device)) as (team, device):
        try:
            return run_in_team(options, team, device)
        except ProbeError:
            if team.leads:
                raise
            return 2  # said once is enough


def run_in_team(options: Namespace, team: Team, device: torch.device) -> int:
    from resnet_probe import data, models, training
    from resnet_probe.cli.train_card import facts_of
    from resnet_probe.cli.train_progress import TrainProgress
    from resnet_probe.results import refuse_other
    from resnet_probe.runs.progress import progress_bar

    options.arch = with_regime(options)
    arch = models.architecture(options.arch)
    train_set, test_set = image_sets(options, arch.input_shape[1:])
    scale = data.normalization(options.normalize) if options.normalize else data.measure(train_set)
    model = arch.build(len(train_set.class_names), seed=options.seed)
    recipe = recipe_of(options, model, device)
    what: dict[str, Any] = {"normalization": scale, "recipe": recipe, "seed": options.seed}
    folder = options.out or Path("runs") / folder_name(arch.spec, data.slug(options.data), recipe)
    checkpoint = folder / "checkpoint.pt"
    if team.leads:
        if (folder / "history").exists():
            identity = training.identity_of(arch.spec, train_set, test_set, **what)
            refuse_other(folder / "history", identity)
        print(f"{arch.spec} on {options.data}: {recipe.epochs} epochs, {folder}")
    try:
        with progress_bar("training") as bar, training.asked_to_stop() as stop:
            progress = TrainProgress(recipe.epochs, bar)
            found = training.train(
                model,
                train_set,
                test_set,
                **what,
                name=arch.spec,
                device=device,
                checkpoint=checkpoint,
                resume=options.resume,
                compiled=options.compile,
                team=team,
                stop=stop,
                progress=progress,
                watch=progress.step,
            )
    except KeyboardInterrupt as stopped:
        if not team.leads:
            return INTERRUPTED
        how = str(stopped) or f"{checkpoint} holds an earlier state"
        raise KeyboardInterrupt(f"{how}; go on with --resume") from None
    if team.leads:
        facts = facts_of(options, recipe, team, device)
        save(found, train_set, test_set, what, facts, folder)
        checkpoint.unlink()
    return 0


def save(
    found: Any,
    train_set: ImageSet,
    test_set: ImageSet,
    what: dict[str, Any],
    facts: dict[str, Any],
    folder: Path,
) -> None:
    """The weights and their card, and the history with its figure in a folder of its own."""
    from resnet_probe import figures, zoo
    from resnet_probe.cli.train_card import card_of

    network, (scale, recipe, _) = zoo.rounded(found.model), what.values()
    card = card_of(network, found, train_set, test_set, scale, recipe, facts)
    card = zoo.save(network, card, folder)
    history = found.result(**facts, test_error_pct=card.error_pct)
    drawn = figures.draw_all(history)
    history.save(folder / "history", figures=drawn)
    print(f"\ntest error {card.error_pct:.2f} % ({card.correct} of {card.images} correct)")
    print(f"{folder.resolve()}: {card.stem}.safetensors, {card.stem}.json, "
          "history (table.csv, provenance.json, figure.png, figure.svg)")  # fmt: skip
