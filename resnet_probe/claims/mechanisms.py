"""The claims of He et al. and of later papers on how residual networks work, and their rules."""

from __future__ import annotations

from functools import partial

from resnet_probe.claims import gradients, sizes
from resnet_probe.claims.claim import Claim, above, at_least, at_most, below, between
from resnet_probe.claims.evidence import each, pairs, series
from resnet_probe.findings.verdict import SMALL

FIRST = "arXiv 1512.03385"
SECOND = "arXiv 1603.05027"
JASTRZEBSKI = "arXiv 1710.04773"
CHANG = "arXiv 1710.10348"
GREFF = "arXiv 1612.07771"
DE_SMITH = "arXiv 2002.10444"
MEANS = "Interval: over images, these blocks, parametric bootstrap over the means of the blocks."
JACKKNIFE = "Interval: over images, a jackknife."
DEPTHS = 5
"""Networks from which on the scatter about a line says how straight it is."""

shape = partial(Claim, kind="shape")
number = partial(Claim, kind="number")
blocks = each("responses")
fresh = each("responses-init", least=12)

CLAIMS = (
    shape(
        name="he2015/responses/plain",
        source=f"{FIRST}, section 4.2, figure 7",
        statement="Residual networks have smaller responses than plain ones.",
        wording="residual below plain",
        rule="Standard deviation behind batch norm, mean over the layers: that of the plain "
        f"network less that of the residual one of the same depth, above 0. {JACKKNIFE}",
        unit="std",
        bound=above(0),
        choose=pairs("responses"),
        measure=sizes.std_below_plain,
        network="resnet20 and plain20, resnet56 and plain56",
    ),
    shape(
        name="he2015/responses/depth",
        source=f"{FIRST}, section 4.2, figure 7",
        statement="The deeper a residual network, the smaller its responses.",
        wording="20 > 56 > 110 layers",
        rule="The same mean falls from each depth to the next: the smallest fall is above 0. "
        + JACKKNIFE,
        unit="std",
        bound=above(0),
        choose=series("responses"),
        measure=sizes.std_falls,
        network="resnet20, resnet56, resnet110",
    ),
    shape(
        name="he2016/no-cancellation",
        source=f"{SECOND}, section 2",
        statement="The rest of the gradient does not cancel its identity term for a whole "
        "mini-batch.",
        wording="∂/∂x_l Σ F is not always −1",
        rule="The share of images for which the rest is not within 0.5 of −1 times the identity "
        "term, at the block where it is smallest: at least half. Wilson interval over images.",
        unit="% of images",
        bound=at_least(50),
        choose=each("paths"),
        measure=gradients.not_cancelled,
        network="preresnet110",
    ),
    shape(
        name="jastrzebski2018/cosine",
        source=f"{JASTRZEBSKI}, section 4",
        statement="Every block moves its input against the gradient of the loss.",
        wording="cosine negative for all blocks",
        rule="Cosine between F(h) and ∂L/∂h, mean over images, at the block where it is largest: "
        "below 0. Interval of that maximum over images, joint over blocks at its lower end.",
        unit="cosine",
        bound=below(0),
        choose=blocks,
        measure=sizes.largest_cosine,
        network="resnet110",
    ),
    number(
        name="jastrzebski2018/last-cosine",
        source=f"{JASTRZEBSKI}, section 4",
        statement="How far against it the last block moves.",
        wording="about {:.1f}",
        published=("jastrzebski2018/resnet/last-cosine",),
        rule="The same cosine at the last block, −0.15 to −0.05. Interval over images.",
        unit="cosine",
        bound=between(-0.15, -0.05),
        choose=blocks,
        measure=sizes.last_cosine,
        network="resnet110",
    ),
    shape(
        name="jastrzebski2018/ratio",
        source=f"{JASTRZEBSKI}, section 4",
        statement="Within a stage, later blocks change their input less.",
        wording="‖F(h)‖/‖h‖ falls within a stage",
        rule="Spearman's ρ between ‖F‖/‖shortcut‖ and the place in the stage, the largest over the "
        f"stages: below 0. {MEANS}",
        unit="ρ",
        bound=below(0),
        choose=blocks,
        measure=sizes.ratio_trend,
        network="resnet110",
    ),
    shape(
        name="chang2018/falls",
        source=f"{CHANG}, section 3",
        statement="The more blocks, the smaller each residual.",
        wording="mean ‖F‖ falls with N",
        rule="The mean of ‖F‖/‖shortcut‖ falls from each depth to the next: the smallest fall of "
        f"its logarithm is above 0. {MEANS}",
        unit="log ratio",
        bound=above(0),
        choose=series("responses"),
        measure=sizes.ratio_falls,
    ),
    shape(
        name="chang2018/inverse",
        source=f"{CHANG}, section 3",
        statement="…in proportion to 1/N.",
        wording="mean ‖F‖ ∝ 1/N",
        rule="p in mean ‖F‖/‖shortcut‖ ∝ N^p over networks of N blocks, a line through the logs: "
        "−1 to within a quarter. Interval: Student's t over networks, from their scatter about the "
        f"line; with fewer than {DEPTHS} of them it decides nothing.",
        unit="exponent",
        bound=between(-1.25, -0.75),
        choose=series("responses", least=DEPTHS),
        measure=sizes.ratio_exponent,
    ),
    shape(
        name="chang2018/tiny",
        source=f"{CHANG}, section 3",
        statement="Residuals are small beside their input, except in the first block of a stage.",
        wording="‖F‖ ≪ ‖h‖",
        rule="Median ‖F‖/‖shortcut‖ of the blocks that are not the first of their stage, at most "
        f"{SMALL:g}. {MEANS}",
        unit="ratio",
        bound=at_most(SMALL),
        choose=blocks,
        measure=sizes.median_ratio_inside,
    ),
    shape(
        name="chang2018/first-of-stage",
        source=f"{CHANG}, section 3",
        statement="The first block of a stage is the exception.",
        wording="larger in the first block of each stage",
        rule="‖F‖/‖shortcut‖ of a stage's first block less the median of its others, the smallest "
        f"over the stages: above 0. {MEANS}",
        unit="ratio",
        bound=above(0),
        choose=blocks,
        measure=sizes.first_above_rest,
    ),
    shape(
        name="greff2017/refinement",
        source=f"{GREFF}, section 3",
        statement="Within a stage, blocks refine one estimate step by step.",
        wording="the distance to the stage's last output shrinks",
        rule="Spearman's ρ between ‖h − h_end‖/‖h_end‖ and the place in the stage, the last block "
        f"left out, the largest over the stages: below 0. {MEANS}",
        unit="ρ",
        bound=below(0),
        choose=blocks,
        measure=sizes.deviation_trend,
    ),
    shape(
        name="de-smith2020/inverse",
        source=f"{DE_SMITH}, section 3",
        statement="At initialisation, block l of a normalised residual network adds about 1/l of "
        "the variance.",
        wording="Var(F)/Var(shortcut) about 1/l",
        rule="p in Var(F)/Var(shortcut) ∝ l^p over the blocks of the first stage, nearer to −1 "
        "than to 0 or −2: −1.5 to −0.5. Interval: Student's t over initial weights.",
        unit="exponent",
        bound=between(-1.5, -0.5),
        choose=fresh,
        measure=sizes.variance_exponent,
        network="preresnet",
    ),
    shape(
        name="de-smith2020/resets",
        source=f"{DE_SMITH}, section 3",
        statement="…and starts again where the resolution changes.",
        wording="resets at transitions",
        rule="log Var(F)/Var(shortcut) of a stage's first block less that of the block before, the "
        "smallest over the stages from the second on: above 0. Student's t over initial weights.",
        unit="log ratio",
        bound=above(0),
        choose=fresh,
        measure=sizes.variance_resets,
        network="preresnet",
    ),
)
