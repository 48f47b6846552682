"""`zoo`: the weights that come with the package, and how to make more of them."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli import options as shared
from resnet_probe.errors import ProbeError, on_one_line
from resnet_probe.loading.trained import TrainingRequest

if TYPE_CHECKING:
    from resnet_probe.zoo.verify import Verdict

NAME = "zoo"
DONE = "done"
OF_A_NETWORK = ("arch", "seed", "stochastic_depth", "deleted_blocks")
COMPARED = ("epochs", "batch", "lr", "warmup", "weight_decay", "label_smoothing", "resolution")


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="list the bundled weights, or check their cards",
        description="List the bundled weights: what they were trained on and how good they are; "
        "evaluate each again and hold it against its card; train those that a zoo of photographs "
        "should have; or add a network that `train` made.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="name, data, error, epochs, size")
    listing.set_defaults(run=list_cards)
    verify = actions.add_parser("verify", help="evaluate each network on its test images again")
    verify.add_argument(
        "--data-root", type=Path, metavar="DIR",
        help="where parquet files with the images lie that do not come with the package; they are "
        "known by their content",
    )  # fmt: skip
    verify.set_defaults(run=verify_cards)
    _add_add(actions)
    _add_train(actions)


def _add_train(actions: Any) -> None:
    train = actions.add_parser(
        "train",
        help="train networks one after the other",
        description="Train networks that a zoo of photographs should have, one after the other: on "
        "CIFAR-10 by default, 24 epochs of the fast recipe, on small images first. Repeated, the "
        "command leaves out what is done and goes on where it stopped. Under torchrun, each "
        "process trains its share of the networks, on a CUDA device of its own.",
    )
    train.add_argument("names", nargs="*", metavar="NAME", help="from --list")
    train.add_argument("--list", action="store_true", help="which there are, and how far they are")
    shared.add(train, TrainingRequest, leave=OF_A_NETWORK)
    train.add_argument(
        "--out", type=Path, default=Path("runs/zoo"), metavar="DIR",
        help="a folder for each network in it (default: runs/zoo)",
    )  # fmt: skip
    train.set_defaults(
        run=train_networks, data="cifar10", recipe="fast", epochs=24, resolution=(16, 24, 32)
    )


def _add_add(actions: Any) -> None:
    add = actions.add_parser("add", help="take a trained network into the zoo")
    add.add_argument("card", type=Path, metavar="CARD", help="the .json beside its weights")
    add.add_argument("--name", required=True, help="what its data are called, as cifar10-jpeg")
    add.add_argument("--note", default="", metavar="TEXT", help="what a reader must know of them")
    add.add_argument("--data", metavar="NAME", help="its test images (default: as the card says)")
    add.add_argument(
        "--also", action="append", default=[], metavar="NAME=DATA",
        help="other images, by name, to report its error on too; may be repeated",
    )  # fmt: skip
    add.add_argument("--to", type=Path, metavar="DIR", help="(default: the package's own zoo)")
    add.set_defaults(run=add_card)


def list_cards(options: Namespace) -> int:
    import pandas as pd

    from resnet_probe import zoo
    from resnet_probe.zoo.store import SHIPPED

    cards = zoo.cards()
    rows: list[dict[str, Any]] = [
        {
            "name": card.stem,
            "architecture": card.arch,
            "data": card.data,
            "error %": f"{card.error_pct:.2f}",
            "also %": ", ".join(f"{other.error_pct:.2f}" for other in card.also),
            "epochs": card.epochs,
            "seed": card.seed,
            "KiB": (SHIPPED / f"{card.stem}.safetensors").stat().st_size // 1024,
        }
        for card in cards
    ]
    print(pd.DataFrame(rows).to_string(index=False))
    whole = sum(row["KiB"] for row in rows) / 1024
    print(f"\n{whole:.1f} MiB in all. Each was made with the command in its card "
          "(resnet_probe/zoo/*.json).")  # fmt: skip
    notes = {f"{card.data}: {card.note}, {card.images:,} test images" for card in cards}
    notes |= {
        f"also: {other.name}, {other.images:,} images ({other.note})"
        for card in cards
        for other in card.also
    }
    print("\n".join(sorted(note.replace(": ,", ":") for note in notes)))
    return 0


def verify_cards(options: Namespace) -> int:
    from resnet_probe import zoo
    from resnet_probe.zoo.verify import verify

    verdicts = []
    for card in zoo.cards():
        for verdict in verify(card, root=options.data_root):
            print(sentence(verdict), flush=True)
            verdicts.append(verdict.holds)
    skipped = verdicts.count(None)
    if skipped:
        where = "in --data-root" if options.data_root else "here: give --data-root"
        print(f"{skipped} skipped: their images are not {where}")
    return 1 if False in verdicts else 0


def sentence(verdict: Verdict) -> str:
    """``resnet20-digits on digits: 892 of 898 correct, as its card says``."""
    said = verdict.said
    note = f" ({said.note})" if said.note else ""
    start = f"{verdict.card.stem} on {said.name}{note}: "
    if verdict.correct is None:
        return f"{start}skipped, {said.images:,} images with SHA-256 {said.data_sha256[:12]}…"
    ending = "as its card says" if verdict.holds else f"the card says {said.correct}"
    return f"{start}{verdict.correct} of {said.images} correct, {ending}"


def add_card(options: Namespace) -> int:
    from resnet_probe import data
    from resnet_probe.zoo import Card
    from resnet_probe.zoo.adding import add
    from resnet_probe.zoo.store import SHIPPED

    card = Card.read(options.card)
    test_set = data.load(options.data or card.test_data or card.data)
    also = {name: data.load(spec) for name, spec in map(named, options.also)}
    folder = options.to or SHIPPED
    added = add(
        options.card, test_set, name=options.name, note=options.note, also=also, folder=folder
    )
    errors = [(added.images_called, added.error_pct, added.correct, added.images)]
    errors += [(each.name, each.error_pct, each.correct, each.images) for each in added.also]
    for where, error, correct, images in errors:
        print(f"{where}: {error:.2f} % error ({correct} of {images} correct)")
    print(f"{folder.resolve()}: {added.stem}.safetensors, {added.stem}.json")
    return 0


def train_networks(options: Namespace) -> int:
    """Train what is named and not done yet; 1 where one of them could not be trained."""
    from resnet_probe.zoo.adding import WANTED

    unknown = [name for name in options.names if name not in WANTED]
    if unknown:
        raise ProbeError(f"there is no network {unknown[0]!r} to train: {', '.join(WANTED)}")
    if options.list:
        for name in options.names or WANTED:
            print(f"{name:<22}{how_far(name, options)}".rstrip())
        return 0
    if not options.names:
        raise ProbeError("which networks? name some: zoo train --list says which there are")
    failed = [name for name in own_share(options.names) if not trained(name, options)]
    return 1 if failed else 0


def own_share(names: Sequence[str]) -> Sequence[str]:
    """All of them, or those of this process where torchrun has started several."""
    from resnet_probe.training import processes_started

    started = processes_started()
    return names[int(os.environ["RANK"]) :: started] if started > 1 else names


def trained(name: str, options: Namespace) -> bool:
    """Train one network, or what is left of it; False, and said, where that cannot be done."""
    from resnet_probe.cli.train import INTERRUPTED, train

    folder = options.out / name
    try:
        if (far := how_far(name, options)).startswith(DONE):
            print(f"{name}: {far}, {folder}", flush=True)
            return True
        request = request_for(name, options)
        code = train(request, out=folder, resume=True, called=name, alone=True)
    except ProbeError as error:
        said = shared.in_words_of_the_command(str(error), vars(options))
        print(f"error: {name}: {on_one_line(said)}", file=sys.stderr)
        return False
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        raise KeyboardInterrupt(f"{folder} holds the state; the same command goes on")
    return code == 0


def request_for(name: str, options: Namespace) -> TrainingRequest:
    """What is asked for, and what is special about this network where nothing else is asked for."""
    from resnet_probe.zoo.adding import WANTED

    own = {key: value for key, value in WANTED[name].items() if getattr(options, key, None) is None}
    return shared.read(TrainingRequest, options, **own)


def how_far(name: str, options: Namespace) -> str:
    """`done, 12.21 % error`, `stopped after 3 of 24 epochs`, or nothing.

    Raises ProbeError where the folder holds another training of it.
    """
    from resnet_probe import results

    folder, request = options.out / name, request_for(name, options)
    if (folder / "history").is_dir():
        made = results.load(folder / "history")
        for key in COMPARED:
            value = getattr(request, key)
            value = list(value) if isinstance(value, tuple) else value
            if value is not None and made.identity.get(key) != value:
                raise ProbeError(
                    f"{folder} holds a training with {key} {made.identity.get(key)}, not {value}: "
                    "give another out="
                )
        return f"{DONE}, {made.provenance['test_error_pct']:.2f} % error"
    if (folder / "checkpoint.pt").is_file():
        import torch

        kept = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
        return f"stopped after {len(kept['history'])} of {kept['options']['epochs']} epochs"
    return ""


def named(text: str) -> tuple[str, str]:
    """``NAME=DATA`` as the two."""
    name, equals, spec = text.partition("=")
    if not (name and equals and spec):
        raise ProbeError(f"--also {text!r}: write NAME=DATA, as cifar10-lossless=parquet:FILE")
    return name, spec
