"""One small network of each family: cut, and measured by the studies as any chain is."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from families import FAMILIES, network
from toy_chains import images, labels

from resnet_probe import chain_of, lesion, paths, responses


@pytest.fixture(scope="module", params=FAMILIES)
def cut(request):
    """(the model, its chain, images, labels)."""
    with warnings.catch_warnings(), torch.random.fork_rng([]):
        warnings.simplefilter("ignore")
        model, x = network(request.param), images(4, side=32)
        chain = chain_of(model, x[:1], name=request.param)
    return model, chain, x, labels(4)


@pytest.mark.many(3)
def test_it_has_the_blocks_of_its_architecture(cut):
    model, chain, x, _ = cut
    assert len(chain) == FAMILIES[chain.name][1]
    assert chain.residue == 0
    with torch.no_grad():
        assert torch.equal(chain(x), model(x))


@pytest.mark.many(2)
def test_lesion_counts_what_the_plain_loop_counts(cut):
    _, chain, x, y = cut
    table = lesion(chain, x, y).table
    for row, gone in zip(table.itertuples(), range(len(chain) + 1), strict=True):
        steps = [(block.number, float(block.number != gone)) for block in chain]
        with torch.no_grad():
            right = int((chain.run(x, steps).argmax(1) == y).sum())
        assert abs(row.correct - right) <= row.near_ties


@pytest.mark.many(3)
def test_responses_are_finite_and_of_every_block(cut):
    _, chain, x, y = cut
    table = responses(chain, x, y).table
    sizes = table[(table["quantity"] == "ratio") & (table["place"] == "block")]
    assert sorted(sizes["block"]) == list(range(1, len(chain) + 1))
    assert np.isfinite(sizes["value"].astype(float)).all()


@pytest.mark.many(2)
def test_the_gradients_of_all_lengths_are_the_ordinary_gradient(cut):
    model, chain, x, y = cut
    table = paths(chain, x, y, method="exact").table
    at_input = table[table["block"] == 0].set_index("quantity")
    image = x.clone().requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(model(image), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, image)
    expected = float(gradient.flatten(1).norm(dim=1).mean())
    assert at_input.loc["gradient_norm", "value"] == pytest.approx(expected, rel=1e-3)
    shares = at_input.loc[["share"]]
    assert list(shares["length"]) == list(range(len(chain) + 1))
    assert shares["value"].sum() == pytest.approx(1, abs=1e-3)
