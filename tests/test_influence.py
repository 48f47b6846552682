"""What a deletion changes in later blocks: closed forms, hooks on the model, chains by hand."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from toy_chains import TinyPlain, TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import ProbeError, Result, chain_of, draw, influence, layers_of
from resnet_probe.findings import effective_depth, summarize_influence
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.influence import COLUMNS, QUANTITIES, THRESHOLDS, _depths, longest_chain


def matrix_of(table) -> np.ndarray:
    rows = table[table["quantity"] == "influence"]
    found = np.full((rows["on"].max(),) * 2, np.nan)
    found[rows["block"].to_numpy(int) - 1, rows["on"].to_numpy(int) - 1] = rows["value"]
    return found


def test_in_a_chain_of_products_every_later_block_changes_by_the_same_part():
    factors = [0.5, -0.25, 1.0, 2.0]
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = influence(scalar_chain(factors), x, torch.zeros(7, dtype=torch.int64)).table
    found = matrix_of(table)
    for s, t in combinations(range(4), 2):
        assert found[s, t] == pytest.approx(abs(factors[s] / (1 + factors[s])))
    assert np.isnan(found[np.tril_indices(4)]).all()
    assert tuple(table.columns) == COLUMNS and set(table["quantity"]) == set(QUANTITIES)


@torch.no_grad()
def by_hooks(model, x: torch.Tensor) -> np.ndarray:
    """The same on the model itself: the last norm of a branch set to zero, the others watched."""
    norms, found = [block.bn2 for block in model.blocks], []

    def branches(deleted: int | None) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []

        def hook(module, _, out):
            seen.append(out.clone())
            return out * 0 if deleted is not None and module is norms[deleted] else None

        handles = [norm.register_forward_hook(hook) for norm in norms]
        model(x)
        for handle in handles:
            handle.remove()
        return [value.flatten(1) for value in seen]

    whole = branches(None)
    for s in range(len(norms)):
        pairs = zip(branches(s), whole, strict=True)
        found.append([((a - b).norm(dim=1) / b.norm(dim=1)).mean() for a, b in pairs])
    return np.array(found)


def test_it_is_what_hooks_on_the_model_see_whatever_the_batch():
    model, x, y = seeded(TinyResNet), images(9), labels(9)
    wanted = by_hooks(model, x)
    for batch in (None, 2, 9):
        found = matrix_of(influence(chain_of(model, x[:2]), x, y, batch=batch).table)
        above = np.triu_indices(3, 1)
        np.testing.assert_allclose(found[above], wanted[above], rtol=1e-4)


def test_the_interval_is_students_over_images():
    model, x, y = seeded(TinyResNet), images(9), labels(9)
    chain = chain_of(model, x[:2])
    row = influence(chain, x, y).table.iloc[0]
    each = [matrix_of(influence(chain, x[[i, i]], y[[i, i]]).table)[0, 1] for i in range(9)]
    half = 2.306004 * np.std(each, ddof=1) / 3
    assert (row["value"], row["ci_low"]) == pytest.approx(
        (np.mean(each), np.mean(each) - half), rel=1e-4
    )


def test_the_longest_chain_is_that_of_all_subsets():
    random = np.random.default_rng(0)
    for _ in range(20):
        linked = np.triu(random.random((6, 6)) < 0.4, 1)
        longest = max(
            size
            for size in range(1, 7)
            for some in combinations(range(6), size)
            if all(linked[a, b] for a, b in pairwise(some))
        )
        assert longest_chain(linked) == longest


def test_the_interval_of_the_depth_holds_what_it_promises():
    random = np.random.default_rng(1)
    truth = np.where(np.triu(np.ones((5, 5)), 1) > 0, random.uniform(0.2, 0.6, (5, 5)), np.nan)
    wanted = {
        threshold: longest_chain(np.nan_to_num(truth, nan=-1) >= threshold)
        for threshold in THRESHOLDS
    }
    held = 0
    for _ in range(200):
        seen = truth[..., None] + 0.3 * random.standard_normal((5, 5, 30))
        rows = list(_depths(Moments.over(seen, axis=-1)))
        held += all(r["ci_low"] <= wanted[r["threshold"]] <= r["ci_high"] for r in rows)
        assert all(r["ci_low"] <= r["value"] <= r["ci_high"] for r in rows)
    assert held >= 186  # 95 % of 200, less two standard errors


def test_what_is_said_and_drawn_is_in_the_table():
    model, x, y = seeded(TinyResNet), images(9), labels(9)
    result = influence(chain_of(model, x[:2]), x, y)
    found = effective_depth(result).sentence
    depth = result.table[(result.table["quantity"] == "depth") & (result.table["threshold"] == 0.5)]
    assert found.numbers["depth"] == depth["value"].iloc[0] and found.numbers["blocks"] == 3
    assert "0.5:" in summarize_influence(result)
    means = np.nan_to_num(matrix_of(result.table)).sum(1)[:2] / [2, 1]
    names = [f"{place + 1} (blocks.{place}) {means[place]:.2f}" for place in np.argsort(-means)]
    assert f"most on average over all later blocks: {', '.join(names)}\n" in summarize_influence(
        result
    )
    image = draw(result).axes[0].images[0].get_array()
    assert image[2, 0] == pytest.approx(matrix_of(result.table)[0, 2])
    with pytest.raises(ProbeError, match="no influences"):
        draw(Result("influence", result.table.assign(quantity="other"), {}))


def test_layers_of_a_plain_network_are_measured_and_single_blocks_refused():
    plain = layers_of(seeded(TinyPlain), images(2))
    assert matrix_of(influence(plain, images(5), labels(5)).table)[0, 1] > 0
    one = scalar_chain([0.5])
    with pytest.raises(ProbeError, match="1 block: influence is of one on a later one"):
        influence(one, torch.ones(3, 2, dtype=torch.float64), [0, 1, 0])
    with pytest.raises(ProbeError, match="influence needs at least 2 images"):
        influence(plain, images(1), labels(1))
