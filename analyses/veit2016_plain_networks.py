"""Deleting one layer of plain networks, with and without batch norm, beside residual ones.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, section 4.1 and figure 3
Claim    Any one layer of VGG deleted leaves it at chance (accuracies of 1.5 to 11.6 %). The
         comparison was criticised because that VGG had no batch norm; so both are here.
Here     handwritten digits, 898 test images, one seed each, one block or layer deleted: resnet20
         0.67 % error, median 11.69 % (95 % CI 0.56–28.06 %), never at chance; plain20 1.00 %,
         92.43 % (87.42–96.44 %), at or below chance after 13 of 18 deletions; quarter-width VGG-16
         with batch norm 0.56 %, 90.31 % (83.30–91.31 %), 9 of 12; without 0.89 %, 88.53 %
         (83.52–91.65 %), 7 of 12. So the claim holds with and without batch norm, and in a plain
         network of the residual one's own layers. 8 s of CPU time (one thread, PyTorch 2.15)
Run      python analyses/veit2016_plain_networks.py    (--tiny: two small networks, few images)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from resnet_probe import Result, figures
from resnet_probe.data import slug
from resnet_probe.findings.lesion import median_change, unit_of
from resnet_probe.loading.request import Request
from resnet_probe.runs.job import obtained
from resnet_probe.stats import median_interval, wilson

HERE, NAME, STUDY = Path(__file__).parent, Path(__file__).stem, "veit2016-plain-networks"
WORDS = {
    "vgg16_bn:width=16": "VGG-16 (plain, batch norm)",
    "vgg16:width=16": "VGG-16 (plain, no batch norm)",
}
ON_DIGITS = ("resnet20", "plain20", *WORDS)
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
    identity = {"study": STUDY, "runs": [each.identity for each in results]}
    commands = [each.provenance["command"] for each in results]
    whole = Result(STUDY, table, {"identity": identity, "commands": commands})
    print(whole.save(given.out, figures={"figure": figure}))


def options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--tiny", action="store_true", help="small networks, few images")
    asked.add_argument("--archs", nargs="+", metavar="NAME", help="other networks")
    asked.add_argument("--zoo", help="bundled weights of another kind, as cifar10-jpeg")
    asked.add_argument("--data", help="their test images (default: digits, which come along)")
    asked.add_argument("--limit", type=int, metavar="IMAGES", help="the first ones only")
    asked.add_argument("--work", type=Path, metavar="DIR", help="where runs are kept (runs)")
    asked.add_argument("--out", type=Path, help="(default: beside this file)")
    given = asked.parse_args()
    given.out = given.out or HERE / (f"{NAME}-photographs" if given.zoo else NAME)
    usual = ON_PHOTOGRAPHS if given.zoo else ON_DIGITS
    given.archs = TINY if given.tiny else given.archs or usual
    given.limit = 48 if given.tiny else given.limit
    return given


def lesion_of(arch: str, given: argparse.Namespace) -> Result:
    """Found where `lesion` keeps it, or measured and kept there."""
    request = Request(arch=arch, zoo=given.zoo, data=given.data, limit=given.limit)
    return obtained("lesion", request, root=given.work).result


def images_of(result: Result) -> str:
    """`digits, 898 images`; `cifar10-test (stored as JPEG), 1,000 images`."""
    asked = result.identity
    note = f" ({asked['data_note']})" if asked["data_note"] else ""
    return f"{slug(asked['data'])}{note}, {asked['images']:,} images"


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
