"""What is claimed of layers that are appended to a network: whether they can be nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from resnet_probe.claims.claim import Claim, above, at_most, equal_to
from resnet_probe.claims.evidence import Chosen, each
from resnet_probe.findings.append import loss_change, steps_to_identity
from resnet_probe.stats import Estimate, mean_interval
from resnet_probe.stats import bootstrap as intervals

FIRST = "arXiv 1512.03385"
DRAWS = "Interval: Student's t over initial weights, these images."
LIMITS = "It says nothing of the layers before, which stay as they are, nor of other images."
few = each("append", most=9)


def more_steps(chosen: Chosen, confidence: float) -> Estimate:
    """Steps to the identity: without a shortcut less with one, mean over draws."""
    plain, residual = (
        steps_to_identity(chosen.first.table, kind) for kind in ("plain", "residual")
    )
    return mean_interval(plain - residual, confidence)


def rises(kind: str) -> Callable[[Chosen, float], Estimate]:
    """A measure: loss of the deeper network, trained on, less that of the network as it is."""

    def measure(chosen: Chosen, confidence: float) -> Estimate:
        return loss_change(chosen.first.table, kind, confidence)

    return measure


def changed(chosen: Chosen, confidence: float) -> Estimate:
    """The largest change of a logit where residual blocks are appended."""
    table = chosen.first.table
    rows = table[(table["kind"] == "residual") & (table["quantity"] == "logit_change")]
    return intervals.exact(float(rows["value"].max()))


shape = partial(Claim, kind="shape", source=f"{FIRST}, sections 1 and 3.1", choose=few)
CLAIMS = (
    shape(
        name="he2015/identity",
        statement="It is easier to push a residual to zero than to fit an identity by layers.",
        wording="easier … than to fit an identity mapping by a stack of nonlinear layers",
        rule="Steps (Adam) until layers behind the last block give their input, to 0.001 of its "
        "variance: without a shortcut less with one and a branch that begins at 0, which needs "
        "none; above 0. What is not fitted counts one more step than were made, so the "
        f"difference is at least that. {DRAWS}",
        unit="steps",
        bound=above(0),
        measure=more_steps,
    ),
    shape(
        name="he2015/nested/residual",
        statement="A deeper network that contains the shallower one need not have a higher "
        "training error: residual blocks are appended, and the loss does not rise.",
        wording="a deeper model should produce no higher training error than its shallower "
        "counterpart",
        rule="Cross-entropy of the images that layers and head are trained on, behind the last "
        f"step, less that of the network as it is: at most 0. {DRAWS} {LIMITS}",
        unit="nats",
        bound=at_most(0),
        measure=rises("residual"),
    ),
    shape(
        name="he2015/nested/plain",
        statement="…while with the same layers without shortcuts it does.",
        wording="higher training error of the deeper plain networks",
        rule=f"The same without shortcuts, after as many steps: above 0. {DRAWS} {LIMITS}",
        unit="nats",
        bound=above(0),
        measure=rises("plain"),
    ),
    Claim(
        kind="exact",
        name="he2015/nested/same",
        source=f"{FIRST}, section 1",
        statement="Residual blocks that begin at zero leave the network the function that it was.",
        wording="the added layers are identity mapping",
        rule="The largest change of a logit where they are appended: 0.",
        unit="logit",
        bound=equal_to(0),
        choose=few,
        measure=changed,
    ),
)
