"""Networks beside one another: which share of their blocks is harmless, and where the worst is.

Paper    Veit, Wilber, Belongie 2016, arXiv 1605.06431, sections 4.1 and 5
Claim    Deleting a block of a deep residual network barely hurts, but for those at which a stage
         begins; the deeper the network, the less each block counts.
Here     HERE
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
