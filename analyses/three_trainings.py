"""Deleting one block of networks that were trained three times: how much of it is the training.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, section 4.1, on one training of each network
Claim    Deleting one block barely changes the error of a deep residual network, and leaves a plain
         one at chance
Here     photographs, CIFAR-10's 10,000 test images stored as JPEG. Median change of a deletion in
         points, mean of three trainings (Student's 95 % CI over them; each with its interval over
         images): preresnet110 +0.54 (0.50 to 0.58; +0.53, +0.56, +0.53, none off by more than
         0.23), 11.85 % error (11.65–12.05); resnet56 +1.53 (1.31 to 1.75; +1.57, +1.59, +1.43,
         none off by more than 0.4), 11.96 % (11.68–12.25); resnet20 +24.05 (17.61 to 30.50;
         +22.61, +22.50, +27.05, each to within a point), 13.97 %; plain20 +72.73 (69.16 to 76.30;
         +73.31, +71.09, +73.78), 16.20 %. So between networks the claim does not hang on the
         training; within one, other seeds differ by more than its images say (resnet20), and the
         error without its worst block by far more: preresnet110 34.9, 72.8 and 41.8 %, each time
         without block 1; resnet56 30.2, 24.2 and 20.7 %. All but seed 0 of resnet20 and plain20 in
         minutes on an H200; the recipes of one network are alike but for the device
         (`analyses/seeds/*.json`)
Run      python analyses/three_trainings.py --zoo cifar10-jpeg --data parquet:FILE, CIFAR-10's test
         images; seeds 1 and 2 lie in `analyses/seeds`, seed 0 is bundled    (--tiny: small networks
         before any training, few digits)
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pandas as pd

from resnet_probe import Result, figures, zoo
from resnet_probe.findings.lesion import median_change
from resnet_probe.loading.request import Request
from resnet_probe.runs.job import obtained
from resnet_probe.runs.several import given_to, images_of, of_runs, parser
from resnet_probe.stats import Estimate, mean_interval

STUDY = "three-trainings"
ARCHS = ("preresnet110", "resnet56", "resnet20", "plain20")
FURTHER = Path(__file__).parent / "seeds"
TRAININGS = 3


def main() -> None:
    given = given_to(parser(__doc__, tiny="small networks, few digits"), __file__, few=48)
    runs = {
        f"{arch}, seed {seed}": obtained("lesion", request, root=given.work).result
        for arch in (ARCHS[2:] if given.tiny else ARCHS)
        for seed, request in enumerate(trainings(arch, given))
    }
    tables = [run.table.assign(label=label, arch=run.identity["arch"])
              for label, run in runs.items()]  # fmt: skip
    results = list(runs.values())
    for start in range(0, len(results), TRAININGS):
        print(sentence(results[start : start + TRAININGS]))
    table = pd.concat(tables, ignore_index=True)
    figure = figures.deletions_by_network(
        table,
        title=f"One block or layer deleted, three trainings each, {images_of(results[0])}",
        chance_pct=100 * (1 - 1 / results[0].provenance["classes"]),
    )
    print(of_runs(STUDY, table, results).save(given.out, figures={"figure": figure}))


def trainings(arch: str, given: Namespace) -> list[Request]:
    """One for each seed, by number."""
    common = {"data": given.data, "limit": given.limit}
    if given.tiny:
        small = f"{arch}:width=4"
        seeds = range(TRAININGS)
        return [Request(arch=small, weights=f"initial:{seed}", **common) for seed in seeds]
    first = Request(arch=arch, zoo=given.zoo, **common)
    further = [card for card in zoo.cards(FURTHER) if card.arch == arch]
    return [first] + [
        Request(arch=arch, weights=str(FURTHER / f"{card.stem}.safetensors"),
                normalize=card.normalize, **common)
        for card in sorted(further, key=lambda card: card.seed)
    ]  # fmt: skip


def sentence(results: list[Result]) -> str:
    """A line for each network; intervals are Student's, over trainings, else over images."""
    changes = [median_change(result) for result in results]
    each = ", ".join(f"{one.value:+.2f} ({one.low:+.2f} to {one.high:+.2f})" for one in changes)
    whole = mean_interval([result.table["error_pct"].iloc[0] for result in results])
    worst = ", ".join(f"{result.table['error_pct'].iloc[1:].max():.2f}" for result in results)
    middle = mean_interval([one.value for one in changes])
    return (
        f"{results[0].identity['arch']}: {described(whole)} % error; median change over trainings "
        f"{described(middle)} points, each (over images) {each}; without the worst block {worst} %"
    )


def described(found: Estimate) -> str:
    """`13.97 (95 % CI 13.55–14.40)`."""
    return f"{found.value:.2f} (95 % CI {found.low:.2f} to {found.high:.2f})"


if __name__ == "__main__":
    main()
