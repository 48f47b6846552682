"""A true ensemble beside the sub-networks of one network.

Paper    Krogh & Vedelsby 1995, "Neural network ensembles, cross validation, and active learning":
         the squared error of an average is the members' mean one less their ambiguity; Veit,
         Wilber, Belongie 2016, arXiv 1605.06431
Claim    Residual networks behave like ensembles of relatively shallow networks.
Here     photographs, the first 500 of CIFAR-10's test images stored as JPEG; preresnet110,
         resnet56, resnet20 and preresnet20, trained apart (bundled, one seed each), and as many
         sub-networks of preresnet110 at a time, without k random blocks. Averaging the four trained
         ones takes the mean error of 13.40 % (95 % CI 10.46–16.34 %) to 12.00 % (9.44–15.14 %),
         averaging four sub-networks without 1 block 13.48 % (10.91–16.04 %) to 12.29 %
         (9.66–14.92 %). Their ambiguity is 14.8 % (12.0–17.6 %) and 9.8 % (8.2–11.4 %) of the
         squared error, φ of their errors 0.63 (0.56–0.69) and 0.76 (0.72–0.81): at a mean error
         like theirs, sub-networks of one network are less diverse than networks trained apart.
         Three trainings of resnet56 (`-seeds`), and sub-networks of the first: 11.07 % (8.20–13.94)
         to 8.80 % (6.62–11.61), sub-networks without 1 block 14.79 % (11.59–17.99) to 12.31 %
         (9.08–15.54); ambiguity 14.9 % (11.8–18.0) and 14.8 % (12.5–17.1), φ 0.60 (0.52–0.69) and
         0.62 (0.57–0.67): as diverse, at a mean error a third higher, and their average is no
         better than the whole network. So "ensemble" is right of how they differ and wrong of what
         that buys. 80 s of CPU time each (one thread)
Run      python analyses/krogh1995_true_ensemble.py --data parquet:FILE   (CIFAR-10's test images;
         --tiny: small networks, few images)
         several trainings of one: --archs resnet56 --weights FILE FILE FILE --data …; the three are
         in `resnet_probe/zoo` and `analyses/seeds`
"""

from __future__ import annotations

import argparse
from pathlib import Path

from resnet_probe import Result
from resnet_probe.figures.agreement import ensembles
from resnet_probe.findings import summarize_agreement
from resnet_probe.loading.request import Request
from resnet_probe.runs.job import obtained

HERE, NAME, STUDY = Path(__file__).parent, Path(__file__).stem, "krogh1995-true-ensemble"
ARCHS = ("preresnet110", "resnet56", "resnet20", "preresnet20")
COUNTS, DRAWS, IMAGES = (1, 2, 3, 4), 8, 500


def main() -> None:
    given = options()
    result = measured(given)
    print(summarize_agreement(result))
    table = result.table[result.table["kind"].isin(["whole", "ensemble", "subnetworks"])]
    size = int(table.loc[table["kind"] == "ensemble", "networks"].iloc[0])
    title = f"{size} networks trained apart, and sub-networks of {given.archs[0]}"
    figure = ensembles(table, title=f"{title}, {result.identity['images']:,} images")
    own = {"identity": {"study": STUDY, "run": result.identity}}
    whole = Result(STUDY, table, {**own, "command": result.provenance["command"]})
    print(whole.save(given.out, figures={"figure": figure}))


def measured(given: argparse.Namespace) -> Result:
    """Found where `agreement` keeps it, or measured and kept there."""
    archs = given.archs * (len(given.weights) if given.weights and len(given.archs) == 1 else 1)
    weights = given.weights or [None] * len(archs)
    requests = [
        Request(arch=arch, weights=own, zoo=given.zoo, data=given.data, limit=given.limit)
        for arch, own in zip(archs, weights, strict=True)
    ]
    return obtained(
        "agreement", *requests, root=given.work, counts=given.counts, draws=given.draws
    ).result


def options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--tiny", action="store_true", help="small networks, few images")
    asked.add_argument("--archs", nargs="+", metavar="NAME", help="the networks; the first is cut")
    asked.add_argument("--weights", nargs="+", metavar="FILE", help="of each, or of one several")
    asked.add_argument("--zoo", help="bundled weights (default: cifar10-jpeg)")
    asked.add_argument("--data", help="their test images")
    asked.add_argument("--limit", type=int, default=IMAGES, metavar="IMAGES", help="the first ones")
    asked.add_argument("--work", type=Path, metavar="DIR", help="where runs are kept (runs)")
    asked.add_argument("--out", type=Path, default=HERE / NAME, help="(default: beside this file)")
    given = asked.parse_args()
    given.counts, given.draws = ((1, 2), 3) if given.tiny else (COUNTS, DRAWS)
    if given.tiny:
        given.archs, given.data, given.limit = ["resnet20:width=4"], "digits", 24
        given.weights = [f"initial:{seed}" for seed in range(3)]
    given.archs = given.archs or list(ARCHS)
    given.zoo = given.zoo or (None if given.weights else "cifar10-jpeg")
    return given


if __name__ == "__main__":
    main()
