"""`zoo`: the weights that come with the package."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.errors import ProbeError

if TYPE_CHECKING:
    from resnet_probe.zoo.verify import Verdict

NAME = "zoo"


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="list the bundled weights, or check their cards",
        description="List the bundled weights: what they were trained on and how good they are; "
        "evaluate each again and hold it against its card; or add a network that `train` made.",
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


def named(text: str) -> tuple[str, str]:
    """``NAME=DATA`` as the two."""
    name, equals, spec = text.partition("=")
    if not (name and equals and spec):
        raise ProbeError(f"--also {text!r}: write NAME=DATA, as cifar10-lossless=parquet:FILE")
    return name, spec
