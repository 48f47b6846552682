"""The sizes of He et al. 2015, arXiv 1512.03385, counted on our networks, beside the published.

Networks are built on the meta device: nothing is computed, everything is counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import pandas as pd
import torch

from resnet_probe import models, published
from resnet_probe.describe import Size, size_of

LARGE = (18, 34, 50, 101, 152)
SMALL = (20, 32, 44, 56, 110, 1202)
SHORTCUTS = ("A", "B", "C")
IMAGENET_CAPTION = """\
He et al. 2015, table 1: images of 224×224. As the paper has them: shortcuts of option A up to 34
layers; above those bottlenecks with projections and the stride in the first 1×1 convolution (v1).
As torchvision has them: projections everywhere, the stride in the 3×3 convolution (v1.5)."""
CIFAR_CAPTION = """\
He et al. 2015, section 4.2: images of 32×32, with each kind of shortcut; table 6 prints the
parameters with option A, in millions."""


@cache
def size(spec: str) -> Size:
    """Parameters and multiply-adds of an architecture, for one image of its usual size."""
    arch = models.architecture(spec)
    with torch.device("meta"):
        return size_of(arch.build().eval(), arch.input_shape)


def imagenet_table() -> pd.DataFrame:
    """Table 1, one row a depth: our counts for images of 224×224, and the published billions.

    `parameters` and `multiply_adds` are those of the networks as the paper has them: option-A
    shortcuts up to 34 layers, above those bottlenecks with projections and the stride in the first
    1×1. The other two are those of torchvision: projections everywhere, the stride in the 3×3.
    """
    rows = []
    for depth in LARGE:
        name = f"resnet{depth}"
        bottleneck = any(option.name == "stride" for option in models.options_of(name))
        paper, later = size(f"{name}:{'stride=v1' if bottleneck else 'shortcut=A'}"), size(name)
        rows.append(
            {
                "network": name,
                "blocks": "bottleneck" if bottleneck else "basic",
                "parameters": paper.parameters,
                "multiply_adds": paper.multiply_adds,
                "published_billion": _claim(f"he2015/{name}/flops"),
                "torchvision_parameters": later.parameters,
                "torchvision_multiply_adds": later.multiply_adds,
            }
        )
    return pd.DataFrame(rows)


def cifar_table(depths: Iterable[int] = SMALL) -> pd.DataFrame:
    """The networks of section 4.2 for images of 32×32, one row a depth and shortcut option.

    `published_million` are the parameters in table 6, with option A.
    """
    rows = []
    for depth in depths:
        for shortcut in SHORTCUTS:
            name = f"resnet{depth}"
            found = size(f"{name}:shortcut={shortcut}")
            printed = _claim(f"he2015/{name}/parameters/table") if shortcut == "A" else None
            rows.append(
                {
                    "network": name,
                    "shortcut": shortcut,
                    "parameters": found.parameters,
                    "published_million": printed,
                    "multiply_adds": found.multiply_adds,
                }
            )
    return pd.DataFrame(rows)


def sources() -> list[str]:
    """Where the published numbers of both tables are from."""
    claims = published.load("claims")
    used = claims["claim"].str.fullmatch(r"he2015/resnet\d+/(flops|parameters/table)")
    return sorted(set(claims["source"][used]))


def _claim(claim: str) -> float | None:
    claims = published.load("claims").set_index("claim")["value"]
    return float(claims[claim]) if claim in claims.index else None
