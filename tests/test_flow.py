"""What flows through a network: parts that add up, gradients by depth, states that only grow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import images

from resnet_probe import chain_of, flow, layers_of, models
from resnet_probe.findings import summarize_flow


def built(spec: str, *, plain: bool = False):
    model = models.architecture(spec).build(4, seed=0).eval()
    x = images(6, 3, 8, 8)
    cut = layers_of if plain else chain_of
    return cut(model, x[:2]), x, torch.arange(6) % 4


def values(table, quantity: str) -> np.ndarray:
    return table["value"][table["quantity"] == quantity].to_numpy(float)


@pytest.mark.parametrize("spec", ["resnet20:width=4", "preresnet20:width=4"])
def test_stem_and_branches_add_up_to_the_last_state(spec):
    """With parameter-free shortcuts nothing is left for constants."""
    result = flow(*built(spec))
    share = values(result.table, "state_share")
    assert len(share) == 11 and share.sum() == pytest.approx(1)
    assert abs(share[-1]) < 1e-5
    assert values(result.table, "logit_share").sum() == pytest.approx(1)
    assert "constants" in summarize_flow(result)


def test_a_branch_that_ends_in_relu_can_only_add():
    falls = {
        order: values(flow(*built(f"resnet20:width=4,order={order}")).table, "falling_pct")
        for order in ("relu_before", "original")
    }
    assert np.nanmax(falls["relu_before"]) == 0 and np.nanmin(falls["original"]) > 0
    assert np.isnan(falls["original"]).sum() == 2  # where the resolution changes


def test_gradients_are_those_of_autograd_in_plain_networks_too():
    chain, x, y = built("plain20:width=4", plain=True)
    found = values(flow(chain, x, y).table, "gradient_log10")
    h = chain.stem(x)
    states = [h]
    for block in chain:
        states.append(block.run(states[-1]))
    loss = torch.nn.functional.cross_entropy(chain.head(states[-1]), y, reduction="none")
    first, last = torch.autograd.grad(loss.sum(), [states[0], states[-2]])
    ratio = (first.flatten(1).norm(dim=1) / last.flatten(1).norm(dim=1)).log10().mean()
    assert found[0] == pytest.approx(float(ratio), abs=1e-4) and found[-1] == 0
