"""What is claimed of what flows: gradients back through the depth, the state forward.

The gradient is that of an image's loss at the input of each block, as log10 beside that at the
input of the last block, mean over images.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from resnet_probe.claims.claim import Claim, above, at_least, at_most, equal_to
from resnet_probe.claims.evidence import Chooser, Chosen, Evidence, Exhibit, NotHere, each, pairs
from resnet_probe.claims.sizes import errors_of
from resnet_probe.stats import Estimate, Floats, mean_interval
from resnet_probe.stats import bootstrap as intervals

FIRST, SECOND = "arXiv 1512.03385", "arXiv 1603.05027"
FRESH = "flow-init"
HALF, BEFORE = ":shortcut=scaled_shortcut", ":order=relu_before"
"""Options of networks that are looked at before training."""
VANISHED = -1
"""log10: a gradient below a tenth has begun to vanish."""
FALLING = 10
"""Percent of the elements of a state."""
BLOCKS = "Interval: over images, joint over blocks at the end that one block decides."


def least_gradient(chosen: Chosen, confidence: float) -> Estimate:
    """log10 of the gradient at the block where it is smallest, beside that at the last block."""
    value, error, freedom = _gradients(chosen.first)
    return intervals.least(value, error, freedom, confidence)


def farther_than_residual(chosen: Chosen, confidence: float) -> Estimate:
    """How much farther from 0 the plain network's log10 comes than the residual one's."""
    residual, plain = (_farthest(exhibit, confidence) for exhibit in chosen.exhibits)
    return intervals.difference(plain, residual)


def starved(chosen: Chosen, confidence: float) -> Estimate:
    """log10 of the gradient at block 1: halved shortcuts less whole ones, mean over seeds."""
    halved, whole = (_at_first(exhibit) for exhibit in chosen.exhibits)
    count = min(len(halved), len(whole))
    return mean_interval(halved[:count] - whole[:count], confidence)


def least_falling(chosen: Chosen, confidence: float) -> Estimate:
    """Percent of the state's elements that fall, in the block where fewest do."""
    rows = _of(chosen.first, "falling_pct")
    freedom = float(chosen.first.images - 1)
    return intervals.least(rows["value"], errors_of(rows, freedom), freedom, confidence)


def most_falling(chosen: Chosen, confidence: float) -> Estimate:
    """The same in the block where most do: nothing is sampled where it is none."""
    return intervals.exact(float(_of(chosen.first, "falling_pct")["value"].max()))


def left_over(chosen: Chosen, confidence: float) -> Estimate:
    """The share of the last state that neither the stem nor a block has put in."""
    exhibit = chosen.first
    if not exhibit.facts.get("free_shortcuts"):
        raise NotHere(f"needs shortcuts without parameters: {exhibit.network} has others")
    rows = _of(exhibit, "state_share")
    return intervals.exact(float(rows["value"][rows["name"] == "constants"].abs().max()))


def halved(evidence: Evidence) -> list[Chosen]:
    """Each network with halved shortcuts beside the one with whole ones, on the same images."""
    fresh = evidence.all(FRESH)
    found = [
        Chosen((half, whole))
        for half in fresh
        for whole in fresh
        if half.arch == whole.arch + HALF and half.images_called == whole.images_called
    ]
    if not found:
        raise NotHere(f"needs {FRESH} of a network with and without {HALF[1:]}")
    return found


def with_option(option: str) -> Chooser:
    """Each network before training that has this option."""

    def choose(evidence: Evidence) -> list[Chosen]:
        found = [exhibit for exhibit in evidence.all(FRESH) if exhibit.arch.endswith(option)]
        if not found:
            raise NotHere(f"needs {FRESH} of a network with {option[1:]}")
        return [Chosen((exhibit,)) for exhibit in found]

    return choose


def _farthest(exhibit: Exhibit, confidence: float) -> Estimate:
    value, error, freedom = _gradients(exhibit)
    both, errors = np.concatenate([value, -value]), np.concatenate([error, error])
    return intervals.greatest(both, errors, freedom, confidence)


def _gradients(exhibit: Exhibit) -> tuple[Floats, Floats, float]:
    """By block but the last, which the others are beside."""
    rows = _of(exhibit, "gradient_log10").iloc[:-1]
    if rows.empty:
        raise NotHere(f"needs at least two blocks: {exhibit.network} has one")
    freedom = float(exhibit.images - 1)
    return rows["value"].to_numpy(dtype=np.float64), errors_of(rows, freedom), freedom


