"""`zoo`: the weights that come with the package."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

NAME = "zoo"


def add_parser(commands: Any) -> None:
    parser: ArgumentParser = commands.add_parser(
        NAME,
        help="list the bundled weights, or check their cards",
        description="List the bundled weights: what they were trained on and how good they are; "
        "or evaluate each again and hold it against its card.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="name, data, error, epochs, size")
    listing.set_defaults(run=list_cards)
    verify = actions.add_parser("verify", help="evaluate each network on its test images again")
    verify.set_defaults(run=verify_cards)


def list_cards(options: Namespace) -> int:
    import pandas as pd

    from resnet_probe import zoo
    from resnet_probe.zoo.store import SHIPPED

    rows = [
        {
            "arch": card.arch,
            "data": card.data,
            "error_pct": f"{card.error_pct:.2f}",
            "correct": f"{card.correct}/{card.images}",
            "epochs": card.epochs,
            "seed": card.seed,
            "KiB": (SHIPPED / f"{card.stem}.safetensors").stat().st_size // 1024,
            "weights_sha256": card.weights_sha256[:12],
        }
        for card in zoo.cards()
    ]
    print(pd.DataFrame(rows).to_string(index=False))
    print("\nEach was made with the command in its card (resnet_probe/zoo/*.json).")
    return 0


def verify_cards(options: Namespace) -> int:
    from resnet_probe import data, zoo
    from resnet_probe.training import count_correct

    differ = 0
    for card in zoo.cards():
        images = data.load(card.data)
        scale = data.normalization(card.normalize)
        correct = count_correct(zoo.load(card), images, normalization=scale)
        same = correct == card.correct and images.fingerprint() == card.data_sha256
        differ += not same
        verdict = "as its card says" if same else f"the card says {card.correct} of {card.images}"
        print(f"{card.arch} on {card.data}: {correct} of {len(images)} correct, {verdict}")
    return 1 if differ else 0
