"""Leaving out every range of consecutive blocks.

Paper    Gromov, Tirumala, Shapourian, Glorioso, Roberts 2024, arXiv 2403.17887, of language models
Claim    A range of consecutive layers can be left out, up to nearly half of them, before the
         network breaks, and the deeper ones are those that can go
Here     photographs, the first 500 of CIFAR-10's test images stored as JPEG; resnet56 (bundled, one
         seed), 11.80 % error. Of all 378 ranges 333 are harmful, all of them together, and not one
         is shown harmless (within ± 0.5 points); the longest not shown harmful has 4 of 27 blocks
         (12 to 15: 17.60 %). 25 blocks (95 % CI 23 to 27) are needed to stay within a point of the
         error: nothing like half of the blocks can go in one range, in a network of three stages
         whose batch norm keeps the statistics of the whole. The ranges that cost least lie at
         the end of the first stage and inside the second. About 3 minutes of CPU time (one thread,
         beside other work)
Run      python analyses/gromov2024_ranges.py           (--tiny: one small network, few images)
         photographs: --zoo cifar10-jpeg --data parquet:FILE --limit 500, CIFAR-10's test images;
         runs that `lesion --edit ranges` left in runs/ are found there
"""

from __future__ import annotations

import argparse

from resnet_probe import figures
from resnet_probe.findings.depth import depth_by_function
from resnet_probe.findings.sweeps import ranges
from resnet_probe.runs.several import given_to, lesion_of, of_runs, parser

STUDY = "gromov2024-ranges"


def main() -> None:
    given = options()
    found = lesion_of(given.arch, given, edit="ranges")
    print(ranges(found).sentence, depth_by_function(found).sentence, sep="\n")
    whole = of_runs(STUDY, found.table, [found])
    print(whole.save(given.out, figures={"figure": figures.draw(found)}))


def options() -> argparse.Namespace:
    asked = parser(__doc__, tiny="one small network, few images")
    asked.add_argument("--arch", default="resnet56", metavar="NAME", help="another network")
    given = given_to(asked, __file__, few=48)
    given.arch = "resnet20" if given.tiny else given.arch
    return given


if __name__ == "__main__":
    main()
