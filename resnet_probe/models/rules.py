"""Which options go together, and what they make of deletion and paths, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_probe.errors import ProbeError
from resnet_probe.models.joins import GATED, NOTES
from resnet_probe.models.orders import ORDERS

GATE_BIAS = -6.0
"""The usual one: the best of He et al. 2016, arXiv 1603.05027, table 1."""


def anything(name: str, values: Mapping[str, Any]) -> None:
    """All options go together."""


def residual(name: str, values: Mapping[str, Any]) -> None:
    """Raises ProbeError for the bias of a gate that is not there, or a batch norm that is not."""
    if values["gate_bias"] != GATE_BIAS and values["shortcut"] not in GATED:
        raise ProbeError(
            f"{name} with shortcut={values['shortcut']} has no gate for gate_bias: "
            "that goes with shortcut=gated or shortcut=gated_shortcut"
        )
    order = values.get("order", "preact")
    if values.get("zero_init") == "yes" and "bn" not in ORDERS[order].behind:
        ending = ", ".join(key for key, place in ORDERS.items() if "bn" in place.behind)
        raise ProbeError(
            f"{name} with order={order} has no batch norm at the end of its branches for "
            f"zero_init: the orders that have one are {ending}"
        )


def note(kind: str, values: Mapping[str, Any]) -> str:
    """What deleting a block and taking a path mean there, where that is not just x + F(x)."""
    join = "transform" if kind == "highway" else str(values.get("shortcut", ""))
    sentences = [NOTES.get(join, "")]
    if values.get("stochastic_depth", 1.0) < 1:
        sentences.append(
            "branches count with their survival probability, as at test time after training with "
            "stochastic depth."
        )
    if values.get("deleted"):
        sentences.append("blocks are numbered anew: those deleted before training are not blocks.")
    return " ".join(filter(None, sentences))
