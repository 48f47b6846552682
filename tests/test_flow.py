"""What flows through a network: parts that add up, gradients by depth, states that only grow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from small_networks import images
from torch import Tensor, nn

from resnet_probe import ProbeError, chain_of, flow, gates, layers_of, models, responses
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
    percent = 100 * share
    largest = np.argsort(-abs(percent[1:-1]), kind="stable")[:3]
    names = result.table["name"][result.table["quantity"] == "state_share"].to_numpy()
    most = ", ".join(f"{n + 1} ({names[n + 1]}) {percent[n + 1]:.1f} %" for n in largest)
    assert (
        f"the last state is the sum of what went in: stem {percent[0]:.1f} %, blocks "
        f"{percent[1:-1].sum():.1f} %, constants {percent[-1]:.1f} %; most from blocks {most}"
    ) in summarize_flow(result)


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


class Residual(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, h: Tensor) -> Tensor:
        return h + self.branch(h)


class Normed(nn.Module):
    """Instance norms, as a module and as a function, in channels-last memory."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4)
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(4))
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        first, second, third, last = self.convs
        h = h + second(nn.functional.silu(self.norm(first(h))))
        h = h + last(nn.functional.silu(nn.functional.instance_norm(third(h))))
        return self.head(h.mean((2, 3)).tanh())


@pytest.mark.parametrize("study", [flow, gates, responses])
def test_gradients_of_instance_norms_are_the_same_image_by_image(study):
    """PyTorch's are wrong for one image alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Normed().double().to(memory_format=torch.channels_last).eval()
    x, y = images(5, 3, 8, 8), torch.arange(5)
    x = x.double().contiguous(memory_format=torch.channels_last)
    chain = chain_of(model, x)
    tables = [study(chain, x, y, batch=batch).table for batch in (1, 5)]
    columns = [name for name in ("value", "ci_low", "foretold_loss") if name in tables[0]]
    pd.testing.assert_frame_equal(*(table[columns] for table in tables), rtol=1e-6, atol=1e-9)


def test_what_a_wide_branch_holds_for_its_way_back_is_counted():
    def wide() -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 512, 1), nn.Tanh(), nn.Conv2d(512, 4, 1))

    with torch.random.fork_rng(devices=[]):
        blocks = [Residual(wide()) for _ in range(6)]
        model = nn.Sequential(nn.Conv2d(3, 4, 1), *blocks, nn.Flatten(), nn.Linear(256, 3)).eval()
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    hidden = 6 * 512 * 8 * 8 * 4  # the outputs of Tanh alone, in bytes
    with pytest.raises(ProbeError, match="too small for one image"):
        flow(chain_of(model, x), x, torch.zeros(4).long(), memory=hidden)
    assert len(flow(chain_of(model, x), x, torch.zeros(4).long()).table)
