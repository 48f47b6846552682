"""Controls of what is said of lesions: moves of the same size, and statistics of their own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from resnet_probe.claims import lesions
from resnet_probe.claims.claim import Claim, at_least, at_most, between
from resnet_probe.claims.evidence import RECALIBRATED, both, each, pairs, series
from resnet_probe.claims.veit2016 import IMAGES, RANKED, SINGLE
from resnet_probe.findings.verdict import ALIKE, BARELY

CHANG = "arXiv 1710.10348, section 3"
OURS = "this package: published nowhere that we know of"
AGAIN = "with the batch-norm statistics of each edited network re-estimated on training images"
RENEWED = f"lesion{RECALIBRATED}"
STALE = 50
"""Percent from which on something is mostly something."""

BASES = {claim.name: claim for claim in SINGLE}
shape = partial(Claim, kind="shape")
alike = partial(
    shape,
    source=CHANG,
    wording="in the view of a residual network as small steps, a block can go because ‖F‖ is small",
    unit="points",
    bound=between(-ALIKE, ALIKE),
    choose=each("control"),
)


def again(base: str, *, rule: str, of: str = "", **changed: Any) -> Claim:
    """A claim of single deletions with the statistics of each edited network re-estimated.

    Its bound, unit and measure are those of the claim `base`.
    """
    changed = {"name": f"{base}/re-estimated", "network": "", **changed}
    asked = f"As for {base}, {of}{AGAIN}: {rule}"
    return replace(BASES[base], rule=asked, **changed)


SIZE = "By how much a deletion costs more than a move of the same norm {}, in the mean over blocks:"

CLAIMS = (
    alike(
        name="chang2018/size/other-image",
        statement="Blocks can be deleted because their residuals are small: a move as far along "
        "another image's residual costs as much.",
        rule=f"{SIZE.format('along the branch of another image')} within ± {ALIKE:g} points. "
        "Interval: over images, paired.",
        measure=lesions.costs_more_than("other image"),
    ),
    alike(
        name="chang2018/size/noise",
        statement="…and so does a move as far in a random direction.",
        rule=f"{SIZE.format('along white noise')} within ± {ALIKE:g} points. Interval: over "
        "images, paired.",
        measure=lesions.costs_more_than("noise"),
    ),
    again(
        "veit2016/delete-one/relative",
        name="veit2016/delete-one/re-estimated",
        statement="Deleting any one block barely changes the error, also without stale statistics.",
        wording="median {:.2f} % against {:.2f} % with the trained statistics",
        rule=f"at most {BARELY:g} % of the way. {IMAGES}",
        choose=each(RENEWED),
    ),
    again(
        "veit2016/worst-blocks",
        statement="The exceptions are the first block and those that change the resolution, also "
        "without stale statistics.",
        wording="with the trained statistics, block 1: {:.1f} %, 19: {:.1f} %, 37: {:.1f} %",
        rule="among the worst tenth. Interval: over images, the ranks that the deletions' paired "
        "intervals allow, all at once.",
        choose=each(RENEWED, least=RANKED),
    ),
    again(
        "veit2016/depth-order",
        statement="The deeper a residual network, the less one deletion costs, also without stale "
        "statistics.",
        wording="with the trained statistics: medians {:.1f} > {:.1f} > {:.1f} > {:.1f} > {:.1f} %",
        rule=f"the smallest fall is above 0. {IMAGES}",
        choose=series(RENEWED),
    ),
    again(
        "veit2016/shallow",
        statement="In a shallow residual network a deletion does hurt, also without stale "
        "statistics.",
        wording="20 layers, with the trained statistics: median {:.1f} %",
        rule=f"above {BARELY:g} % of the way. {IMAGES}",
        choose=each(RENEWED, most=9),
    ),
    again(
        "veit2016/plain-at-chance",
        statement="Deleting any layer of a plain network takes it to chance, also without stale "
        "statistics.",
        wording="VGG with the trained statistics: accuracies {:.1f}, {:.1f} … {:.1f} %",
        published=tuple(f"veit2016/vgg/delete/{layer}" for layer in (1, 2, 12)),
        of="of any plain network with batch norm, ",
        rule="at least 90 % of the layers. Interval: over images, all layers at once.",
        choose=each(RENEWED, residual=False),
    ),
    again(
        "veit2016/plain-worse",
        statement="A layer of a plain network costs more than a block of a residual one, also "
        "without stale statistics.",
        wording="with the trained statistics: VGG at chance, 110 layers at a median of {:.2f} %",
        rule=f"above 0. {IMAGES}",
        choose=pairs(RENEWED),
    ),
    shape(
        name="here/stale/shallow",
        source=OURS,
        statement="What deleting a block of a shallow residual network costs is mostly stale "
        "batch-norm statistics.",
        wording="–",
        rule="Percent of the median cost of a deletion that re-estimated statistics take away, in "
        f"networks of at most 9 blocks: at least {STALE:g}. {IMAGES}",
        unit="% of the cost",
        bound=at_least(STALE),
        choose=both(each("lesion", most=9), each(RENEWED, most=9)),
        measure=lesions.restored,
    ),
    shape(
        name="here/stale/plain",
        source=OURS,
        statement="…and of a plain network it is mostly the missing layer.",
        wording="–",
        rule=f"The same of plain networks: at most {STALE:g}. {IMAGES}",
        unit="% of the cost",
        bound=at_most(STALE),
        choose=both(each("lesion", residual=False), each(RENEWED, residual=False)),
        measure=lesions.restored,
    ),
)
