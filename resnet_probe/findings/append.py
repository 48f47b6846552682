"""What appended layers do, in lines for a terminal."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resnet_probe.results import Result
from resnet_probe.stats import Estimate, mean_interval

CLOSE = 1e-3
NAMES = {"residual": "a residual block", "plain": "the same layers without a shortcut"}


def steps_to_identity(table: pd.DataFrame, kind: str) -> np.ndarray:
    """Steps until the identity is fitted, by draw; one more than were made where it is not."""
    rows = table[(table["kind"] == kind) & (table["quantity"] == "identity_error")]
    last = rows.groupby("draw")[["step", "value"]].last()
    return np.where(last["value"] <= CLOSE, last["step"], last["step"] + 1).astype(float)


def loss_change(table: pd.DataFrame, kind: str, confidence: float = 0.95) -> Estimate:
    """Loss behind the last step less that of the network without the layers, mean over draws.

    NaN where a draw's loss is no number any more.
    """
    loss = table[table["quantity"] == "loss"]
    whole = float(loss["value"][loss["kind"] == "whole"].iloc[0])
    ends = loss[loss["kind"] == kind].groupby("draw")["value"].last().to_numpy(dtype=np.float64)
    if not np.isfinite(ends).all():
        return Estimate(np.nan, np.nan, np.nan)
    return mean_interval(ends - whole, confidence)


def summarize_append(result: Result) -> str:
    """The lines that a run of `append` prints."""
    table = result.table
    most = int(table["step"].max())
    whole = table[table["kind"] == "whole"].set_index("quantity")["value"]
    lines = [f"as it is: loss {whole['loss']:.4g}, error {whole['error_pct']:.2f} %"]
    for kind, name in NAMES.items():
        rows = table[table["kind"] == kind]
        change = rows["value"][rows["quantity"] == "logit_change"].max()
        steps = steps_to_identity(table, kind)
        fitted = [f"{step:g}" if step <= most else f"more than {most}" for step in steps]
        found = loss_change(table, kind)
        ends = f" (95 % CI over draws {found.low:+.3g} to {found.high:+.3g})"
        by = "leaves all numbers" if np.isnan(found.value) else f"changes by {found.value:+.3g}"
        lines.append(
            f"{name}: changes a logit by {change:.3g} where it is appended; steps to the identity "
            f"(to {CLOSE:g} of the variance) by draw: {', '.join(fitted)}; trained for {most} "
            f"steps the loss {by}{ends * bool(np.isfinite(found.low))}"
        )
    return "\n".join(lines)
