"""What stands in for a branch: nothing, its mean, another image's output, a constant, a linear map.

Paper    Li & Janson 2024, arXiv 2409.09951 (optimal ablation); for the deletions Veit, Wilber,
         Belongie 2016, arXiv 1605.06431, section 4.1
Claim    Deleting a component overstates what it does: much of the loss is that the others are given
         a value that they have never seen, and a constant that loses least takes that away
Here     photographs, the first 500 of CIFAR-10's test images stored as JPEG, values fitted on 500
         training images; resnet20 (bundled, one seed). In the mean over its 9 blocks a deletion
         costs 0.890 nats (95 % CI 0.814 to 0.965). In the branch's place, of that saves its mean
         25 % (22 to 28 %), its mean by channel 17 % (15 to 20 %), the constant that loses least
         50 % (45 to 54 %), a linear map of the state 73 % (71 to 77 %), though it explains only
         38 % of a branch's variance in the median; another image's output costs more than nothing
         does (−150 %, −167 to −135 %). So half of what deletions seem to cost is the strange value,
         as claimed, and the mean takes half of that. 31 s of CPU time (one thread)
Run      python analyses/li2024_replacement_values.py           (--tiny: few images)
         photographs: --zoo cifar10-jpeg --data parquet:FILE --limit 500, CIFAR-10's test images;
         the training images beside them are found by name (test-… and train-…)
"""

from __future__ import annotations

import argparse

from resnet_probe import figures
from resnet_probe.findings.sweeps import values_of_branches
from resnet_probe.loading.training_images import Recalibration
from resnet_probe.runs.several import given_to, lesion_of, of_runs, parser, training_images

STUDY = "li2024-replacement-values"
FITTED_ON = 500


def main() -> None:
    given = options()
    own, images = training_images(given), 64 if given.tiny else FITTED_ON
    asked = Recalibration(calibrate=images, recalibrate_data=own)
    found = lesion_of(given.arch, given, recalibration=asked, edit="replace")
    finding = values_of_branches(found)
    print(finding.sentence, f"{finding.claim}: {finding.verdict}", sep="\n")
    whole = of_runs(STUDY, found.table, [found])
    print(whole.save(given.out, figures={"figure": figures.draw(found)}))


def options() -> argparse.Namespace:
    asked = parser(__doc__, tiny="few images")
    asked.add_argument("--arch", default="resnet20", metavar="NAME", help="another network")
    return given_to(asked, __file__, few=32)


if __name__ == "__main__":
    main()
