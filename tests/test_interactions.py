"""Variance by order: products whose spectrum is known, all sets by brute force, and draws."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
import torch
from toy_chains import TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import ProbeError, Result, chain_of, draw, interactions
from resnet_probe.findings import additive, summarize_interactions
from resnet_probe.studies.interactions import COLUMNS, power_by_order, sampled_shares


def shares(table, keep):
    return table[table["keep"] == keep].sort_values("order")["value"].to_numpy()


def spectrum_of_product(factors, keep):
    """Of Π(1 + g f): each gate gives its mean or its spread."""
    found = np.array([1.0])
    for f in factors:
        found = np.convolve(found, [(1 + keep * f) ** 2, keep * (1 - keep) * f**2])
    return 100 * found[1:] / found[1:].sum()


def test_a_product_has_the_spectrum_of_its_factors():
    factors = [0.5, -0.25, 1.0, 2.0]
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = interactions(scalar_chain(factors), x, [0, 1] * 3, keep=(0.5, 0.8)).table
    for keep in (0.5, 0.8):
        np.testing.assert_allclose(
            shares(table, keep), spectrum_of_product(factors, keep), rtol=1e-5
        )
    assert tuple(table.columns) == COLUMNS and (table["networks"] == 16).all()


@pytest.mark.parametrize("keep", [0.5, 0.7])
def test_it_is_the_variance_of_conditional_means(keep):
    """The parts by their definition: means over the other gates, lower orders taken off."""
    random = np.random.default_rng(0)
    values = random.standard_normal((8, 2, 3))
    gates = list(product((0, 1), repeat=3))
    weight = np.array([np.prod([keep if g else 1 - keep for g in each]) for each in gates])
    parts: dict = {}
    power = np.zeros((4, 3))
    for size in range(4):
        for some in combinations(range(3), size):
            effect = np.zeros_like(values)
            for row, own in enumerate(gates):
                same = [all(g[b] == own[b] for b in some) for g in gates]
                mean = (weight[same, None, None] * values[same]).sum(0) / weight[same].sum()
                lower = (parts[u][row] for u in parts if set(u) < set(some))
                effect[row] = mean - sum(lower)
            parts[some] = effect
            power[size] += (weight[:, None, None] * effect**2).sum((0, 1))
    np.testing.assert_allclose(power_by_order(values, 3, keep), power, atol=1e-12)


def test_additive_blocks_are_all_of_order_one():
    opened = np.array(list(product((0.0, 1.0), repeat=4)))
    values = (opened @ np.array([1.0, -2.0, 0.5, 3.0]))[:, None, None] + np.zeros((1, 1, 5))
    power = power_by_order(values, 4, 0.3)
    np.testing.assert_allclose(power[2:], 0, atol=1e-12)


def drawn(random, keep, draws, images, gates=12):
    """A function of known spectrum: single blocks, pairs and a triple, other weights each image."""
    phi_of = np.sqrt((1 - keep) / keep)
    opened = (random.random((draws, gates)) < keep).astype(float)
    phi = np.where(opened > 0, phi_of, -1 / phi_of)
    size = random.lognormal(0, 0.3, (3, images))
    single = phi.sum(1) / np.sqrt(gates)
    pairs = sum(phi[:, b] * phi[:, b + 1] for b in range(gates - 1)) / np.sqrt(gates - 1)
    triple = phi[:, 0] * phi[:, 5] * phi[:, 9]
    terms = (single[:, None], 0.7 * pairs[:, None], 0.4 * triple[:, None])
    values = sum(term * one for term, one in zip(terms, size, strict=True))
    return opened, values[:, None]


@pytest.mark.parametrize("keep", [0.5, 0.8])
def test_intervals_of_drawn_networks_hold_what_they_promise(keep):
    random, held = np.random.default_rng(1), np.zeros(3)
    truth = np.array([1, 0.49, 0.16]) / 1.65
    found = []
    for _ in range(60):
        opened, values = drawn(random, keep, 240, 30)
        share, error, more = sampled_shares(values, opened, keep)
        held += np.abs(share - truth) <= 2.093 * error
        found.append(share)
        assert more and share.sum() == pytest.approx(1)
    assert (held >= 52).all()  # 95 % of 60, less three standard errors
    np.testing.assert_allclose(np.mean(found, 0), truth, atol=0.05)


def test_draws_lie_around_the_exact_shares(monkeypatch):
    chain, x, y = chain_of(seeded(TinyResNet), images(2)), images(20), labels(20)
    given = {"keep": (0.6,), "draws": 200}
    exact = interactions(chain, x, y, **given).table
    monkeypatch.setattr("resnet_probe.studies.interactions.EXACT", 2)
    table = interactions(chain, x, y, **given).table
    assert table["drawn"].all() and not exact["drawn"].any()
    assert list(table["or_more"]) == [False, False, True]
    for row, truth in zip(table.itertuples(), exact["value"], strict=True):
        assert row.ci_low - 1 <= truth <= row.ci_high + 1


def test_chosen_gates_leave_the_others_open_and_batches_change_nothing():
    chain, x, y = chain_of(seeded(TinyResNet), images(2)), images(8), labels(8)
    one, two = (interactions(chain, x, y, blocks=(1, 3), batch=b).table for b in (3, 8))
    assert (one["networks"] == 4).all()
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-4)
    loss = interactions(chain, x, y, what="loss").table
    assert not np.allclose(loss["value"], interactions(chain, x, y).table["value"])


@pytest.mark.parametrize(("value", "verdict"), [(96.0, "holds"), (60.0, "fails")])
def test_what_is_said_and_drawn_follows_the_table(value, verdict):
    chain, x, y = chain_of(seeded(TinyResNet), images(2)), images(8), labels(8)
    result = interactions(chain, x, y)
    assert "order 1" in summarize_interactions(result)
    assert "higher" not in summarize_interactions(result)
    more = result.table.iloc[[0] * 7].assign(order=range(1, 8), value=[40, 30, 9, 8, 7, 4, 2])
    more = Result("interactions", more.reset_index(drop=True), result.provenance)
    assert "  higher orders    13.0 %" in summarize_interactions(more).splitlines()
    assert len(draw(result).axes[0].containers) == 4  # bars and their intervals, twice
    table = result.table.copy()
    table.loc[table["order"] == 1, ["value", "ci_low", "ci_high"]] = [value, value - 1, value + 1]
    found = additive(Result("interactions", table, result.provenance))
    assert found.verdict == verdict and found.sentence.numbers["share"] == value
    table.loc[table["order"] == 3, ["value", "ci_high"]] = [0.1, 0.4]  # too small to be seen
    axes = draw(Result("interactions", table, result.provenance)).axes[0]
    assert len(axes.get_xticks()) == 2 and "(3: below 0.5 %" in axes.get_xlabel()
    with pytest.raises(ProbeError, match="no variance by order"):
        draw(Result("interactions", table.drop(columns="keep"), {}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"blocks": (1, 9)}, "block 9 is out of range"),
        ({"blocks": (2,)}, "1 block with a gate has nothing to interact with"),
        ({"keep": (0.5, 1.0)}, "chances between 0 and 1, found 1"),
        ({"draws": 30}, "at least 40 are needed"),
        ({"what": "error"}, "unknown what 'error'"),
        ({"memory": 1000}, "the logits of 8 networks for 6 images take"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, said):
    chain = chain_of(seeded(TinyResNet), images(2))
    with pytest.raises(ProbeError, match=said):
        interactions(chain, images(6), labels(6), **given)
