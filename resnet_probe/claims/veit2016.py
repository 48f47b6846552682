"""The claims of Veit, Wilber & Belongie 2016, arXiv 1605.06431, and the rules that judge them.

Each rule is the paper's statement made measurable: a bound comes from what the paper prints or
from the raw results of its authors, an order asks for an interval on the right side of no order.
Where a claim is a number of CIFAR-10 it stands twice: as that number, and in a form that other
images can test.
"""

from __future__ import annotations

from functools import partial

from resnet_probe.claims import gradients, lesions
from resnet_probe.claims.claim import (
    Claim,
    above,
    at_least,
    at_most,
    below,
    between,
)
from resnet_probe.claims.evidence import both, each, pairs, series
from resnet_probe.findings.verdict import BARELY

PAPER = "arXiv 1605.06431"
RAW = f"{PAPER}: the authors' raw results"
OWN = "veit2016/preresnet110"
PUBLISHED_RISE = 0.43
"""Points: the median over single deletions of 6.46 % less the 6.03 % of the whole network."""
WITHIN = 0.5
"""Points of error by which a network's median may be off the published one."""
RANKED = 30
"""Blocks from which on three of them can be a worst tenth."""
LINEAR = 0.95
"""R² from which a line is called straight."""
IMAGES = "Interval: over images, these blocks, paired."
DRAWS = "Interval: over draws, these images."
NOISE = "Interval: parametric bootstrap over the sampled paths of each length."

number = partial(Claim, kind="number", network="preresnet110")
shape = partial(Claim, kind="shape", network="preresnet110")

SINGLE = (
    number(
        name="veit2016/delete-one",
        source=f"{PAPER}, section 4.1, figure 3",
        statement="How much deleting any one block of the 110-layer network costs.",
        wording="median {:.2f} % against {:.2f} %",
        published=(f"{OWN}/delete/median", f"{OWN}/error"),
        rule="Median over all single deletions of the change in error: that of the source, "
        f"{PUBLISHED_RISE:g} points, to within {WITHIN:g}. {IMAGES}",
        unit="points",
        bound=between(PUBLISHED_RISE - WITHIN, PUBLISHED_RISE + WITHIN),
        choose=each("lesion"),
        measure=lesions.median_delta,
    ),
    shape(
        name="veit2016/delete-one/relative",
        source=f"{PAPER}, section 4.1, figure 3",
        statement="Deleting any one block of a residual network barely changes its error.",
        wording="median {:.2f} % against {:.2f} %, which is 0.5 % of the way to chance",
        published=(f"{OWN}/delete/median", f"{OWN}/error"),
        rule="The median change in percent of the way from the whole network's error to guessing, "
        f"at most {BARELY:g} %: twice that of the source. {IMAGES}",
        unit="% of the way",
        bound=at_most(BARELY),
        choose=each("lesion"),
        measure=lesions.median_delta_of_way,
    ),
    shape(
        name="veit2016/worst-blocks",
        source=f"{PAPER}, section 4.1, figure 3",
        statement="The exceptions are the first block and those that change the resolution.",
        wording="block 1: {:.1f} %, 19: {:.1f} %, 37: {:.1f} %",
        published=(f"{OWN}/delete/1", f"{OWN}/delete/19", f"{OWN}/delete/37"),
        rule="Block 1 and the first blocks of the later stages are among the worst tenth of all "
        "single deletions: the rank of the mildest of them, in percent of the blocks. Interval: "
        "over images, the ranks that the deletions' paired intervals allow, all at once.",
        unit="% of blocks",
        bound=at_most(10),
        choose=each("lesion", least=RANKED),
        measure=lesions.worst_rank,
    ),
    shape(
        name="veit2016/depth-order",
        source=RAW,
        statement="The deeper a residual network, the less one deletion costs.",
        wording="medians {:.1f} > {:.1f} > {:.1f} > {:.1f} > {:.1f} % at 20 to 110 layers",
        published=tuple(f"veit2016/preresnet{d}/delete/median" for d in (20, 32, 44, 56, 110)),
        rule="The median change in error falls from each depth to the next: the smallest fall is "
        f"above 0. {IMAGES}",
        unit="points",
        bound=above(0),
        choose=series("lesion"),
        measure=lesions.median_delta_falls,
        network="preresnet20, preresnet32, preresnet44, preresnet56, preresnet110",
    ),
    shape(
        name="veit2016/shallow",
        source=RAW,
        statement="In a shallow residual network a deletion does hurt.",
        wording="20 layers: median {:.1f} %",
        published=("veit2016/preresnet20/delete/median",),
        rule=f"The median change in percent of the way to guessing, above the {BARELY:g} % that is "
        f"called barely a change, in networks of at most 9 blocks. {IMAGES}",
        unit="% of the way",
        bound=above(BARELY),
        choose=each("lesion", most=9),
        measure=lesions.median_delta_of_way,
        network="preresnet20",
    ),
    shape(
        name="veit2016/plain-at-chance",
        source=f"{PAPER}, section 4.1, figure 3",
        statement="Deleting any layer of VGG takes it to chance.",
        wording="accuracies {:.1f}, {:.1f}, {:.1f}, {:.1f} … {:.1f} %",
        published=tuple(f"veit2016/vgg/delete/{layer}" for layer in (1, 2, 3, 4, 12)),
        rule="At chance means that at least 90 % of the accuracy above guessing is gone; nearly "
        "every layer means at least 90 % of them. Interval: over images, the layers of which the "
        "paired intervals, all at once, say so, to those of which they allow it.",
        unit="% of layers",
        bound=at_least(90),
        choose=each("lesion", residual=False, family="vgg"),
        measure=lesions.layers_at_chance,
        network="vgg",
    ),
    shape(
        name="veit2016/vgg-without-norm",
        source=f"{PAPER}, section 4.1",
        statement="Plain networks fail for want of shortcuts, not because of batch norm.",
        wording="VGG at chance",
        rule="The same of a VGG without batch norm.",
        unit="% of layers",
        bound=at_least(90),
        choose=each("lesion", residual=False, arch="vgg16"),
        measure=lesions.layers_at_chance,
        network="vgg",
    ),
    shape(
        name="veit2016/plain-worse",
        source=f"{PAPER}, section 4.1",
        statement="Deleting a layer of a plain network costs more than a block of a residual one.",
        wording="VGG at chance, 110 layers at a median of {:.2f} %",
        published=(f"{OWN}/delete/median",),
        rule="Median change in error of the plain network less that of the residual one of the "
        f"same depth, above 0. {IMAGES}",
        unit="points",
        bound=above(0),
        choose=pairs("lesion"),
        measure=lesions.plain_above_residual,
        network="vgg and preresnet110",
    ),
)

