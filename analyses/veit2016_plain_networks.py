"""Deleting one layer of plain networks, with and without batch norm, beside residual ones.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, section 4.1 and figure 3
Claim    Any one layer of VGG deleted leaves it at chance (accuracies of 1.5 to 11.6 %). The
         comparison was criticised because that VGG had no batch norm; so both are here.
Here     handwritten digits, 898 test images, one seed each, one block or layer deleted (95 % CI
         over blocks; change over images): resnet20 0.67 % error, median 11.69 % (0.96–24.89 %;
         +11.02 points, +9.03 to +12.98), never at chance; plain20 1.00 %, 92.43 % (88.17–96.26 %;
         +91.43, +89.82 to +92.18), at or below chance after 13 of 18 deletions; quarter-width
         VGG-16 with batch norm 0.56 %, 90.31 % (85.02–91.17 %; +89.76, +87.54 to +91.43), 9 of 12.
         So the claim holds with batch norm, and in a plain network of the residual one's own
         layers
         photographs, CIFAR-10's 10,000 test images stored as JPEG (one seed each; three of
         all but plain56 and VGG in three_trainings.py): preresnet110 11.91 % error, median
         12.44 % (12.30–12.66 %; +0.53, +0.35 to +0.73) and resnet56 11.93 %,
         13.50 % (12.84–15.01 %; +1.57, +1.22 to +1.91), resnet20 14.10 %, 36.71 % (24.35–50.14 %;
         +22.61, +21.61 to +23.57), none of their 90 deletions at chance; plain56 26.78 %, 88.28 %
         (86.86–89.46 %; +61.49, +60.54 to +62.48), at or below chance after 20 of 54 deletions;
         plain20 16.30 %, 89.61 % (88.01–89.98 %; +73.31, +72.45 to +74.10), 11 of 18;
         quarter-width VGG-16 with batch norm 15.66 %, 88.29 % (84.82–90.36 %; +72.63, +71.81 to
         +73.54), 4 of 12; without 14.45 %, 87.83 % (86.02–89.34 %; +73.38, +72.53 to +74.14), 3 of
         12. So batch norm is not the difference: a plain network is lost with it and without
Run      python analyses/veit2016_plain_networks.py    (--tiny: two small networks, few images)
         photographs: --zoo cifar10-jpeg --data parquet:FILE, CIFAR-10's test images; runs that
         `lesion` left in runs/ are found there
"""

from __future__ import annotations

import argparse

import pandas as pd

from resnet_probe import Result, figures
from resnet_probe.findings.lesion import median_change, unit_of
from resnet_probe.runs.several import given_to, images_of, lesion_of, of_runs, parser
from resnet_probe.stats import median_interval, wilson

STUDY = "veit2016-plain-networks"
WORDS = {
    "vgg16_bn:width=16": "VGG-16 (plain, batch norm)",
    "vgg16:width=16": "VGG-16 (plain, no batch norm)",
}
ON_DIGITS = ("resnet20", "plain20", "vgg16_bn:width=16")
ON_PHOTOGRAPHS = ("preresnet110", "resnet56", "plain56", "resnet20", "plain20", *WORDS)
TINY = ("resnet20", "plain20")


def main() -> None:
    given = options()
    results = [lesion_of(arch, given) for arch in given.archs]
    print(*map(sentence, results), sep="\n")
    table = pd.concat(
        [each.table.assign(arch=each.identity["arch"], label=label(each)) for each in results],
        ignore_index=True,
    )
    figure = figures.deletions_by_network(
        table,
        title=f"One block or layer deleted, {images_of(results[0])}",
        chance_pct=100 * (1 - chance(results[0])),
    )
    whole = of_runs(STUDY, table, results)
    print(whole.save(given.out, figures={"figure": figure}))


def options() -> argparse.Namespace:
    asked = parser(__doc__, tiny="small networks, few images")
    asked.add_argument("--archs", nargs="+", metavar="NAME", help="other networks")
    given = given_to(asked, __file__, few=48)
    usual = ON_PHOTOGRAPHS if given.zoo else ON_DIGITS
    given.archs = TINY if given.tiny else given.archs or usual
    return given


def label(result: Result) -> str:
    """`plain56 (plain, batch norm)`."""
    arch, residual = result.identity["arch"], result.provenance["residual"]
    return WORDS.get(arch, f"{arch} ({'residual' if residual else 'plain'}, batch norm)")


def chance(result: Result) -> float:
    """The accuracy of a guess among the network's classes."""
    return 1 / result.provenance["classes"]


def sentence(result: Result) -> str:
    """A line for each network: the first interval is over blocks, the second over images.

    At chance means that the interval of the accuracy reaches it.
    """
    base, edited, unit = result.table.iloc[0], result.table.iloc[1:], unit_of(result)
    middle, change = median_interval(edited["error_pct"]), median_change(result)
    low, _ = wilson(edited["correct"].to_numpy(), edited["images"].to_numpy())
    return (
        f"{result.identity['arch']}: {base['error_pct']:.2f} % error; one {unit} deleted: median "
        f"{middle.value:.2f} % (95 % CI {middle.low:.2f}–{middle.high:.2f} % over "
        f"{len(edited)} {unit}s), {change.value:+.2f} points ({change.low:+.2f} to "
        f"{change.high:+.2f} over images), at or below chance after "
        f"{int((low <= chance(result)).sum())} of {len(edited)} deletions"
    )


if __name__ == "__main__":
    main()
