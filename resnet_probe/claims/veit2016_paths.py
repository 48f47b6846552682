"""The claims of Veit, Wilber & Belongie 2016, arXiv 1605.06431, on paths and their gradients."""

from __future__ import annotations

from functools import partial

from resnet_probe.claims import gradients
from resnet_probe.claims.claim import Claim, at_least, at_most, below, between, equal_to
from resnet_probe.claims.evidence import one
from resnet_probe.claims.veit2016 import DEEP, OWN, PAPER, deep, number, shape

LINEAR = 0.95
"""R² from which a line is called straight."""
NOISE = "Interval: parametric bootstrap over the sampled paths of each length."

exact = partial(Claim, kind="exact", network="preresnet110")
paper_size = one("paths", "preresnet110", "resnet110", least=DEEP, most=DEEP)

CLAIMS = (
    exact(
        name="veit2016/path-lengths/mean",
        source=f"{PAPER}, section 3",
        statement="The lengths of the 2^54 paths are binomial: half of the blocks on average.",
        wording="{:.0f} blocks",
        published=(f"{OWN}/paths/mean",),
        rule="The mean of the lengths, counted.",
        unit="blocks",
        bound=equal_to(27),
        choose=paper_size,
        measure=gradients.path_mean,
    ),
    exact(
        name="veit2016/path-lengths/sd",
        source=f"{PAPER}, section 3",
        statement="…with the spread of a binomial distribution.",
        wording="{:.2f} blocks",
        published=(f"{OWN}/paths/sd",),
        rule="The standard deviation of the lengths, counted; equal as far as it is printed.",
        unit="blocks",
        bound=equal_to(3.67, rounding=0.005),
        choose=paper_size,
        measure=gradients.path_sd,
    ),
    exact(
        name="veit2016/path-lengths/19-35",
        source=f"{PAPER}, section 3",
        statement="Nearly all paths are about half as long as the network.",
        wording="{:.0f} % with 19 to 35 blocks",
        published=(f"{OWN}/paths/19-35",),
        rule="The share of paths with 19 to 35 blocks, counted; equal as far as it is printed.",
        unit="% of paths",
        bound=equal_to(98, rounding=0.5),
        choose=paper_size,
        measure=gradients.share_of_lengths(19, 35),
    ),
    exact(
        name="veit2016/effective/share",
        source=f"{PAPER}, section 5, figure 6",
        statement="Paths of 5 to 17 blocks are a very small part of all paths.",
        wording="{:.2f} %",
        published=(f"{OWN}/paths/effective/share",),
        rule="The share of paths with 5 to 17 blocks, counted; equal as far as it is printed.",
        unit="% of paths",
        bound=equal_to(0.45, rounding=0.005),
        choose=paper_size,
        measure=gradients.share_of_lengths(5, 17),
    ),
    shape(
        name="veit2016/gradient/decays",
        source=f"{PAPER}, section 5, figure 6",
        statement="The gradient along a path falls with the number of blocks on it.",
        wording="falls",
        rule="By what the norm of a sampled path is multiplied with every block, from a line "
        f"through the log norms: below 1. {NOISE}",
        unit="a block",
        bound=below(1),
        choose=deep("paths"),
        measure=gradients.decay_factor,
    ),
    shape(
        name="veit2016/gradient/exponential",
        source=f"{PAPER}, section 5, figure 6",
        statement="…and it does so exponentially.",
        wording="a straight line on a log scale",
        rule=f"R² of that line over all lengths, at least 0.95. {NOISE}",
        unit="R²",
        bound=at_least(LINEAR),
        choose=deep("paths"),
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
        choose=deep("paths"),
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
        choose=deep("paths"),
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
        choose=paper_size,
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
        choose=paper_size,
        measure=gradients.carried_between(5, 17),
    ),
)
