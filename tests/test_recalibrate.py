"""Batch-norm statistics estimated anew, against hooks and against a lesion written by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from journals import Memory
from scipy.stats import binomtest
from torch import nn
from toy_chains import TinyResNet, images, labels, randomized, seeded

from resnet_probe import Edit, ProbeError, chain_of, layers_of, lesion, models, recalibrated
from resnet_probe.engine.recalibrate import renewed

SPECS = ("resnet20:width=4", "preresnet20:width=4", "resnet20:shortcut=B,width=4")


def network(spec: str) -> nn.Module:
    return randomized(models.architecture(spec).build(seed=0))


@torch.no_grad()
def recalibrate_by_hand(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """A copy, its norms renewed one by one in the order that they run."""
    twin = copy.deepcopy(model).eval()
    order: list[nn.BatchNorm2d] = []
    norms = [m for m in twin.modules() if isinstance(m, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(lambda m, _: order.append(m)) for norm in norms]
    twin(x)
    for handle in handles:
        handle.remove()
    for norm in order:
        seen: list[torch.Tensor] = []
        handle = norm.register_forward_pre_hook(
            lambda m, args, seen=seen: seen.append(args[0].clone())
        )
        twin(x)
        handle.remove()
        rows = seen[0].double().transpose(0, 1).flatten(1)
        norm.running_mean.copy_(rows.mean(1))
        norm.running_var.copy_(rows.var(1))
    return twin


@pytest.mark.parametrize("spec", SPECS)
def test_the_statistics_are_those_that_the_network_then_has(spec):
    model = network(spec)
    x = images(24, side=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chain = chain_of(model, x[:2])
    found = recalibrated(chain, x)
    with torch.no_grad():
        expected = recalibrate_by_hand(model, x)(x)
        torch.testing.assert_close(found(x), expected, rtol=1e-3, atol=1e-4)
        assert (found(x) - chain(x)).abs().max() > 0.1
        assert torch.equal(chain(x), model(x))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    shared = {p.data_ptr() for p in model.parameters()}
    assert {p.data_ptr() for m in found.modules for p in m.parameters()} <= shared


class Called(nn.BatchNorm2d):
    """A batch norm whose graph calls a function."""

    def forward(self, x):
        mean, variance = self.running_mean, self.running_var
        if self.eps > 1e-4:
            return torch.batch_norm(
                x, self.weight, self.bias, mean, variance, False, 0.1, self.eps, True
            )
        return nn.functional.batch_norm(x, mean, running_var=variance, weight=self.weight)


@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_norms_that_are_called_as_functions_are_renewed_too(eps):
    model = seeded(TinyResNet)
    for block in model.blocks:
        block.bn1, block.bn2 = (randomized(Called(c.out_channels, eps), 3)
                                for c in (block.conv1, block.conv2))  # fmt: skip
    model.blocks[1].down[1] = randomized(Called(8, eps), 4)
    x = images(24, side=8)
    found = recalibrated(chain_of(model, x[:2]), x)
    with torch.no_grad():
        expected = recalibrate_by_hand(model, x)(x)
        torch.testing.assert_close(found(x), expected, rtol=1e-3, atol=1e-4)
        assert (model(x) - expected).abs().max() > 0.1


def test_it_does_not_depend_on_the_memory():
    chain = chain_of(network(SPECS[0]).double(), images(2, side=8).double())
    x = images(24, side=8).double()
    logits = [recalibrated(chain, x, memory=memory)(x) for memory in (2**20, 2**26)]
    torch.testing.assert_close(*logits, rtol=1e-9, atol=1e-9)


def test_each_edit_has_statistics_of_its_own():
    model = seeded(TinyResNet)
    x = images(24)
    chain = chain_of(model, x[:2])
    asked = [Edit(), Edit.delete(1), Edit.repeat(3)]
    seen = {}
    for network in renewed(chain, asked, x):
        (index,) = network.edits
        seen[index] = network.chain.run(x, network.steps)
    assert sorted(seen) == [0, 1, 2]
    silenced = copy.deepcopy(model)
    silenced.blocks[0].bn2.weight.data.zero_()
    silenced.blocks[0].bn2.bias.data.zero_()
    twice = copy.deepcopy(model)
    twice.blocks.append(copy.deepcopy(model.blocks[2]))
    with torch.no_grad():
        for index, edited in enumerate((model, silenced, twice)):
            expected = recalibrate_by_hand(edited, x)(x)
            torch.testing.assert_close(seen[index], expected, rtol=1e-3, atol=1e-4)


def by_hand(model, x, y, training):
    """Correctness of every single deletion with statistics of its own, image by image."""
    rows = []
    for gone in [None, 0, 1, 2]:
        twin = copy.deepcopy(model)
        if gone is not None:
            twin.blocks[gone].bn2.weight.data.zero_()
            twin.blocks[gone].bn2.bias.data.zero_()
        with torch.no_grad():
            rows.append((recalibrate_by_hand(twin, training)(x).argmax(1) == y).numpy())
    return np.array(rows)


def test_the_lesion_has_both_columns_side_by_side():
    model = seeded(TinyResNet)
    x, y, training = images(40), labels(40), images(24, seed=9)
    chain = chain_of(model, x[:2])
    table = lesion(chain, x, y, recalibrate=training).table
    plain = lesion(chain, x, y).table
    assert table[plain.columns].equals(plain)
    own = by_hand(model, x, y, training)
    assert table["recalibrated_correct"].tolist() == own.sum(1).tolist()
    error = 100 - 100 * own.mean(1)
    np.testing.assert_allclose(table["recalibrated_error_pct"], error)
    np.testing.assert_allclose(table["recalibrated_delta_pct"], error - error[0], atol=1e-9)
    np.testing.assert_allclose(table["restored_pct"], plain["error_pct"] - error, atol=1e-9)
    for index, row in enumerate(table.itertuples()):
        interval = binomtest(int((~own[index]).sum()), 40).proportion_ci(method="wilson")
        assert row.recalibrated_ci_low_pct == pytest.approx(100 * interval.low)
        worse = int((own[0] & ~own[index]).sum())
        better = int((~own[0] & own[index]).sum())
        p = binomtest(worse, worse + better).pvalue if worse + better else 1.0
        assert row.recalibrated_p_value == pytest.approx(p)


def test_an_interrupted_recalibration_goes_on_where_it_stopped(monkeypatch):
    model = seeded(TinyResNet)
    x, y, training = images(20), labels(20), images(12, seed=9)
    chain = chain_of(model, x[:2])
    monkeypatch.setattr("resnet_probe.studies.outcomes.KEEP_EVERY", 8)
    whole, journal = lesion(chain, x, y, recalibrate=training, batch=4), Memory(stop=4)
    with pytest.raises(KeyboardInterrupt):
        lesion(chain, x, y, recalibrate=training, batch=4, journal=journal)
    assert list(journal.steps) == ["0", "8", "16", "recalibrated-0"]
    again = lesion(chain, x, y, recalibrate=training, batch=4, journal=journal)
    assert again.table.equals(whole.table)
    assert "recalibrated-0" in journal.given and len(journal.steps) == 6


def test_what_cannot_be_re_estimated_is_refused():
    x = images(4, side=8)
    bare = layers_of(network("vgg16:width=4"), images(1, side=32), name="vgg16")
    with pytest.raises(ProbeError, match="vgg16 has no batch norm"):
        recalibrated(bare, images(4, side=32))
    chain = chain_of(network(SPECS[0]), x[:1], name="resnet20")
    with pytest.raises(ProbeError, match="variances need at least 2 images"):
        recalibrated(chain, x[:1])
    with pytest.raises(ProbeError, match=r"states of 4 images of resnet20 take .* on fewer images"):
        recalibrated(chain, x, memory=5_000)
