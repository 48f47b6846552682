"""Deleting one block of shallow and of deep residual networks.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, and the raw results of its authors
Claim    Deletion barely hurts a 110-layer network; the authors' own raw results show that it does
         hurt shallow ones: medians of 44.7, 17.6, 12.7, 9.7 and 6.5 % error with 20, 32, 44, 56 and
         110 layers (CIFAR-10, pre-activation).
Here     handwritten digits, 898 test images, the bundled networks (one seed each), one block
         deleted (95 % CI over blocks): resnet20 0.67 % error, median 11.69 % (0.96–24.89 %, n = 9),
         worst 47.10 %; resnet56 0.67 %, median 0.89 % (0.78–1.01 %, n = 27), worst 28.17 %;
         resnet110 1.67 %, median 1.56 % (1.45–1.63 %, n = 54), worst 13.14 %. The worst deletion
         falls with depth, as published; so does what the median one adds, though between 56 and
         110 layers only by 3 of the 898 images. 37 s of CPU time (one thread, PyTorch 2.15)
         photographs, CIFAR-10's 10,000 test images stored as JPEG (one seed each; change with its
         interval over images): resnet20 14.10 %, median 36.71 % (24.35–50.14 %, n = 9), +22.61
         points (+21.61 to +23.58), worst 60.26 %; resnet56 11.93 %, 13.50 % (12.84–15.01 %,
         n = 27), +1.57 (+1.22 to +1.91), worst 30.21 %; resnet110 11.71 %, 12.05 % (11.97–12.19 %,
         n = 54), +0.35 (+0.20 to +0.56), worst 17.10 %; preresnet20 14.24 %, 54.15 %
         (29.14–70.25 %, n = 9), +39.91 (+38.76 to +40.74), worst 75.77 %; preresnet110 11.91 %,
         12.44 % (12.30–12.66 %, n = 54), +0.53 (+0.35 to +0.73), worst 34.87 %: the median falls
         with depth, in both kinds and at every step beyond the intervals, and so does the worst
Run      python analyses/veit2016_depths.py            (--tiny: few images; --archs)
         photographs: --zoo cifar10-jpeg --data parquet:FILE, CIFAR-10's test images; runs that
         `lesion` left in runs/ are found there
"""

from __future__ import annotations

import argparse

import pandas as pd

from resnet_probe import Result, figures, published
from resnet_probe.findings.lesion import median_change, unit_of
from resnet_probe.runs.several import given_to, images_of, lesion_of, of_runs, parser
from resnet_probe.stats import median_interval

STUDY = "veit2016-depths"
ON_DIGITS = ("resnet20", "resnet56", "resnet110")
ON_PHOTOGRAPHS = ("resnet20", "resnet56", "resnet110", "preresnet20", "preresnet110")
TINY = ("resnet20", "plain20")


def main() -> None:
    given = options()
    results = [lesion_of(arch, given) for arch in given.archs]
    print(*map(sentence, results), published_medians(), sep="\n")
    named = [(each, each.identity["arch"]) for each in results]
    table = pd.concat(
        [each.table.assign(arch=arch, label=arch) for each, arch in named], ignore_index=True
    )
    title = f"One block deleted, {images_of(results[0])}"
    figure = figures.deletions_by_network(table, title=title)
    whole = of_runs(STUDY, table, results)
    print(whole.save(given.out, figures={"figure": figure}))


def options() -> argparse.Namespace:
    asked = parser(__doc__, tiny="small networks, few images")
    asked.add_argument("--archs", nargs="+", metavar="NAME", help="other networks")
    given = given_to(asked, __file__, few=48)
    usual = ON_PHOTOGRAPHS if given.zoo else ON_DIGITS
    given.archs = TINY if given.tiny else given.archs or usual
    return given


def sentence(result: Result) -> str:
    """A line for each network: the first interval is over blocks, the second over images."""
    base, edited, unit = result.table.iloc[0], result.table.iloc[1:], unit_of(result)
    middle, change = median_interval(edited["error_pct"]), median_change(result)
    worst = edited.loc[edited["error_pct"].idxmax()]
    return (
        f"{result.identity['arch']}: {base['error_pct']:.2f} % error; one {unit} deleted: median "
        f"{middle.value:.2f} % (95 % CI {middle.low:.2f}–{middle.high:.2f} % over "
        f"{len(edited)} {unit}s), {change.value:+.2f} points ({change.low:+.2f} to "
        f"{change.high:+.2f} over images), worst {worst['error_pct']:.2f} % "
        f"({unit} {worst['blocks']})"
    )


def published_medians() -> str:
    """The medians of the authors' raw results."""
    rows = published.load("veit2016_depths")
    cifar = rows[(rows["data"] == "cifar10") & rows["arch"].str.startswith("preresnet")]
    each = (f"{row.arch} {row.median_pct:.1f} %" for row in cifar.itertuples())
    return "published medians (CIFAR-10): " + ", ".join(each)


if __name__ == "__main__":
    main()
