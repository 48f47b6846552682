"""Claims that cannot fail: arithmetic, counts and identities.

They are checked, since a wrong count would be a fault of ours, but they are no evidence about
networks, and the ledger keeps them in a section of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from resnet_probe import published
from resnet_probe.claims.claim import Claim, at_most, equal_to
from resnet_probe.claims.evidence import Chooser, Chosen, Evidence, NotHere, each
from resnet_probe.stats import Estimate, path_lengths
from resnet_probe.stats import bootstrap as intervals

STUDY = "structure"
PER = {"1": 1.0, "million": 1e6, "billion": 1e9}
VEIT, FIRST, SECOND = "arXiv 1605.06431", "arXiv 1512.03385", "arXiv 1603.05027"
PATHS = "veit2016/preresnet110/paths"
DEEP = 54
"""Blocks of the 110-layer network, which the published path lengths are those of."""
DEPTHS = (20, 32, 44, 56, 110, 1202)
BILLIONS = (50, 101, 152)
"""Layers of the networks whose multiply-adds are printed for the stride in the first 1×1 layer."""
ORIGINAL = ":stride=v1"


def nothing(evidence: Evidence) -> list[Chosen]:
    """Arithmetic needs no evidence."""
    return [Chosen(())]


def counted(*names: str) -> Chooser:
    """The structure of those of `names` that were counted."""

    def choose(evidence: Evidence) -> list[Chosen]:
        found = tuple(each for each in evidence.all(STUDY) if each.arch in names)
        if not found:
            raise NotHere(f"needs the structure of one of {', '.join(names)}")
        left = len(names) - len(found)
        return [Chosen(found, f"{left} of {len(names)} not counted" if left else "")]

    return choose


def largest_gap(column: str, key: str) -> Callable[[Chosen, float], Estimate]:
    """A measure: the largest |ours − published|, in the published unit.

    `key` names the row of the published table for an architecture, with `{base}` or `{arch}`.
    """

    def measure(chosen: Chosen, confidence: float) -> Estimate:
        table = published.load("claims").set_index("claim")
        gaps = []
        for found in chosen.exhibits:
            name = key.format(arch=found.arch, base=found.base)
            ours = float(found.table[column].iloc[0]) / PER[str(table["unit"][name])]
            gaps.append(abs(ours - float(table["value"][name])))
        return intervals.exact(max(gaps))

    return measure


def path_mean(chosen: Chosen, confidence: float, *, blocks: int = DEEP) -> Estimate:
    """Mean length of all paths, in blocks."""
    share = path_lengths.share_of_paths(blocks)
    return intervals.exact(round(float(share @ np.arange(len(share))), 9))


def path_sd(chosen: Chosen, confidence: float, *, blocks: int = DEEP) -> Estimate:
    """Standard deviation of the length of all paths, in blocks."""
    share = path_lengths.share_of_paths(blocks)
    places = np.arange(len(share))
    return intervals.exact(float(np.sqrt(share @ (places - share @ places) ** 2)))


def share_of_lengths(first: int, last: int, blocks: int = DEEP) -> Callable[..., Estimate]:
    """A measure: percent of all paths with `first` to `last` blocks."""

    def measure(chosen: Chosen, confidence: float) -> Estimate:
        share = path_lengths.share_of_paths(blocks)
        return intervals.exact(100 * float(share[first : last + 1].sum()))

    return measure


def without_identity_term(chosen: Chosen, confidence: float) -> Estimate:
    """How many blocks' gradients have no identity term; NaN where no gradient reaches one."""
    table = chosen.first.table
    rows = table[(table["quantity"] == "norm_of_sum") & (table["length"] == 0)]
    if rows.empty:
        raise NotHere("needs the exact sums over all paths (method='exact')")
    if rows["relative"].isna().any():
        return Estimate(np.nan, np.nan, np.nan)
    return intervals.exact(float((rows["relative"] <= 0).sum()))


exact = partial(Claim, kind="exact")

