"""The claims of Veit, Wilber & Belongie 2016, arXiv 1605.06431: lesions, and their rules.

Each rule is the paper's statement made measurable: a bound comes from what the paper prints or
from the raw results of its authors, an order asks for an interval on the right side of zero. Where
a claim is a number of CIFAR-10 it stands twice: as that number, and in a form that other images
can test.
"""

from __future__ import annotations

from functools import partial

from resnet_probe.claims import lesions
from resnet_probe.claims.claim import Claim, above, at_least, at_most, between
from resnet_probe.claims.evidence import Chooser, one, pair, series, together

PAPER = "arXiv 1605.06431"
RAW = f"{PAPER}: the authors' raw results"
OWN = "veit2016/preresnet110"
DEEP = 54
"""Blocks of the paper's 110-layer network, which its claims are about."""
NEAR = 0.6
"""Percent of the way to chance: 0.5 points of the 84 from 6.03 % error to guessing."""
STEPS = "Interval: bootstrap over draws."


def deep(study: str) -> Chooser:
    """The paper's network, or another residual one that is as deep."""
    return one(study, "preresnet110", "resnet110", least=DEEP)


number = partial(Claim, kind="number", network="preresnet110")
shape = partial(Claim, kind="shape", network="preresnet110")

SINGLE = (
    number(
        name="veit2016/delete-one",
        source=f"{PAPER}, section 4.1, figure 3",
        statement="Deleting any one block of a deep residual network barely changes its error.",
        wording="median {:.2f} % against {:.2f} %",
        published=(f"{OWN}/delete/median", f"{OWN}/error"),
        rule="Median over all single deletions of the change in error on the same images, at most "
        "0.5 points. Interval over images, paired.",
        unit="points",
        bound=at_most(0.5),
        choose=deep("lesion"),
        measure=lesions.median_delta,
    ),
    shape(
        name="veit2016/delete-one/relative",
        source=f"{PAPER}, section 4.1, figure 3",
        statement="Deleting any one block of a deep residual network barely changes its error.",
        wording="median {:.2f} % against {:.2f} %, which is 0.5 % of the way to chance",
        published=(f"{OWN}/delete/median", f"{OWN}/error"),
        rule="The median change in percent of the way from the whole network's error to guessing, "
        "at most 0.6 % (0.5 points of the 84 on CIFAR-10). Interval over images, paired.",
        unit="% of the way",
        bound=at_most(NEAR),
        choose=deep("lesion"),
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
        "the ranks that the deletions' joint Wilson intervals allow.",
        unit="% of blocks",
        bound=at_most(10),
        choose=deep("lesion"),
        measure=lesions.worst_rank,
    ),
    shape(
        name="veit2016/depth-order",
        source=RAW,
        statement="The deeper a residual network, the less one deletion costs.",
        wording="medians {:.1f} > {:.1f} > {:.1f} > {:.1f} > {:.1f} % at 20 to 110 layers",
        published=tuple(f"veit2016/preresnet{d}/delete/median" for d in (20, 32, 44, 56, 110)),
        rule="The median change in error falls from each depth to the next: the smallest fall is "
        "above 0. Interval over images, paired, joint over the steps.",
        unit="points",
        bound=above(0),
        choose=series("lesion", "preresnet", "resnet"),
        measure=lesions.median_delta_falls,
        network="preresnet20, preresnet32, preresnet44, preresnet56, preresnet110",
    ),
    shape(
        name="veit2016/shallow",
        source=RAW,
        statement="In a shallow residual network a deletion does hurt.",
        wording="20 layers: median {:.1f} %",
        published=("veit2016/preresnet20/delete/median",),
        rule="The median change in percent of the way to guessing, above the 0.6 % that a deep "
        "network is allowed, in one of at most 9 blocks. Interval over images, paired.",
        unit="% of the way",
        bound=above(NEAR),
        choose=one("lesion", "preresnet20", "resnet20", most=9),
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
        "every layer means at least 90 % of them. Interval: the layers of which the joint paired "
        "intervals say so, to those of which they allow it.",
        unit="% of layers",
        bound=at_least(90),
        choose=one("lesion", "vgg16", "vgg16_bn", residual=False, family="vgg"),
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
        "same depth, above 0. Interval over images, from both.",
        unit="points",
        bound=above(0),
        choose=pair("lesion"),
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
        published=tuple(f"{OWN}/delete-k/{k}" for k in (1, 5, 10, 15, 20)),
        rule="The median error rises from each k to the next, at k = 1, 5, 10, 15, 20: the "
        f"smallest rise is above 0. {STEPS}",
        unit="points",
        bound=above(0),
        choose=deep("lesion-counts"),
        measure=lesions.delete_rises,
    ),
    number(
        name="veit2016/delete-10",
        source=f"{PAPER}, section 4.2, figure 5a",
        statement="How much ten random deletions cost.",
        wording="median {:.1f} %, quartiles {:.1f} and {:.1f} %",
        published=tuple(f"{OWN}/delete-k/10{end}" for end in ("", "/q1", "/q3")),
        rule="The median error with ten blocks deleted lies between the published quartiles. "
        + STEPS,
        unit="%",
        bound=between(19.0, 40.2),
        choose=deep("lesion-counts"),
        measure=lesions.median_at(10),
    ),
    shape(
        name="veit2016/permute",
        source=f"{PAPER}, section 4.3, figure 5b",
        statement="The error rises smoothly as the order of the blocks is further from the "
        "trained one.",
        wording="medians {:.1f}, {:.1f}, {:.1f}, {:.1f} % at τ ≥ .98, near .95, .91, .87",
        published=tuple(f"{OWN}/permute/tau-{tau}" for tau in ("0.98", "0.94", "0.90", "0.86")),
        rule="The median error rises from each Kendall τ to the next lower, at τ = 0.99, 0.95, "
        f"0.91, 0.87: the smallest rise is above 0. {STEPS}",
        unit="points",
        bound=above(0),
        choose=deep("lesion-permute-tau"),
        measure=lesions.permute_rises,
    ),
    shape(
        name="veit2016/duplicate",
        source=RAW,
        statement="Running blocks twice is mild: it costs less than leaving them out.",
        wording="twice: {:.1f} and {:.1f} %, deleted: {:.1f} and {:.1f} % for k = 5, 10",
        published=(
            f"{OWN}/duplicate-k/5", f"{OWN}/duplicate-k/10", f"{OWN}/delete-k/5",
            f"{OWN}/delete-k/10",
        ),
        rule="Median error with k blocks deleted less that with k duplicated, for k = 5 and 10, "
        f"where the published ones differ by over a point: the smaller is above 0. {STEPS}",
        unit="points",
        bound=above(0),
        choose=together(deep("lesion-counts"), deep("lesion-duplicate")),
        measure=lesions.duplicate_below_delete,
    ),
)  # fmt: skip
CLAIMS = (*SINGLE, *SEVERAL)
