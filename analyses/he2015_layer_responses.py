"""How large the responses of residual and plain networks are, layer by layer.

Paper    He, Zhang, Ren, Sun 2015, arXiv 1512.03385, section 4.2 and figure 7
Claim    Residual networks have smaller responses than plain ones, and deeper residual networks
         smaller ones than shallower: standard deviations behind batch norm, before ReLU and
         addition, 20 > 56 > 110 layers, on CIFAR-10
Here     the same on the handwritten digits, with the bundled networks; RESULT below is what this
         script prints
Run      python analyses/he2015_layer_responses.py          (--tiny: two networks, few images)
         other weights: python -m resnet_probe responses --arch resnet20 resnet56 --weights …

RESULT   898 images, standard deviations resnet20 0.870, resnet56 0.737, resnet110 0.728, plain20
         0.887: residual below plain holds for all three; 20 > 56 > 110 holds, but 56 and 110 do not
         differ beyond their intervals. Under a minute on 2 CPU cores
         photographs, the first 1,000 of CIFAR-10's test images stored as JPEG: resnet20 0.430 (95 %
         CI 0.428–0.433), resnet56 0.265 (0.263–0.266), resnet110 0.193 (0.192–0.194), plain20 0.479
         (0.476–0.482), plain56 0.422 (0.418–0.427). 20 > 56 > 110 holds, beyond the intervals, and
         residual below plain, with 20 and with 56 layers. Three minutes beside other work
"""

from __future__ import annotations

import argparse
from pathlib import Path

from resnet_probe.findings import summarize_responses
from resnet_probe.loading.request import Request
from resnet_probe.runs.job import obtained

HERE = Path(__file__).parent
NETWORKS = ("resnet20", "resnet56", "resnet110", "plain20")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--archs", nargs="+", default=NETWORKS, metavar="NAME")
    options.add_argument("--tiny", action="store_true", help="two networks, few images")
    options.add_argument("--zoo", help="bundled weights of another kind, as cifar10-jpeg")
    options.add_argument("--data", help="their test images (default: digits, which come along)")
    options.add_argument("--limit", type=int, metavar="IMAGES", help="the first ones only")
    options.add_argument("--out", type=Path, help="(default: beside this file)")
    given = options.parse_args()
    given.out = given.out or HERE / (
        "he2015_layer_responses-photographs" if given.zoo else "he2015_layer_responses"
    )
    names = ("resnet20", "plain20") if given.tiny else given.archs
    limit = 32 if given.tiny else given.limit
    requests = [Request(arch=a, zoo=given.zoo, data=given.data, limit=limit) for a in names]
    found = obtained("responses", *requests, folder=given.out)
    print(summarize_responses(found.result))
    print(found.folder)


if __name__ == "__main__":
    main()
