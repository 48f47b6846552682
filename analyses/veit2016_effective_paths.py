"""Training on a random few blocks at a time, so that only short paths are ever trained.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, section 4.3
Claim    With 23 random blocks of 54 in every mini-batch a 110-layer network reaches 5.96 % error,
         with all of them 6.10 %: the short, effective paths are enough.
Here     handwritten digits, preresnet32, 40 epochs, 3 seeds, 6 random blocks of 15 in every
         mini-batch: 3.16 % error against 0.82 % with all of them, +2.34 points (95 % CI +1.38 to
         +3.30, paired by seed, n = 3). So the claim does not hold in so short a training of so
         shallow a network: 600 steps, of which a block sees 40 %; the published network has 54
         blocks. Batch-norm statistics were estimated again with all blocks before the test. 431 s
         of CPU time (one thread, PyTorch 2.15)
Run      python analyses/veit2016_effective_paths.py        (--tiny: a narrow network, two epochs;
         --arch, --blocks, --data, --test-data, --recipe and --epochs for the real thing on a GPU)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from resnet_probe import Result, figures, trained
from resnet_probe.stats import mean_interval

HERE = Path(__file__).parent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiny", action="store_true", help="a narrow network, two epochs")
    options.add_argument("--arch", default="preresnet32")
    options.add_argument("--blocks", type=int, default=6, help="kept in every mini-batch")
    options.add_argument("--epochs", type=int, default=40)
    options.add_argument("--data", default="digits")
    options.add_argument("--test-data")
    options.add_argument("--recipe")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--work", type=Path, default=Path("runs"), help="where networks are kept")
    options.add_argument("--out", type=Path, default=HERE / "veit2016_effective_paths")
    given = options.parse_args()
    arch = "preresnet:depth=14,width=4" if given.tiny else given.arch
    kept = 3 if given.tiny else given.blocks
    work = None if given.tiny else given.work
    epochs, seeds = (2, 2) if given.tiny else (given.epochs, given.seeds)
    histories = []
    for seed in range(seeds):
        for blocks, label in ((None, "all blocks"), (kept, f"{kept} blocks a mini-batch")):
            found = trained(
                arch, data=given.data, test_data=given.test_data, recipe=given.recipe,
                epochs=epochs, effective_paths=blocks, seed=seed, work=work,
            )  # fmt: skip
            rows = found.history.assign(regime=label, seed=seed, arch=f"{label}, seed {seed}")
            histories.append(rows)
            print(f"{arch}, {label}, seed {seed}: {rows['test_error_pct'].iloc[-1]:.2f} % error")
    table = pd.concat(histories, ignore_index=True)
    print(sentence(table))
    first = table[table["seed"] == 0].assign(arch=table["regime"])
    figure = figures.error_by_epoch(first, title=f"{arch} on {given.data}, seed 0 of {seeds}")
    identity = {"study": "veit2016-effective-paths", "arch": arch, "blocks": kept, "seeds": seeds,
                "data": given.data, "epochs": epochs, "recipe": given.recipe}  # fmt: skip
    result = Result("veit2016-effective-paths", table, {"identity": identity})
    print(result.save(given.out, figures={"figure": figure}))


def sentence(table: pd.DataFrame) -> str:
    """RESULT: the difference between the regimes, seed by seed."""
    last = table[table["epoch"] == table["epoch"].max()]
    errors = last.pivot(index="seed", columns="regime", values="test_error_pct")
    few = next(name for name in errors.columns if name != "all blocks")
    difference = mean_interval(errors[few] - errors["all blocks"])
    return (
        f"{few} against all: {errors[few].mean():.2f} % and {errors['all blocks'].mean():.2f} % "
        f"error, a difference of {difference.value:+.2f} points (95 % CI {difference.low:+.2f} to "
        f"{difference.high:+.2f}, paired by seed, n = {len(errors)})"
    )


if __name__ == "__main__":
    main()
