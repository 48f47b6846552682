"""What is measured: the quantity of each row, its unit, and where it comes from."""

from __future__ import annotations

from typing import NamedTuple


class Quantity(NamedTuple):
    """`place`: layer, block, blocks (all of them together) or network; `interval`: what the 95 %
    interval is over."""

    place: str
    unit: str
    meaning: str
    source: str
    interval: str


JACKKNIFE = "jackknife over up to 20 groups of images"
BLOCKS = "Bonett & Wright 2000 over blocks like these, as they are measured here"
IMAGES = "Student's t over images; beside it the quantiles over images"

QUANTITIES: dict[str, Quantity] = {
    "response_std": Quantity(
        "layer",
        "that of the activations",
        "standard deviation of a weight layer's output over all images, channels and positions, "
        "behind the norm that directly follows it and before ReLU and addition; the convolution's "
        "own output where not every layer of the network has such a norm (pre-activation, VGG "
        "without batch norm). The `network` row is the mean over its layers",
        "He et al. 2015, arXiv 1512.03385, figure 7",
        JACKKNIFE,
    ),
    "ratio": Quantity(
        "block",
        "none",
        "‖F(h)‖ / ‖shortcut(h)‖ of one image, Euclidean over channels and positions",
        "Jastrzebski et al. 2018, arXiv 1710.04773, figure 2; Chang et al. 2018, arXiv 1710.10348",
        IMAGES,
    ),
    "cosine_shortcut": Quantity(
        "block",
        "none",
        "cosine between F(h) and shortcut(h), which is h itself for an identity shortcut",
        "He et al. 2016, arXiv 1603.05027, equations 1–2, for the two terms",
        IMAGES,
    ),
    "cosine_gradient": Quantity(
        "block",
        "none",
        "cosine between F(h) and the gradient of the image's cross-entropy with respect to h; none "
        "where F(h) has another shape than h; a negative one refines: it lowers the loss",
        "Jastrzebski et al. 2018, arXiv 1710.04773, section 4",
        IMAGES,
    ),
    "cosine_gradient_sum": Quantity(
        "block",
        "none",
        "the same with the gradient with respect to shortcut(h) + F(h), defined for every block",
        "as cosine_gradient, taken where F(h) is added",
        IMAGES,
    ),
    "variance_ratio": Quantity(
        "block",
        "none",
        "Var(F(h)) / Var(shortcut(h)): variances over images and positions of each channel, their "
        "means over channels divided",
        "De & Smith 2020, arXiv 2002.10444, section 3",
        JACKKNIFE,
    ),
    "stage_deviation": Quantity(
        "block",
        "none",
        "‖h' − h_end‖ / ‖h_end‖ of one image: the block's output against that of the last block of "
        "its stage",
        "Greff et al. 2017, arXiv 1612.07771, section 3",
        IMAGES,
    ),
    "block_influence": Quantity(
        "block",
        "none",
        "1 − cos(h, h′) of one image between the block's input and its output, over channels and "
        "positions, and of a text the mean over its tokens; none where they have different shapes",
        "Men et al. 2024, arXiv 2403.03853, there for single tokens",
        IMAGES,
    ),
    "deletion_cost": Quantity(
        "block",
        "nats, or that of the loss",
        "by how much the loss of one image rises when the block is deleted; with `costs` only",
        "Veit et al. 2016, arXiv 1605.06431, section 4.1, for the deletion",
        IMAGES,
    ),
    "influence_rank": Quantity(
        "blocks",
        "none",
        "Spearman's ρ over the blocks between `block_influence` and `deletion_cost`, the means "
        "over these images; with `costs` only",
        "Men et al. 2024, arXiv 2403.03853, for the order",
        BLOCKS,
    ),
    "ratio_rank": Quantity(
        "blocks",
        "none",
        "the same between `ratio` and `deletion_cost`",
        "this package",
        BLOCKS,
    ),
    "dead_pct": Quantity(
        "block",
        "% of units",
        "units (channel × position) behind the ReLUs of the block, in its branch and behind the "
        "addition, that are 0 on every image; falls with the number of images",
        "this package",
        "none: it is a count on these images",
    ),
    "always_on_pct": Quantity(
        "block",
        "% of units",
        "the same units, positive on every image: there the ReLU does nothing",
        "this package",
        "none: it is a count on these images",
    ),
    "stable_rank": Quantity(
        "block",
        "directions",
        "‖R‖² (Frobenius) / ‖R‖² (spectral) of the matrix R of F(h), a row an image and position, "
        "a column a channel: how many directions the response uses",
        "Rudelson & Vershynin 2007, doi 10.1145/1255443.1255449, for the stable rank",
        JACKKNIFE + "; none for very wide networks",
    ),
}
"""A network without shortcuts has no F(h) beside h: what compares the two is NaN there."""

PER_IMAGE = tuple(name for name, what in QUANTITIES.items() if what.interval == IMAGES)
RANKED = {"influence_rank": "block_influence", "ratio_rank": "ratio"}
"""What is ranked against the cost of a deletion."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
COLUMNS: dict[str, str] = {
    "arch": "the network",
    "place": "layer, block, blocks (together) or network",
    "number": "of the layer or block, from 1",
    "name": "its own name",
    "block": "the block that it belongs to; 0: the stem",
    "stage": "the stage of the block",
    "kernel": "of a layer, such as 3×3",
    "taken": "where a layer's response is taken: behind its norm, or from the convolution itself",
    "quantity": "what is measured: see `QUANTITIES`",
    "value": "in the quantity's unit; NaN where it is not defined",
    "ci_low": "lower end of the 95 % interval",
    "ci_high": "upper end",
    **{f"q{round(100 * q):02d}": f"{100 * q:g} % quantile over images" for q in QUANTILES},
    "images": "how many",
}