CLAIMS = (
    exact(
        name="veit2016/path-lengths/mean",
        source=f"{VEIT}, section 3",
        statement="The lengths of the 2^54 paths are binomial: half of the blocks on average.",
        wording="{:.0f} blocks",
        published=(f"{PATHS}/mean",),
        rule="The mean of the lengths, counted.",
        unit="blocks",
        bound=equal_to(27),
        choose=nothing,
        measure=path_mean,
    ),
    exact(
        name="veit2016/path-lengths/sd",
        source=f"{VEIT}, section 3",
        statement="…with the spread of a binomial distribution.",
        wording="{:.2f} blocks",
        published=(f"{PATHS}/sd",),
        rule="The standard deviation of the lengths, counted; equal as far as it is printed.",
        unit="blocks",
        bound=equal_to(3.67, rounding=0.005),
        choose=nothing,
        measure=path_sd,
    ),
    exact(
        name="veit2016/path-lengths/19-35",
        source=f"{VEIT}, section 3",
        statement="Nearly all paths are about half as long as the network.",
        wording="{:.0f} % with 19 to 35 blocks",
        published=(f"{PATHS}/19-35",),
        rule="The share of paths with 19 to 35 blocks, counted; equal as far as it is printed.",
        unit="% of paths",
        bound=equal_to(98, rounding=0.5),
        choose=nothing,
        measure=share_of_lengths(19, 35),
    ),
    exact(
        name="veit2016/effective/share",
        source=f"{VEIT}, section 5, figure 6",
        statement="Paths of 5 to 17 blocks are a very small part of all paths.",
        wording="{:.2f} %",
        published=(f"{PATHS}/effective/share",),
        rule="The share of paths with 5 to 17 blocks, counted; equal as far as it is printed.",
        unit="% of paths",
        bound=equal_to(0.45, rounding=0.005),
        choose=nothing,
        measure=share_of_lengths(5, 17),
    ),
    exact(
        name="he2015/parameters",
        source=f"{FIRST}, table 6",
        statement="How many parameters the CIFAR-10 networks have.",
        wording="{:,.0f} at 20 layers to {:,.0f} at 1202",
        published=("he2015/resnet20/parameters", "he2015/resnet1202/parameters"),
        rule="The largest difference from the exact counts at 20, 32, 44, 56, 110 and 1202 layers "
        "with option-A shortcuts: 0.",
        unit="parameters",
        bound=equal_to(0),
        choose=counted(*(f"resnet{depth}" for depth in DEPTHS)),
        measure=largest_gap("parameters", "he2015/{arch}/parameters"),
    ),
    exact(
        name="he2015/multiply-adds",
        source=f"{FIRST}, section 4.2",
        statement="How many multiply-adds one image takes.",
        wording="{:.1f}, {:.1f}, {:.1f} million at 20, 56, 110 layers",
        published=tuple(f"he2015/resnet{depth}/macs" for depth in (20, 56, 110)),
        rule="The largest difference from the printed millions at 20, 56 and 110 layers: at most "
        "their rounding, 0.05.",
        unit="million",
        bound=at_most(0.05),
        choose=counted("resnet20", "resnet56", "resnet110"),
        measure=largest_gap("multiply_adds", "he2015/{arch}/macs"),
        network="resnet20, resnet56, resnet110",
    ),
    exact(
        name="he2015/flops",
        source=f"{FIRST}, table 1",
        statement="Multiply-adds of the ImageNet networks.",
        wording="{:.1f}, {:.1f}, {:.1f} billion at 50, 101, 152 layers",
        published=tuple(f"he2015/resnet{depth}/flops" for depth in BILLIONS),
        rule="The largest difference from the printed billions, with the stride in the first 1×1 "
        "layers as in the paper: at most one in their last digit, 0.1.",
        unit="billion",
        bound=at_most(0.1),
        choose=counted(*(f"resnet{depth}{ORIGINAL}" for depth in BILLIONS)),
        measure=largest_gap("multiply_adds", "he2015/{base}/flops"),
    ),
    exact(
        name="he2015/bottleneck",
        source=f"{FIRST}, figure 5",
        statement="A bottleneck on 256 channels costs far less than two 3×3 layers would.",
        wording="{:,.0f} weights instead of {:,.0f}",
        published=("he2015/bottleneck/weights", "he2015/bottleneck/weights/plain"),
        rule="The larger difference from both counts, in a ResNet-50 and a ResNet-34: 0.",
        unit="weights",
        bound=equal_to(0),
        choose=counted("bottleneck/weights", "bottleneck/weights/plain"),
        measure=largest_gap("parameters", "he2015/{arch}"),
    ),
    exact(
        name="torchvision/resnet50/multiply-adds",
        source="torchvision weights documentation",
        statement="ResNet-50 with the stride in its 3×3 layers costs more than the original.",
        wording="{:.2f} instead of {:.1f} billion multiply-adds",
        published=("torchvision/resnet50/macs", "he2015/resnet50/flops"),
        rule="The difference from the printed billions: at most their rounding, 0.005.",
        unit="billion",
        bound=at_most(0.005),
        choose=counted("resnet50"),
        measure=largest_gap("multiply_adds", "torchvision/{arch}/macs"),
    ),
    exact(
        name="he2016/identity-term",
        source=f"{SECOND}, equation 5",
        statement="The gradient has an identity term that reaches every block.",
        wording="∂E/∂x_l = ∂E/∂x_L · (1 + ∂/∂x_l Σ F)",
        rule="The number of blocks at which the term of length 0 of the gradient is 0: none. So it "
        "is in any network whose shortcuts are there and whose ReLUs pass something.",
        unit="blocks",
        bound=equal_to(0),
        choose=each("paths"),
        measure=without_identity_term,
    ),
)
