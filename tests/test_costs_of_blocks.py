"""Cheap scores beside what deletions cost: by hand, by scipy, and how often the interval holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from toy_chains import TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import Result, chain_of, responses
from resnet_probe.edits import Edit
from resnet_probe.figures import draw_all
from resnet_probe.findings import score_of_cost, summarize_responses
from resnet_probe.stats import rank_correlation

ENDS = ["value", "ci_low", "ci_high"]


@pytest.fixture(scope="module")
def net():
    chain = chain_of(seeded(TinyResNet), images(2))
    return chain, images(12), labels(12), responses(chain, images(12), labels(12), costs=True)


def of_blocks(result, quantity):
    rows = result.table[(result.table["place"] == "block")]
    return rows[rows["quantity"] == quantity]["value"].to_numpy()


def test_block_influence_is_the_turn_of_the_state(net):
    chain, x, _, result = net
    with torch.no_grad():
        h, wanted = chain.stem(x), []
        for block in chain:
            before, h = h, block.run(h)
            same = before.shape == h.shape
            cosine = torch.cosine_similarity(before.flatten(1), h.flatten(1)) if same else None
            wanted.append(1 - cosine.mean().item() if same else np.nan)
    np.testing.assert_allclose(of_blocks(result, "block_influence"), wanted, rtol=1e-4)


def test_a_state_that_is_only_scaled_does_not_turn():
    x = torch.ones(4, 2, dtype=torch.float64) * torch.arange(1, 5).view(-1, 1)
    result = responses(scalar_chain([0.5, 1.0]), x, torch.tensor([0, 1, 0, 1]))
    np.testing.assert_allclose(of_blocks(result, "block_influence"), [0, 0], atol=1e-12)
    assert "deletion_cost" not in set(result.table["quantity"])
    assert score_of_cost(result) is None


def test_costs_are_those_of_the_plain_loop(net):
    chain, x, y, result = net
    loss = torch.nn.functional.cross_entropy
    with torch.no_grad():
        whole = loss(chain(x), y)
        wanted = [(loss(chain.run(x, Edit.delete(b)), y) - whole).item() for b in (1, 2, 3)]
    np.testing.assert_allclose(of_blocks(result, "deletion_cost"), wanted, rtol=1e-4)
    ranks = result.table[result.table["place"] == "blocks"].set_index("quantity")["value"]
    rho = spearmanr(of_blocks(result, "ratio"), wanted)[0]
    assert ranks["ratio_rank"] == pytest.approx(rho)


def test_the_rank_correlation_is_scipys_and_its_interval_holds_what_it_promises():
    random, held = np.random.default_rng(0), 0
    rho = 0.6
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's of a normal pair with Pearson's rho
    for _ in range(600):
        x = random.standard_normal(27)
        y = rho * x + np.sqrt(1 - rho**2) * random.standard_normal(27)
        found = rank_correlation(x, y)
        held += found.low <= truth <= found.high
    assert found.value == pytest.approx(spearmanr(x, y)[0])
    assert held >= 554  # 95 % of 600, less three standard errors
    assert np.isnan(rank_correlation([1, 2, np.nan, 4], [1, 2, 3, 4]).low)
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]).value)


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((0.9, 0.8, 0.95), "holds"), ((0.4, 0.1, 0.6), "fails"), ((0.8, 0.5, 0.9), "undecided")],
)
def test_what_is_said_follows_the_interval(net, ends, verdict):
    table = net[3].table.copy()
    table.loc[table["quantity"] == "influence_rank", ENDS] = ends
    found = score_of_cost(Result("responses", table, {}))
    assert found.verdict == verdict and found.sentence.numbers["rho"] == ends[0]
    assert found.sentence.numbers["blocks"] == 2  # the second one changes the shape
    assert str(found.sentence) in summarize_responses(Result("responses", table, {}))


def test_the_figure_has_a_point_a_block(net):
    panels = draw_all(net[3])["costs"].axes
    assert [len(ax.containers[0].lines[0].get_xdata()) for ax in panels] == [2, 3]