SEVERAL = (
    shape(
        name="veit2016/delete-k",
        source=f"{PAPER}, section 4.2, figure 5a",
        statement="The error rises smoothly with the number of deleted blocks.",
        wording="medians {:.1f}, {:.1f}, {:.1f}, {:.1f}, {:.1f} % for k = 1, 5, 10, 15, 20",
        published=tuple(f"{OWN}/delete-k/{k}" for k in lesions.COUNTS),
        rule="At k = 1, 5, 10, 15 and 20, and only there, the error rises from each k to the next: "
        "the chance that a draw of more deletions errs more than one of fewer, the smallest of "
        f"the four, is above one half. {DRAWS}",
        unit="of draws",
        bound=above(0.5),
        choose=each("lesion-counts"),
        measure=lesions.delete_rises,
    ),
    number(
        name="veit2016/delete-10",
        source=f"{PAPER}, section 4.2, figure 5a",
        statement="How much ten random deletions cost.",
        wording="median {:.1f} %, of the draws {:.1f} and {:.1f} % leave a tenth on either side",
        published=tuple(f"{OWN}/delete-k/10{end}" for end in ("", "/p10", "/p90")),
        rule="The median error with ten blocks deleted lies between the published 10th and 90th "
        f"percentiles. {DRAWS}",
        unit="%",
        bound=between(14.28, 51.384),
        choose=each("lesion-counts"),
        measure=lesions.median_at(10),
    ),
    shape(
        name="veit2016/permute",
        source=f"{PAPER}, section 4.3, figure 5b",
        statement="The error rises smoothly as the order of the blocks is further from the "
        "trained one.",
        wording="medians {:.1f}, {:.1f}, {:.1f}, {:.1f} % at τ ≥ .98, near .95, .91, .87",
        published=tuple(f"{OWN}/permute/tau-{tau}" for tau in ("0.98", "0.94", "0.90", "0.86")),
        rule="At Kendall's τ of 0.99, 0.95, 0.91 and 0.87, and only there, the error rises from "
        "each to the next lower: the chance that an order further away errs more, the smallest "
        f"of the three, is above one half. {DRAWS}",
        unit="of draws",
        bound=above(0.5),
        choose=each("lesion-permute-tau"),
        measure=lesions.permute_rises,
    ),
    shape(
        name="veit2016/duplicate",
        source=RAW,
        statement="Running blocks twice is mild: it costs less than leaving them out.",
        wording="twice: {:.1f} and {:.1f} %, deleted: {:.1f} and {:.1f} % for k = 5, 10",
        published=(
            f"{OWN}/duplicate-k/5",
            f"{OWN}/duplicate-k/10",
            f"{OWN}/delete-k/5",
            f"{OWN}/delete-k/10",
        ),
        rule="At k = 5 and 10, where the published medians differ by over a point, the chance that "
        "k deletions err more than k duplications, the smaller of the two, is above one half. "
        + DRAWS,
        unit="of draws",
        bound=above(0.5),
        choose=both(each("lesion-counts"), each("lesion-duplicate")),
        measure=lesions.duplicate_below_delete,
    ),
)