def _at_first(exhibit: Exhibit) -> Floats:
    rows = _of(exhibit, "gradient_log10")
    return rows["value"][rows["block"] == 1].to_numpy(dtype=np.float64)


def _of(exhibit: Exhibit, quantity: str) -> pd.DataFrame:
    table = exhibit.table
    rows = table[(table["quantity"] == quantity) & table["value"].notna()].reset_index(drop=True)
    if rows.empty:
        raise NotHere(f"needs {quantity}: {exhibit.network} has none")
    return rows


shape = partial(Claim, kind="shape")
CLAIMS = (
    shape(
        name="he2016/gradient/kept",
        source=f"{SECOND}, section 2, equation 5",
        statement="Through a residual network the gradient does not vanish, however deep it is.",
        wording="∂E/∂x_L reaches every block without passing through any layer",
        rule="log10 of the gradient's norm at the block where it is smallest, beside that at the "
        f"last block: at least {VANISHED}, a tenth. {BLOCKS}",
        unit="log10",
        bound=at_least(VANISHED),
        choose=each("flow"),
        measure=least_gradient,
    ),
    shape(
        name="he2015/gradient/plain",
        source=f"{FIRST}, section 4.1",
        statement="…nor does it through a plain network with batch norm.",
        wording="the backward propagated gradients exhibit healthy norms with BN",
        rule="The same of plain networks with batch norm. It says nothing of networks without.",
        unit="log10",
        bound=at_least(VANISHED),
        choose=each("flow", residual=False, family="plain"),
        measure=least_gradient,
    ),
    shape(
        name="he2016/gradient/beside-plain",
        source=f"{SECOND}, section 2",
        statement="Over its depth a residual network changes the gradient less than a plain one, "
        "in which it is a product of all layers.",
        wording="a sum with an identity term, where a plain network has a product",
        rule="How far log10 of the gradient's norm comes from that of the last block, either way: "
        f"plain less residual, of one depth, above 0. {BLOCKS}",
        unit="log10",
        bound=above(0),
        choose=pairs("flow"),
        measure=farther_than_residual,
    ),
    shape(
        name="he2016/half-shortcut",
        source=f"{SECOND}, section 3.1, equation 8",
        statement="Shortcuts scaled by one half starve the early blocks of a deep network.",
        wording="the gradient's identity term is the product of all factors, 0.5^N",
        rule="log10 of the gradient's norm at block 1 beside that at the last block, before "
        "training, with shortcuts of 0.5·x less that with x: at most −1, a tenth. Interval: "
        "Student's t over initial weights. It does not show what training makes of it.",
        unit="log10",
        bound=at_most(VANISHED),
        choose=halved,
        measure=starved,
        network="resnet110",
    ),
    shape(
        name="he2016/orders/falls",
        source=f"{SECOND}, section 4.1",
        statement="A residual function should take both signs: from block to block parts of the "
        "state fall.",
        wording="a residual function should take values in (−∞, +∞)",
        rule="The share of the state's elements that are lower behind a block with an identity "
        f"shortcut than before it, in the block where fewest are: at least {FALLING} %. {BLOCKS}",
        unit="% of elements",
        bound=at_least(FALLING),
        choose=each("flow"),
        measure=least_falling,
    ),
    Claim(
        kind="exact",
        name="he2016/orders/relu-before",
        source=f"{SECOND}, section 4.1",
        statement="With a ReLU at the end of the branch the state can only grow.",
        wording="the forward propagated signal is monotonically increasing",
        rule="The share of elements that fall, in the block where most do, with the order "
        "relu_before: none.",
        unit="% of elements",
        bound=equal_to(0),
        choose=with_option(BEFORE),
        measure=most_falling,
    ),
    Claim(
        kind="exact",
        name="he2016/sum",
        source=f"{SECOND}, equation 4",
        statement="The last state is the sum of what the stem and the blocks put in.",
        wording="x_L = x_l + Σ F",
        rule="The share of the last state that neither the stem nor a block has put in, behind "
        "shortcuts without parameters, mean over images: at most 0.001, which is rounding.",
        unit="share",
        bound=at_most(0.001),
        choose=each("flow"),
        measure=left_over,
    ),
)
