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
Run      python analyses/he2015_degradation.py     (--tiny: narrow networks, two epochs;
         --data, --test-data, --recipe, --epochs and --depths for the real thing on a GPU)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from resnet_probe import Result, figures, trained

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
    options.add_argument("--work", type=Path, default=Path("runs"), help="where networks are kept")
    options.add_argument("--out", type=Path, default=HERE / "he2015_degradation")
    given = options.parse_args()
    depths = [8, 14] if given.tiny else given.depths
    epochs = 2 if given.tiny else given.epochs
    work = None if given.tiny else given.work
    histories = []
    for arch in [kind.format(depth) for kind in KINDS[given.tiny] for depth in depths]:
        found = trained(
            arch, data=given.data, test_data=given.test_data, recipe=given.recipe,
            epochs=epochs, seed=given.seed, work=work,
        )  # fmt: skip
        histories.append(found.history.assign(arch=arch))
        last = found.history.iloc[-1]
        print(
            f"{arch}: {last['train_error_pct']:.2f} % training and {last['test_error_pct']:.2f} % "
            f"test error after {epochs} epochs"
        )
    table = pd.concat(histories, ignore_index=True)
    figure = figures.error_by_epoch(table, title=f"Plain and residual networks, {given.data}")
    identity = {"study": "he2015-degradation", "data": given.data, "epochs": epochs,
                "depths": depths, "seed": given.seed, "recipe": given.recipe}  # fmt: skip
    result = Result("he2015-degradation", table, {"identity": identity})
    print(result.save(given.out, figures={"figure": figure}))


KINDS = {
    False: ("plain{}", "resnet{}"),
    True: ("plain:depth={},width=4", "resnet:depth={},width=4"),
}


if __name__ == "__main__":
    main()