PATHS = (
    shape(
        name="veit2016/gradient/decays",
        source=f"{PAPER}, section 5, figure 6",
        statement="The gradient along a path falls with the number of blocks on it.",
        wording="falls",
        rule="By what the norm of a sampled path is multiplied with every block, from a line "
        f"through the log norms: below 1. {NOISE}",
        unit="a block",
        bound=below(1),
        choose=each("paths"),
        measure=gradients.decay_factor,
    ),
    shape(
        name="veit2016/gradient/exponential",
        source=f"{PAPER}, section 5, figure 6",
        statement="…and it does so exponentially.",
        wording="a straight line on a log scale",
        rule=f"R² of that line over all lengths, at least {LINEAR:g}. {NOISE}",
        unit="R²",
        bound=at_least(LINEAR),
        choose=each("paths"),
        measure=gradients.decay_r2,
    ),
    shape(
        name="veit2016/gradient/short",
        source=f"{PAPER}, section 5, figure 6",
        statement="So short paths carry the gradient.",
        wording="{:.0f} to {:.0f} blocks, of 27 on average",
        published=(f"{OWN}/paths/effective/shortest", f"{OWN}/paths/effective/longest"),
        rule="Of count × norm of sampled paths, the share in paths shorter than the average path, "
        f"N/2 blocks: at least 90 %. {NOISE}",
        unit="% of count × norm",
        bound=at_least(90),
        choose=each("paths"),
        measure=gradients.carried_below_average,
    ),
    shape(
        name="veit2016/gradient/few",
        source=f"{PAPER}, section 5, figure 6",
        statement="…and they are few.",
        wording="{:.2f} % of all paths",
        published=(f"{OWN}/paths/effective/share",),
        rule="The share of all paths inside the narrowest lengths that hold 90 % of count × norm: "
        f"at most 1 %. {NOISE}",
        unit="% of paths",
        bound=at_most(1),
        choose=each("paths"),
        measure=gradients.effective_share,
    ),
    number(
        name="veit2016/gradient/peak",
        source=f"{PAPER}, section 5, figure 6",
        statement="Count × norm peaks at short paths.",
        wording="between 8 and 13 blocks",
        rule=f"The length at which count × norm of sampled paths is largest, 8 to 13. {NOISE}",
        unit="blocks",
        bound=between(8, 13),
        choose=each("paths"),
        measure=gradients.peak,
    ),
    number(
        name="veit2016/gradient/5-17",
        source=f"{PAPER}, section 5, figure 6",
        statement="Paths of 5 to 17 blocks carry nearly all of the gradient.",
        wording="{:.0f} to {:.0f} blocks",
        published=(f"{OWN}/paths/effective/shortest", f"{OWN}/paths/effective/longest"),
        rule="Of count × norm of sampled paths, the share in 5 to 17 blocks: at least 90 %. "
        + NOISE,
        unit="% of count × norm",
        bound=at_least(90),
        choose=each("paths"),
        measure=gradients.carried_between(5, 17),
    ),
)  # fmt: skip
CLAIMS = (*SINGLE, *SEVERAL, *PATHS)
