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


@pytest.mark.parametrize(("n", "ties"), [(6, 1), (16, 2)])
@pytest.mark.parametrize("truth", [0.0, 0.5, 0.9])
def test_the_rank_correlation_is_scipys_and_its_ends_hold_what_they_promise(truth, n, ties):
    random, missed, times = np.random.default_rng(n), np.zeros(2), 300
    rho = 2 * np.sin(np.pi * truth / 6)  # Pearson's of a normal pair with this of Spearman
    for _ in range(times):
        x = random.standard_normal(n)
        y = rho * x + np.sqrt(1 - rho**2) * random.standard_normal(n)
        x, y = (values.argsort().argsort() // ties for values in (x, y))
        found = rank_correlation(x, y)
        missed += found.low > truth, found.high < truth
    assert found.value == pytest.approx(spearmanr(x, y)[0])
    most = 3 * np.sqrt(0.025 * 0.975 * times)
    assert (missed <= 0.025 * times + most).all()
    if ties == 1 and truth < 0.9:
        assert missed.sum() >= 0.01 * times  # nor do they hold more than that by far


def test_the_rank_correlation_of_few_pairs_says_little():
    found = rank_correlation([1, 2, np.nan, 4], [1, 2, 3, 4])
    assert (found.value, found.high) == (1, 1) and found.low < -0.5
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]).value)
    x = np.arange(12)
    found = rank_correlation(x, x)
    assert 0.9 < found.low < 0.99 and found.high == 1
    np.testing.assert_allclose(np.negative(rank_correlation(x, -x)), [1, 1, found.low], atol=0.02)


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
