"""Deleting one block of a residual network, one layer of a plain one.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, section 4.1
Claim    Deleting any one block of a 110-layer residual network barely changes its error, but for
         the blocks that change the resolution; deleting any one layer of VGG leaves it at chance.
Here     handwritten digits, 898 test images, the bundled networks (one seed each):
         preresnet110 0.67 % error, one block deleted: median 0.67 %, worst 77.95 % (block 1);
         quarter-width VGG-16 0.56 %, one layer deleted: median 90.31 % (95 % CI 83.30–91.31 %)
         so both halves of the claim hold, and blocks 1 and 19 (a transition) are the exceptions
         30 seconds on 2 CPU cores
Run      python analyses/veit2016_single_deletion.py          (--tiny: two small networks)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from resnet_probe import Result, figures, lesion, prepare
from resnet_probe.stats import median_interval

HERE = Path(__file__).parent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiny", action="store_true", help="small networks, few images")
    options.add_argument("--out", type=Path, default=HERE / "veit2016_single_deletion")
    given = options.parse_args()
    residual, plain = (
        ("resnet20", "plain20") if given.tiny else ("preresnet110", "vgg16_bn:width=16")
    )
    limit = 64 if given.tiny else None
    tables = []
    for arch in (residual, plain):
        network = prepare(arch, limit=limit)
        result = lesion(network.chain, network.images, network.labels)
        tables.append(result.table.assign(arch=arch))
        print(sentence(arch, network.chain.unit, result.table))
    ours, other = tables
    figure = figures.single_deletion(
        ours,
        compare=curve(other, f"{plain}: one layer deleted"),
        title=f"{residual} and {plain} on digits, {ours['images'][0]} images",
    )
    identity = {"study": "veit2016-single-deletion", "archs": [residual, plain], "limit": limit}
    whole = Result("veit2016-single-deletion", pd.concat(tables), {"identity": identity})
    print(whole.save(given.out, figures={"figure": figure}))


def curve(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """A table of single deletions in the form that a figure overlays."""
    edited = table.iloc[1:]
    return pd.DataFrame(
        {
            "block": pd.to_numeric(edited["blocks"]),
            "error_pct": edited["error_pct"],
            "baseline_pct": table["error_pct"].iloc[0],
            "label": label,
        }
    ).reset_index(drop=True)


def sentence(arch: str, unit: str, table: pd.DataFrame) -> str:
    """RESULT, a line for each network."""
    edited = table.iloc[1:]
    middle = median_interval(edited["error_pct"])
    worst = edited.loc[edited["error_pct"].idxmax()]
    return (
        f"{arch}: {table['error_pct'].iloc[0]:.2f} % error; one {unit} deleted: median "
        f"{middle.value:.2f} % (95 % CI {middle.low:.2f}–{middle.high:.2f} %, n = {len(edited)}), "
        f"worst {worst['error_pct']:.2f} % ({unit} {worst['blocks']})"
    )


if __name__ == "__main__":
    main()
