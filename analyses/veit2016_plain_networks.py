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

from resnet_probe import Result, figures, lesion, prepare
from resnet_probe.stats import median_interval, wilson

HERE = Path(__file__).parent
NETWORKS = {
    "resnet20": "resnet20 (residual, batch norm)",
    "plain20": "plain20 (plain, batch norm)",
    "vgg16_bn:width=16": "VGG-16 (plain, batch norm)",
    "vgg16:width=16": "VGG-16 (plain, no batch norm)",
}
TINY = ("resnet20", "plain20")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiny", action="store_true", help="two small networks, few images")
    options.add_argument("--out", type=Path, default=HERE / "veit2016_plain_networks")
    given = options.parse_args()
    archs = TINY if given.tiny else tuple(NETWORKS)
    tables = []
    for arch in archs:
        network = prepare(arch, limit=48 if given.tiny else None)
        table = lesion(network.chain, network.images, network.labels).table
        tables.append(table.assign(arch=arch, label=NETWORKS[arch]))
        print(sentence(arch, network.chain.unit, table))
    classes = int(network.labels.max()) + 1
    whole = pd.concat(tables, ignore_index=True)
    figure = figures.deletions_by_network(
        whole,
        title=f"One block or layer deleted, digits, {len(network.images)} images",
        chance_pct=100 * (1 - 1 / classes),
    )
    identity = {
        "study": "veit2016-plain-networks",
        "archs": list(archs),
        "images": len(network.images),
    }
    result = Result("veit2016-plain-networks", whole, {"identity": identity})
    print(result.save(given.out, figures={"figure": figure}))


def sentence(arch: str, unit: str, table: pd.DataFrame) -> str:
    """RESULT, a line for each network; at chance means that its interval reaches 10 %."""
    base, edited = table.iloc[0], table.iloc[1:]
    middle = median_interval(edited["error_pct"])
    chance = 0.1
    low, _ = wilson(edited["correct"].to_numpy(), edited["images"].to_numpy())
    return (
        f"{arch}: {base.error_pct:.2f} % error; one {unit} deleted: median {middle.value:.2f} % "
        f"(95 % CI {middle.low:.2f}–{middle.high:.2f} %), at or below chance after "
        f"{int((low <= chance).sum())} of {len(edited)} deletions"
    )


if __name__ == "__main__":
    main()
