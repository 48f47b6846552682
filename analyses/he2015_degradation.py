"""Training and test error by epoch of plain and of residual networks, shallow and deep.

Paper    He, Zhang, Ren, Sun 2015, arXiv 1512.03385, section 4.2 and figure 6
Claim    Deeper plain networks have a higher training error (degradation); with shortcuts the
         deeper network is the better one.
Here     handwritten digits (899 training images), 40 epochs, one seed: in the last one plain20 has
         0.11 % training and 1.00 % test error, plain56 33.82 and 24.05 %, resnet20 0.00 and 0.67
         %, resnet56 0.33 and 1.45 %. So the deeper plain network degrades, in training error too,
         and shortcuts undo it (0.33 instead of 33.82 %); that depth then helps cannot be seen on
         so small a set (0.67 and 1.45 % of 898 images: the Wilson intervals overlap; those of the
         two plain networks do not). One seed: how another one would end is not in them. 337 s of
         CPU time (one thread, PyTorch 2.15)
         photographs, 50,000 of CIFAR-10's training images stored as JPEG, 20 epochs, one seed, as
         the cards tell: plain20 13.38 % training and 16.04 % test error, plain56 24.85 and 26.75 %,
         resnet20 10.05 and 14.06 %, resnet56 7.07 and 11.92 %. So the deeper plain network degrades
         and the deeper residual one is the better, in training and in test error, as claimed. The
         networks of 56 layers took steps of 256 images in place of 128, and their own rates (0.1
         for the plain one, which had ended at 59.6 % at 0.2, in 16 epochs)
Run      python analyses/he2015_degradation.py     (--tiny: narrow networks, two epochs;
         --data, --test-data, --recipe, --epochs and --depths for the real thing on a GPU)
         photographs: --zoo cifar10-jpeg, the histories that cards tell, nothing trained
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from resnet_probe import Result, figures, trained, zoo

HERE = Path(__file__).parent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiny", action="store_true", help="narrow networks, two epochs")
    options.add_argument("--depths", nargs="+", type=int, default=[20, 56])
    options.add_argument("--epochs", type=int, default=40)
    options.add_argument("--data", default="digits")
    options.add_argument("--test-data")
    options.add_argument("--recipe")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--zoo", help="trainings that cards tell of, as cifar10-jpeg")
    options.add_argument("--work", type=Path, default=Path("runs"), help="where networks are kept")
    options.add_argument("--out", type=Path, help="(default: beside this file)")
    given = options.parse_args()
    given.out = given.out or HERE / f"he2015_degradation{'-photographs' if given.zoo else ''}"
    depths = [8, 14] if given.tiny else given.depths
    histories, commands = [], {}
    for arch in [kind.format(depth) for kind in KINDS[given.tiny] for depth in depths]:
        if given.zoo:
            history, commands[arch] = told(arch, given.zoo)
        else:
            history = made(arch, given)
        histories.append(history.assign(arch=arch))
        last = history.iloc[-1]
        print(
            f"{arch}: {last['train_error_pct']:.2f} % training and {last['test_error_pct']:.2f} % "
            f"test error after {len(history)} epochs"
        )
    table = pd.concat(histories, ignore_index=True)
    where = given.zoo or given.data
    figure = figures.error_by_epoch(table, title=f"Plain and residual networks, {where}")
    identity = {"study": "he2015-degradation", "data": where, "depths": depths}
    if given.zoo:
        identity["trainings"] = commands
    else:
        identity |= {"epochs": len(histories[0]), "seed": given.seed, "recipe": given.recipe}
    result = Result("he2015-degradation", table, {"identity": identity})
    print(result.save(given.out, figures={"figure": figure}))


def told(arch: str, data: str) -> tuple[pd.DataFrame, str]:
    """The history in a card, one row an epoch, and the command; of several, the first seed's."""
    cards = [*zoo.cards(), *zoo.cards(HERE / "seeds")]
    fit = [card for card in cards if (card.arch, card.data) == (arch, data) and card.history]
    if not fit:
        raise SystemExit(f"no card of {arch} on {data} tells how it was trained, epoch by epoch")
    card = min(fit, key=lambda card: card.seed)
    history = pd.DataFrame(card.history)
    return history.assign(epoch=range(1, len(history) + 1)), card.command


def made(arch: str, given: argparse.Namespace) -> pd.DataFrame:
    """The history of a training here, or of one found where it was kept."""
    return trained(
        arch, data=given.data, test_data=given.test_data, recipe=given.recipe,
        epochs=2 if given.tiny else given.epochs, seed=given.seed,
        work=None if given.tiny else given.work,
    ).history  # fmt: skip


KINDS = {
    False: ("plain{}", "resnet{}"),
    True: ("plain:depth={},width=4", "resnet:depth={},width=4"),
}


if __name__ == "__main__":
    main()
