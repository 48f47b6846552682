"""Deleting a block of a network that was trained with stochastic depth.

Paper    Huang et al. 2016, arXiv 1603.09382; Veit, Wilber, Belongie 2016, arXiv 1605.06431, fig. 7
Claim    A network that lost random blocks in training loses less when one is deleted: single
         deletions of the published networks have medians of 11.6, 8.4, 6.8 and 5.26 % error with
         20, 32, 56 and 110 layers, against 44.7, 17.6, 9.7 and 6.46 % without.
Here     handwritten digits, preresnet56, 60 epochs, one seed each way, 898 test images, one block
         deleted: trained with all blocks 0.89 % error, +0.11 points in the median (95 % CI +0.00
         to +0.67, n = 27), +82.85 at worst; with stochastic depth (last block kept with
         probability 0.5) 1.56 %, −0.11 points (−0.11 to +0.22), +47.10 at worst. The direction is
         as published, the medians do not differ beyond their intervals, and block 1 stays
         indispensable. 394 s of CPU time (one thread, PyTorch 2.15)
Run      python analyses/huang2016_stochastic_depth.py      (--tiny: a narrow network, two epochs;
         --arch, --data, --test-data, --recipe and --epochs for the real thing on a GPU)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from resnet_probe import Result, figures, lesion, trained
from resnet_probe.stats import median_interval

HERE = Path(__file__).parent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiny", action="store_true", help="a narrow network, two epochs")
    options.add_argument("--arch", default="preresnet56")
    options.add_argument("--survival", type=float, default=0.5, help="of the last block")
    options.add_argument("--epochs", type=int, default=60)
    options.add_argument("--data", default="digits")
    options.add_argument("--test-data")
    options.add_argument("--recipe")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--work", type=Path, default=Path("runs"), help="where networks are kept")
    options.add_argument("--out", type=Path, default=HERE / "huang2016_stochastic_depth")
    given = options.parse_args()
    arch = "preresnet:depth=14,width=4" if given.tiny else given.arch
    epochs = 2 if given.tiny else given.epochs
    work = None if given.tiny else given.work
    regime = f"{arch}{',' if ':' in arch else ':'}stochastic_depth={given.survival:g}"
    tables = []
    for spec, label in ((arch, "all blocks"), (regime, "stochastic depth")):
        found = trained(
            spec, data=given.data, test_data=given.test_data, recipe=given.recipe,
            epochs=epochs, seed=given.seed, work=work, limit=48 if given.tiny else None,
        )  # fmt: skip
        table = lesion(found.chain, found.images, found.labels).table
        tables.append(table.assign(arch=spec, label=label))
        print(sentence(label, table))
    whole = pd.concat(tables, ignore_index=True)
    figure = figures.deletions_by_network(
        whole, title=f"One block of {arch} deleted, {given.data}, {len(found.images)} images"
    )
    identity = {"study": "huang2016-stochastic-depth", "arch": regime, "data": given.data,
                "epochs": epochs, "seed": given.seed, "recipe": given.recipe}  # fmt: skip
    result = Result("huang2016-stochastic-depth", whole, {"identity": identity})
    print(result.save(given.out, figures={"figure": figure}))


def sentence(label: str, table: pd.DataFrame) -> str:
    """RESULT, a line for each regime."""
    base, edited = table.iloc[0], table.iloc[1:]
    middle = median_interval(edited["delta_pct"])
    return (
        f"trained with {label}: {base.error_pct:.2f} % error; one block deleted: "
        f"{middle.value:+.2f} points in the median (95 % CI {middle.low:+.2f} to "
        f"{middle.high:+.2f}, n = {len(edited)}), {edited['delta_pct'].max():+.2f} at worst"
    )


if __name__ == "__main__":
    main()
