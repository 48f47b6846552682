"""The head at every depth, written out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from toy_chains import TinyPlain, TinyResNet, images, labels, randomized, seeded

from resnet_probe import ProbeError, chain_of, layers_of, lens, models
from resnet_probe.findings import summarize_lens
from resnet_probe.studies.lens import COLUMNS, MEASURED


def network(spec: str):
    return randomized(models.architecture(spec).build(seed=0))


@torch.no_grad()
def logits_by_depth(model, x: torch.Tensor) -> list[torch.Tensor]:
    """A CIFAR network's head on every state; option A written out as slicing and zeros."""
    h = model.run(model.steps_stem, x)
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3) for block in stage]
    # A pre-activation that the first block's two paths share belongs to the stem.
    states = [blocks[0].run(blocks[0].steps_shared, h)]
    for block in blocks:
        h = block(h)
        states.append(h)
    width = states[-1].shape[1]
    found = []
    for h in states:
        while h.shape[1] < width:
            kept = h[:, :, ::2, ::2]
            zeros = torch.zeros_like(kept)[:, : kept.shape[1] // 2]
            h = torch.cat([zeros, kept, zeros], dim=1)
        h = model.run(model.steps_closing, h)
        found.append(model.linear(h.mean((2, 3))))
    return found


@pytest.mark.parametrize("spec", ["resnet20:width=4", "preresnet20:width=4"])
@pytest.mark.parametrize("batch", [7, None])
def test_accuracy_entropy_and_agreement_by_depth(spec, batch):
    model = network(spec)
    x, y = images(30, side=8), labels(30, classes=10)
    table = lens(chain_of(model, x[:2]), x, y, batch=batch).table
    assert list(table.columns) == list(COLUMNS)
    assert table["block"].tolist() == list(range(10))
    assert table["name"].tolist()[:3] == ["stem", "layer1.0", "layer1.1"]
    carried = ["2 parameter-free"] * 4 + ["1 parameter-free"] * 3 + [""] * 3
    assert table["carried_by"].tolist() == carried
    expected = logits_by_depth(model, x)
    whole = expected[-1].argmax(1)
    for row, logits in zip(table.itertuples(), expected, strict=True):
        right, same = logits.argmax(1) == y, logits.argmax(1) == whole
        assert row.correct == int(right.sum())
        assert row.accuracy_pct == pytest.approx(100 * right.double().mean().item())
        assert row.agreement_pct == pytest.approx(100 * same.double().mean().item())
        interval = binomtest(int(same.sum()), 30).proportion_ci(method="wilson")
        assert row.agreement_low_pct == pytest.approx(100 * interval.low)
        assert row.agreement_high_pct == pytest.approx(100 * interval.high)
        chance = torch.softmax(logits.double(), 1)
        entropy = -(chance * chance.log()).sum(1)
        assert row.entropy_nats == pytest.approx(entropy.mean().item(), rel=1e-5)
        half = 2.045230 * entropy.std().item() / np.sqrt(30)
        assert row.entropy_high_nats == pytest.approx(entropy.mean().item() + half, rel=1e-4)
    assert table["agreement_pct"].iloc[-1] == 100


def test_statistics_of_each_depth():
    """With the closing norm's own statistics, the normed state has mean 0 and variance 1 scaled."""
    model = network("preresnet20:width=4")
    x, y, training = images(30, side=8), labels(30, classes=10), images(20, side=8, seed=9)
    table = lens(chain_of(model, x[:2]), x, y, recalibrate=training).table
    norm = model.get_submodule(model.steps_closing[0])
    stored = norm.running_mean.clone(), norm.running_var.clone()
    for depth in (0, 4, 9):
        seen: list[torch.Tensor] = []
        handle = norm.register_forward_pre_hook(lambda m, args, s=seen: s.append(args[0]))
        logits_by_depth(model, training)
        handle.remove()
        rows = seen[depth].transpose(0, 1).flatten(1)
        norm.running_mean.copy_(rows.mean(1))
        norm.running_var.copy_(rows.var(1))
        right = logits_by_depth(model, x)[depth].argmax(1) == y
        norm.running_mean.copy_(stored[0])
        norm.running_var.copy_(stored[1])
        assert table["recalibrated_accuracy_pct"][depth] == pytest.approx(
            100 * right.double().mean()
        )
    trained = lens(chain_of(model, x[:2]), x, y).table
    pd.testing.assert_frame_equal(table.iloc[:, :15], trained.iloc[:, :15])
    assert trained.filter(like="recalibrated").isna().all().all()


def test_where_no_batch_norm_is_left_there_is_nothing_to_re_estimate():
    x, y = images(10, side=8), labels(10, classes=10)
    option_a = chain_of(network("resnet20:width=4"), x[:2])
    with pytest.raises(ProbeError, match="no batch norm in its shortcuts"):
        lens(option_a, x, y, recalibrate=x)
    projection = chain_of(network("resnet20:width=4,shortcut=B"), x[:2])
    table = lens(projection, x, y, recalibrate=x).table
    assert table["recalibrated_accuracy_pct"].notna().tolist() == [True] * 7 + [False] * 3
    assert table["carried_by"][0] == "2 projection"
    text = summarize_lens(lens(projection, x, y))
    assert "carried on through shortcuts with weights (2 projection)" in text


def test_a_model_with_projections_and_one_without_shortcuts():
    model = seeded(TinyResNet)
    x, y = images(8), labels(8)
    table = lens(chain_of(model, x[:1]), x, y).table
    with torch.no_grad():
        h = model.stem(x).relu()
        early = model.head(model.blocks[1].down(h).relu().mean((2, 3)))
    assert table["correct"][0] == int((early.argmax(1) == y).sum())
    plain = layers_of(seeded(TinyPlain), x[:1])
    assert len(lens(plain, x, y).table) == 4


def test_measured_columns_have_ends():
    for name in MEASURED:
        stem, unit = name.rsplit("_", 1)
        assert {name, f"{stem}_low_{unit}", f"{stem}_high_{unit}"} <= set(COLUMNS)
        assert all(f"recalibrated_{column}" in COLUMNS for column in (name,))


def test_what_cannot_be_seen_is_refused():
    model = network("resnet20:width=4")
    x, y = images(4, side=8), labels(4, classes=10)
    chain = chain_of(model, x[:1], name="resnet20")
    with pytest.raises(ProbeError, match="lens needs at least 2 images, found 1"):
        lens(chain, x[:1], y[:1])
    with pytest.raises(ProbeError, match="too small for one image of resnet20"):
        lens(chain, x, y, memory=1000)
    with pytest.raises(ProbeError, match="logits of images 0–3 are not finite"):
        lens(chain, x * torch.nan, y)
    with torch.no_grad():
        model.linear.weight[0, 0] = torch.inf
    with pytest.raises(ProbeError, match=r"linear\.weight of resnet20 holds 1 NaN"):
        lens(chain, x, y)
