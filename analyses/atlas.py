"""Networks beside one another: which share of their blocks is harmless, and where the worst is.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, sections 4.1 and 5
Claim    Deleting a block of a deep residual network barely hurts, but for those at which a stage
         begins; the deeper the network, the less each block counts.
Here     87 networks: 16 trained (the 14 bundled ones, and the published resnet20 and resnet56 on
         200 images), 69 untrained ones of timm and torchvision as controls of 16 families, and 2
         that cannot be measured; digits (898 test images) and CIFAR-10's test images stored as JPEG
         (the first 1,000; the untrained on 64). The share of blocks whose deletion changes the
         error by at most 0.5 points rises with depth: Spearman's ρ 0.99 (95 % CI 0.60–1.00, 10
         trained residual networks on 2 sets of images, ranked within each): on digits 22 % of the
         blocks of resnet20, 70 % of resnet56, 91 % of resnet110, on photographs 0, 26 and 50 %, 48
         % of preresnet110. With width: not decided, all of them have 32 channels. The worst block
         lies in the first stage in 7 of 10 (70 %, 40–89 %), which has 33 % of the blocks, and in
         the last in none. Untrained, timm's networks with a last norm of 0 have residuals of length
         0; what resnet20 has untrained (additive R² 87.4 %, half and more of number × norm in long
         paths) is near what it has trained on photographs (84.6 %). Not measured for want of time:
         of the two published networks all but the lesion, of resnet110 on digits the paths, of the
         controls interactions and, of most, paths
Run      python analyses/atlas.py                 (--tiny: two networks; --work: the runs)
         the list is analyses/atlas.csv, the page analyses/atlas.html; `atlas analyses/atlas.csv`
         measures the same, in parts on several machines too
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from resnet_probe import figures
from resnet_probe.findings import summarize_atlas
from resnet_probe.report.atlas import write_page
from resnet_probe.runs.atlas import Atlas

HERE, NAME = Path(__file__).parent, Path(__file__).stem
TINY = """\
arch,weights,twin,data,limit,normalize,studies
"resnet:depth=14,width=4",initial:0,untrained,digits,24,none,responses
"resnet:depth=8,width=4",initial:0,untrained,digits,24,none,paths
"""


def main() -> None:
    given = options()
    result = listed(given.tiny).result(root=given.work)
    print(summarize_atlas(result))
    print(result.save(given.out, figures=figures.draw_all(result)))
    print(write_page(result, given.out))


def options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--tiny", action="store_true", help="two small networks, few images")
    asked.add_argument("--work", type=Path, metavar="DIR", help="where runs are kept (runs)")
    asked.add_argument("--out", type=Path, default=HERE / NAME, help="(default: beside this file)")
    return asked.parse_args()


def listed(tiny: bool) -> Atlas:
    """The list beside this file, or two networks that take seconds."""
    command = f"python analyses/{NAME}.py"
    if not tiny:
        return Atlas.read(HERE / f"{NAME}.csv", command=command)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tiny.csv")
        path.write_text(TINY, encoding="utf-8")
        return Atlas.read(path, command=f"{command} --tiny")


if __name__ == "__main__":
    main()
