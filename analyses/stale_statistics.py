"""What a deletion costs as it stands, and with batch-norm statistics of its own.

Paper    none that we know of; the deletions are those of Veit, Wilber, Belongie 2016, arXiv
         1605.06431, section 4.1, whose edited networks keep the statistics of the whole one
Claim    What deleting a block of a shallow residual network costs is mostly stale batch-norm
         statistics; of a plain network it is the missing layer
Here     median change of a deletion in points (95 % CI over images), as it stands and with the
         statistics of 500 training images. 898 digits: resnet20 +11.02 (+9.03 to +12.98) and +0.33
         (+0.05 to +0.54); plain20 +91.43 (+89.82 to +92.18) and +91.04 (+89.45 to +92.10).
         1,000 photographs (JPEG): resnet20 +23.40 (+20.21 to +26.26) and +5.90 (+3.82 to +7.42);
         preresnet20 +40.80 (+37.18 to +43.51) and +6.20 (+4.37 to +8.61); plain20 +73.40 (+70.57 to
         +75.83) and +69.75 (+66.82 to +71.92); resnet56 +1.20 (+0.56 to +2.34) and +1.10 (+0.27 to
         +1.74); plain56 +61.30 (+57.71 to +64.02) and +51.00 (+48.12 to +53.97); resnet110 +0.55
         (+0.12 to +1.28) and +0.30 (−0.24 to +0.77); preresnet110 +0.65 (+0.09 to +1.26) and +0.20
         (−0.05 to +0.70), its first block +23.90 and +4.00. Statistics of 500 images cost
         the whole network points too (here 11.70 to 15.80 %); changes are on that baseline
Run      python analyses/stale_statistics.py           (--tiny: one network, few images)
         photographs: --zoo cifar10-jpeg --data parquet:FILE --limit 1000, CIFAR-10's test images;
         the training images beside them are found by name (test-… and train-…)
"""

from __future__ import annotations

import argparse

import pandas as pd

from resnet_probe import Result, figures
from resnet_probe.findings.lesion import median_change
from resnet_probe.loading.training_images import Recalibration
from resnet_probe.runs.several import (
    given_to,
    images_of,
    lesion_of,
    of_runs,
    parser,
    training_images,
)

STUDY = "stale-statistics"
ARCHS = ("resnet20", "plain20")
OWN = "recalibrated_"
TRAINING = 500


def main() -> None:
    given = options()
    results = [renewed(arch, given) for arch in given.archs]
    print(*map(sentence, results), sep="\n")
    table = pd.concat([part for each in results for part in parts(each)], ignore_index=True)
    figure = figures.deletions_by_network(
        table,
        title=f"One block or layer deleted, {images_of(results[0])}",
        chance_pct=100 * (1 - 1 / results[0].provenance["classes"]),
    )
    whole = of_runs(STUDY, table, results)
    print(whole.save(given.out, figures={"figure": figure}))


def options() -> argparse.Namespace:
    asked = parser(__doc__, tiny="few images")
    asked.add_argument("--archs", nargs="+", default=ARCHS, metavar="NAME", help="other networks")
    given = given_to(asked, __file__, few=48)
    given.archs = ARCHS[:1] if given.tiny else given.archs
    return given


def renewed(arch: str, given: argparse.Namespace) -> Result:
    """Found where `lesion --recalibrate` keeps it, or measured and kept there."""
    own, images = training_images(given), 24 if given.tiny else TRAINING
    asked = Recalibration(recalibrate=images, recalibrate_data=own)
    return lesion_of(arch, given, recalibration=asked)


def parts(result: Result) -> list[pd.DataFrame]:
    """The deletions as they stand, and those with statistics of their own."""
    table, arch = result.table, result.identity["arch"]
    columns = ("error_pct", "delta_pct", "ci_low_pct", "ci_high_pct")
    own = table.assign(**{name: table[OWN + name] for name in columns})
    return [
        table.assign(arch=arch, statistics="trained", label=f"{arch}, as it stands"),
        own.assign(arch=arch, statistics="own", label=f"{arch}, statistics re-estimated"),
    ]


def sentence(result: Result) -> str:
    """A line for each network; intervals are over images."""
    stale, own = median_change(result), result.provenance[f"{OWN}median_delta_pct"]
    worst = result.table.iloc[1:].nlargest(1, "error_pct").iloc[0]
    return (
        f"{result.identity['arch']}: {result.table['error_pct'].iloc[0]:.2f} % error; median "
        f"deletion {stale.value:+.2f} points (95 % CI {stale.low:+.2f} to {stale.high:+.2f}), with "
        f"statistics of {result.identity['recalibrate']} training images {own[0]:+.2f} "
        f"({own[1]:+.2f} to {own[2]:+.2f}); worst {worst['blocks']}: {worst['error_pct']:.2f} % "
        f"to {worst[OWN + 'error_pct']:.2f} %"
    )


if __name__ == "__main__":
    main()
