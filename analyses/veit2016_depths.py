"""Deleting one block of shallow and of deep residual networks.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, and the raw results of its authors
Claim    Deletion barely hurts a 110-layer network; the authors' own raw results show that it does
         hurt shallow ones: medians of 44.7, 17.6, 12.7, 9.7 and 6.5 % error with 20, 32, 44, 56 and
         110 layers (CIFAR-10, pre-activation).
Here     handwritten digits, 898 test images, the bundled networks (one seed each), one block
         deleted: resnet20 0.67 % error, median 11.69 % (95 % CI 0.56–28.06 %, n = 9), worst 47.10
         %; resnet56 0.67 %, median 0.89 % (0.67–1.22 %, n = 27), worst 28.17 %; resnet110 1.67 %,
         median 1.56 % (1.45–1.67 %, n = 54), worst 13.14 %. The worst deletion falls with depth,
         as published; so does what the median one adds, though between 56 and 110 layers not
         beyond the intervals. 37 s of CPU time (one thread, PyTorch 2.15)
Run      python analyses/veit2016_depths.py            (--tiny: few images; --archs, --data)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from resnet_probe import Result, figures, lesion, prepare, published
from resnet_probe.stats import median_interval

HERE = Path(__file__).parent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiny", action="store_true", help="two small networks, few images")
    options.add_argument("--archs", nargs="+", default=["resnet20", "resnet56", "resnet110"])
    options.add_argument("--data", help="(default: that of the bundled weights, the digits)")
    options.add_argument("--out", type=Path, default=HERE / "veit2016_depths")
    given = options.parse_args()
    archs = ["resnet20", "plain20"] if given.tiny else given.archs
    tables = []
    for arch in archs:
        network = prepare(arch, data=given.data, limit=48 if given.tiny else None)
        table = lesion(network.chain, network.images, network.labels).table
        tables.append(table.assign(arch=arch, label=arch))
        print(sentence(arch, table))
    print(published_medians())
    whole = pd.concat(tables, ignore_index=True)
    data = network.image_set.name
    figure = figures.deletions_by_network(
        whole, title=f"One block deleted, {data}, {len(network.images)} images"
    )
    identity = {"study": "veit2016-depths", "archs": archs, "images": network.identity}
    saved = Result("veit2016-depths", whole, {"identity": identity})
    print(saved.save(given.out, figures={"figure": figure}))


def sentence(arch: str, table: pd.DataFrame) -> str:
    """RESULT, a line for each network."""
    base, edited = table.iloc[0], table.iloc[1:]
    middle = median_interval(edited["error_pct"])
    return (
        f"{arch}: {base.error_pct:.2f} % error; one deleted: median {middle.value:.2f} % "
        f"(95 % CI {middle.low:.2f}–{middle.high:.2f} %, n = {len(edited)}), "
        f"worst {edited['error_pct'].max():.2f} %"
    )


def published_medians() -> str:
    """The medians of the authors' raw results."""
    rows = published.load("veit2016_depths")
    cifar = rows[(rows["data"] == "cifar10") & rows["arch"].str.startswith("preresnet")]
    each = (f"{row.arch} {row.median_pct:.1f} %" for row in cifar.itertuples())
    return "published medians (CIFAR-10): " + ", ".join(each)


if __name__ == "__main__":
    main()
