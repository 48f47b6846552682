"""A true ensemble beside the sub-networks of one network.

Paper    Krogh & Vedelsby 1995, "Neural network ensembles, cross validation, and active learning":
         the squared error of an average is the members' mean one less their ambiguity; Veit,
         Wilber, Belongie 2016, arXiv 1605.06431
Claim    Residual networks behave like ensembles of relatively shallow networks.
Here     TODO
Run      python analyses/krogh1995_true_ensemble.py --data parquet:FILE   (CIFAR-10's test images;
         --tiny: small networks, few images)
         your own trainings: --archs resnet20 --weights seed0.pt seed1.pt seed2.pt --data …
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
