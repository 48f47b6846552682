"""Attributions over the gates: against the lesion, brute force, and closed forms."""

from __future__ import annotations

import itertools
import math
from itertools import combinations

import numpy as np
import pytest
import torch
from journals import Memory
from scipy import stats as scipy_stats
from torch import nn
from torch.nn import functional as F
from toy_chains import TinyPlain, TinyResNet, images, labels, randomized, scalar_chain, seeded

from resnet_probe import ProbeError, attribute, chain_of, layers_of, lesion, models
from resnet_probe.stats.moments import Moments
from resnet_probe.studies.attribution import estimators
from resnet_probe.studies.attribution.gates import METRICS, metrics, network, without
from resnet_probe.studies.attribution.request import request
from resnet_probe.studies.attribution.table import COLUMNS, shapley_interval


@pytest.fixture(scope="module")
def chain():
    return chain_of(seeded(TinyResNet), images(2))


@pytest.fixture(scope="module")
def deep():
    model = randomized(models.architecture("resnet20:width=4").build(seed=0))
    return chain_of(model, images(2, side=8))


@pytest.fixture(scope="module")
def some():
    return images(40), labels(40)


def by_hand(chain, x, y, gates) -> np.ndarray:
    """Accuracy (%), loss and margin of each image with these gates, `[3, n]`."""
    with torch.no_grad():
        logits = chain.run(x, [(b, g) for b, g in enumerate(gates, start=1)]).double()
    others = logits.scatter(1, y[:, None], -torch.inf).max(1).values
    loss = F.cross_entropy(logits, y, reduction="none")
    margin = logits.gather(1, y[:, None])[:, 0] - others
    return torch.stack([100.0 * (logits.argmax(1) == y), loss, margin]).numpy()


def brute_force(value, blocks: int) -> np.ndarray:
    """Shapley values from their definition, over all subsets; `value` maps gates to an array."""
    found = []
    for block in range(1, blocks + 1):
        rest = [b for b in range(1, blocks + 1) if b != block]
        total = 0.0
        for size in range(blocks):
            weight = math.factorial(size) * math.factorial(blocks - size - 1)
            for subset in combinations(rest, size):
                shut = [b for b in rest if b not in subset]
                gain = value(without(blocks, *shut)) - value(without(blocks, block, *shut))
                total = total + weight / math.factorial(blocks) * gain
        found.append(total)
    return np.array(found)


def shares(table, method, metric):
    rows = table[(table["method"] == method) & (table["metric"] == metric) & table["class"].isna()]
    return rows.set_index("block")


def test_metrics_of_logits():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    found = metrics(logits, torch.tensor([0, 2]))
    assert found[0].tolist() == [100, 0]
    assert found[2].tolist() == [1, -2]
    loss = [-math.log(math.exp(2) / (math.exp(2) + math.e + 1)),
            -math.log(math.e / (1 + math.exp(3) + math.e))]  # fmt: skip
    assert found[1].tolist() == pytest.approx(loss)


def test_ablation_is_the_lesion(deep):
    x, y = images(40, side=8), labels(40, classes=10)
    table = attribute(deep, x, y, methods=["ablation"], exact=True).table
    deleted = lesion(deep, x, y, exact=True).table["delta_pct"][1:]
    np.testing.assert_allclose(shares(table, "ablation", "accuracy")["value"], deleted, atol=1e-12)


def test_ablation_by_class_and_its_intervals(chain, some):
    x, y = some
    table = attribute(chain, x, y, methods=["ablation"]).table
    whole = by_hand(chain, x, y, network(3))
    for metric, m in zip(METRICS, range(3), strict=True):
        for block in (1, 2, 3):
            effect = (whole - by_hand(chain, x, y, without(3, block)))[m]
            row = shares(table, "ablation", metric).loc[block]
            assert row["value"] == pytest.approx(effect.mean(), rel=1e-4, abs=1e-6)
            half = 2.022691 * effect.std(ddof=1) / np.sqrt(40)
            assert row["ci_high"] == pytest.approx(effect.mean() + half, rel=1e-3, abs=1e-6)
            for label in range(5):
                rows = table[(table["class"] == label) & (table["block"] == block)]
                row = rows[rows["metric"] == metric].iloc[0]
                assert row["value"] == pytest.approx(effect[y == label].mean(), rel=1e-4, abs=1e-6)
                assert row["images"] == int((y == label).sum())


def test_shapley_values_equal_brute_force(chain, some):
    x, y = some
    table = attribute(chain, x, y, methods=["shapley"]).table
    expected = brute_force(lambda gates: by_hand(chain, x, y, gates).mean(1), 3)
    for m, metric in enumerate(METRICS):
        rows = shares(table, "shapley", metric)
        np.testing.assert_allclose(rows["value"], expected[:, m], rtol=1e-4, atol=1e-6)
        assert (rows["permutation_se"] == 0).all() and (rows["permutations"] == 0).all()


def test_sampled_shapley_values_equal_brute_force_within_their_error():
    """Eight blocks h + f·h: with all subsets as the answer, and captum's sampling near it."""
    factors = [0.5, -0.25, 1.0, 0.1, -0.6, 0.3, 0.8, -0.1]
    chain = scalar_chain(factors)
    x = torch.tensor([[1.0, 0.2], [0.5, 1.5], [-1.0, 0.3]], dtype=torch.float64)
    y = torch.tensor([0, 1, 0])
    table = attribute(chain, x, y, methods=["shapley"], permutations=60, seed=3).table
    expected = brute_force(lambda gates: by_hand(chain, x, y, gates).mean(1), 8)
    for m, metric in enumerate(METRICS[1:], start=1):
        rows = shares(table, "shapley", metric)
        apart = np.abs(rows["value"] - expected[:, m])
        assert (apart <= 4 * rows["permutation_se"]).all() and (rows["permutation_se"] > 0).all()
        difference = by_hand(chain, x, y, network(8)) - by_hand(chain, x, y, (0.0,) * 8)
        assert rows["value"].sum() == pytest.approx(difference[m].mean(), rel=1e-5)
    exact = attribute(chain, x, y, methods=["shapley"]).table
    np.testing.assert_allclose(shares(exact, "shapley", "loss")["value"], expected[:, 1], rtol=1e-5)


FACTORS = np.array([0.3, 0.5, 0.8, 1.0, 0.6, 0.4])


def gains(kind: str, orders: np.ndarray, z: np.ndarray) -> np.ndarray:
    """`[orders, images, blocks]`: what the margin gains with each block, opened in these orders.

    It is z·Σ f or z·Π (1 + f) over the blocks that are open; `scalar_chain` is the latter.
    """
    if kind == "additive":
        found = np.tile(FACTORS, (len(orders), 1))
    else:
        before = np.cumprod(1 + FACTORS[orders], axis=1) / (1 + FACTORS[orders])
        found = np.empty(orders.shape)
        np.put_along_axis(found, orders, before * FACTORS[orders], axis=1)
    return found[:, None] * z[:, None]


@pytest.mark.parametrize("kind", ["additive", "interacting"])
@pytest.mark.parametrize(("images_", "permutations"), [(32, 16), (400, 16), (32, 100)])
def test_intervals_of_sampled_shapley_values_hold_what_they_promise(kind, images_, permutations):
    """The mean of z is 1, so that the Shapley values are the mean gains over all 720 orders."""
    random = np.random.default_rng(0)
    every = np.array(list(itertools.permutations(range(6))))
    expected = gains(kind, every, np.ones(1)).mean((0, 1))
    covered = []
    for _ in range(400):
        orders = random.permuted(np.tile(np.arange(6), (permutations, 1)), axis=1)
        seen = gains(kind, orders, random.normal(1, 0.3, images_))
        drawn = seen.mean(1).std(0, ddof=1) / np.sqrt(permutations)
        low, high = shapley_interval(Moments.over(seen.mean(0)), drawn, permutations)
        covered.append((low <= expected) & (expected <= high))
    assert 0.93 <= np.mean(covered) <= 0.97


def test_both_errors_are_in_the_table():
    """The gains of four orders on the product chain, by hand."""
    z = np.random.default_rng(1).normal(1, 0.3, 12)
    x = torch.from_numpy(np.stack([z / 2, -z / 2], axis=1))
    table = attribute(
        scalar_chain(list(FACTORS)), x, torch.zeros(12).long(), methods=["shapley"],
        permutations=4, exact=True,
    ).table  # fmt: skip
    rows = shares(table, "shapley", "margin")
    asked = [
        estimators.asked_by(lambda f, i=i: estimators.shapley(f, 6, seed=0, permutation=i))
        for i in range(4)
    ]
    orders = np.array([np.argsort(-np.sum(gates, axis=0), kind="stable") for gates in asked])
    seen = gains("interacting", orders, z)
    np.testing.assert_allclose(rows["value"], seen.mean((0, 1)), rtol=1e-6)
    own = seen.mean(0).var(0, ddof=1) / 12
    other = seen.mean(1).var(0, ddof=1) / 4
    np.testing.assert_allclose(rows["permutation_se"], np.sqrt(other), rtol=1e-6)
    freedom = (own + other) ** 2 / (own**2 / 11 + other**2 / 3)
    half = scipy_stats.t.ppf(0.975, freedom) * np.sqrt(own + other)
    np.testing.assert_allclose(rows["ci_high"] - rows["value"], half, rtol=1e-5)


def test_all_orders_together_are_exact(chain, some):
    """captum over every permutation, one seed each: the mean over orders is the Shapley value."""
    x, y = some
    values = {g: torch.from_numpy(by_hand(chain, x, y, g).mean(1)) for g in estimators.subsets(3)}
    forward = estimators.answering(values)
    gains = [estimators.shapley(forward, 3, seed=0, permutation=i) for i in range(60)]
    distinct = {tuple(np.round(g.flatten().tolist(), 5)): g for g in gains}
    assert len(distinct) == 6
    mean = torch.stack(list(distinct.values())).mean(0)
    np.testing.assert_allclose(mean, estimators.exact_shapley(forward, 3), atol=1e-5)


def test_a_rehearsal_knows_what_will_be_asked():
    asked = estimators.asked_by(lambda f: estimators.ablation(f, 4))
    assert asked == [network(4), *(without(4, b) for b in (1, 2, 3, 4))]
    asked = estimators.asked_by(lambda f: estimators.shapley(f, 4, seed=5, permutation=0))
    assert asked[0] == (0.0,) * 4 and asked[-1] == network(4)
    sizes = [sum(gates) for gates in asked]
    assert sizes == [0, 1, 2, 3, 4]
    again = estimators.asked_by(lambda f: estimators.shapley(f, 4, seed=5, permutation=0))
    other = estimators.asked_by(lambda f: estimators.shapley(f, 9, seed=6, permutation=0))
    assert asked == again and other != estimators.asked_by(
        lambda f: estimators.shapley(f, 9, seed=5, permutation=0)
    )


def test_what_is_relied_on_in_captum():
    """One tensor of gates is one feature a number; answers of several numbers stay apart.

    Over several tensors captum 0.9 shuts what has one number in the masks together, earlier ones
    tensor by tensor: gates in one tensor, each a feature of its own, mean the same in all of them.
    """
    from captum.attr import FeatureAblation, ShapleyValueSampling

    seen: list[list[float]] = []

    def forward(*gates):
        rows = torch.cat(gates, dim=1)
        seen.extend(rows.tolist())
        total = rows @ torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
        return torch.stack([total, total + 3 * rows.prod(dim=1)], dim=1)

    ones = torch.ones(1, 3, dtype=torch.float64)
    found = FeatureAblation(forward).attribute(ones, perturbations_per_eval=3)
    assert found.tolist() == [[1, 2, 4], [4, 5, 7]]
    assert seen == [[1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0]]
    seen.clear()
    with torch.random.fork_rng([]):
        torch.manual_seed(4)
        order = torch.randperm(3).tolist()
        torch.manual_seed(4)
        found = ShapleyValueSampling(forward).attribute(ones, n_samples=1, perturbations_per_eval=3)
    opened = [[float(b in order[:count]) for b in range(3)] for count in range(4)]
    assert seen[:1] == opened[:1] and [row for row in seen if row in opened[1:]] == opened[1:]
    assert found.reshape(2, 3)[0].tolist() == [1, 2, 4]
    assert found.reshape(2, 3)[1].tolist() == [
        w + 3 * (b == order[2]) for b, w in enumerate((1, 2, 4))
    ]
    # Features of several tensors, each of its own number: the same again.
    apart = FeatureAblation(forward).attribute((ones[:, :1], ones[:, 1:]))
    assert torch.cat(apart, dim=1).tolist() == [[1, 2, 4], [4, 5, 7]]


def test_interactions_are_double_deletions(chain, some):
    x, y = some
    table = attribute(chain, x, y, methods=["interactions"]).table
    rows = table[table["method"] == "interactions"]
    assert "ablation" not in set(table["method"])
    whole = by_hand(chain, x, y, network(3))
    cost = {b: whole - by_hand(chain, x, y, without(3, b)) for b in (1, 2, 3)}
    for i, j in ((1, 2), (1, 3), (2, 3)):
        beyond = whole - by_hand(chain, x, y, without(3, i, j)) - cost[i] - cost[j]
        for m, metric in enumerate(METRICS):
            row = rows[(rows["block"] == i) & (rows["other"] == j) & (rows["metric"] == metric)]
            assert row["value"].item() == pytest.approx(beyond[m].mean(), rel=1e-3, abs=1e-4)


def test_blocks_that_add_up_do_not_interact():
    """Blocks that each add a constant: their shares are those constants, and no pair interacts."""
    chain = scalar_chain([0.0, 0.0])
    x, y = torch.tensor([[2.0, 1.0], [0.0, 1.0]], dtype=torch.float64), torch.tensor([0, 0])
    table = attribute(chain, x, y).table
    parts = table[table["method"].isin(["ablation", "shapley", "gradients", "interactions"])]
    assert (parts["value"].abs() < 1e-12).all()


def test_integrated_gradients_of_a_polynomial():
    """Two blocks: the margin is (1 + 0.5α)(1 + β) d, its path integral has a closed form."""
    chain = scalar_chain([0.5, 1.0])
    x = torch.tensor([[1.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    table = attribute(chain, x, torch.tensor([0, 0]), methods=["gradients"]).table
    d = np.array([1.0, 2.0])
    first = 0.5 * (1 + 0.5) * d  # ∫ 0.5 (1 + t) dt
    second = (1 + 0.25) * d  # ∫ (1 + 0.5 t) dt
    rows = shares(table, "gradients", "margin")
    assert rows["value"].tolist() == pytest.approx([first.mean(), second.mean()], rel=1e-5)


@pytest.mark.parametrize("spec", ["resnet20:width=4", "preresnet20:width=4"])
def test_integrated_gradients_are_complete(spec):
    model = randomized(models.architecture(spec).build(seed=0))
    x, y = images(24, side=8), labels(24, classes=10)
    result = attribute(chain_of(model, x[:2]), x, y, methods=["gradients"])
    for metric in ("loss", "margin"):
        total = shares(result.table, "gradients", metric)["value"].sum()
        whole, none = (shares(result.table, m, metric)["value"].item() for m in ("network", "none"))
        gap = abs(total - (whole - none)) / abs(whole - none)
        assert gap < 0.01
        assert result.provenance[f"gap_{metric}_pct"] == pytest.approx(100 * gap, abs=1e-6)
    assert "accuracy" not in set(result.table[result.table["method"] == "gradients"]["metric"])


def test_the_table_does_not_depend_on_the_batch_and_is_documented(chain, some):
    first, second = (
        attribute(chain, *some, permutations=3, batch=b, methods=["ablation", "shapley"]).table
        for b in (7, 40)
    )
    assert list(first.columns) == list(COLUMNS)
    np.testing.assert_allclose(first["value"], second["value"], rtol=1e-4, atol=1e-5)
    other = attribute(chain, *some, permutations=3, seed=1, methods=["shapley"]).table
    assert not np.allclose(shares(other, "shapley", "loss")["value"],
                           shares(first, "shapley", "loss")["value"])  # fmt: skip


def test_an_interrupted_attribution_goes_on_where_it_stopped(chain, some, monkeypatch):
    monkeypatch.setattr("resnet_probe.studies.attribution.study.CHUNK", 3)
    some = [each[:7] for each in some]
    whole = attribute(chain, *some)
    journal = Memory(stop=1)
    with pytest.raises(KeyboardInterrupt):
        attribute(chain, *some, journal=journal)
    assert list(journal.steps) == ["0"]
    calls = []
    again = attribute(
        chain, *some, journal=journal, progress=lambda done, total: calls.append(done / total)
    )
    assert min(calls) >= 1 / 3 and max(calls) == 1
    assert journal.given == ["0"] and again.table.equals(whole.table)


def test_the_model_and_the_random_state_stay_as_they_were(some):
    model = seeded(TinyResNet)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attribute(chain_of(model, some[0][:1]), *[each[:5] for each in some], permutations=2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_plain_network_has_no_gradual_gates():
    chain = layers_of(seeded(TinyPlain), images(1), name="plain")
    x, y = images(8), labels(8)
    assert set(attribute(chain, x, y).table["method"]) == {
        "network", "none", "ablation", "shapley", "interactions",
    }  # fmt: skip
    with pytest.raises(ProbeError, match="plain has no branches whose gates could open gradually"):
        attribute(chain, x, y, methods=["gradients"])


def test_exact_where_it_is_cheaper(deep):
    assert request(deep, methods=None, permutations=None, seed=0).permutations == 0
    assert request(deep, methods=None, permutations=20, seed=0).permutations == 20
    assert not estimators.affordable(27, 20) and not estimators.affordable(16, 20)


def test_a_single_block_has_no_pairs():
    net = seeded(TinyResNet)
    net.blocks = net.blocks[:1]
    net.head = seeded(lambda: nn.Linear(4, 5))
    chain, x, y = chain_of(net, images(8)), images(8), labels(8) % 5
    table = attribute(chain, x, y).table
    with torch.no_grad():
        whole, without = (metrics(chain.run(x, [(1, gate)]), y) for gate in (1.0, 0.0))
    lost = (whole - without).mean(1)
    rows = table[table["class"].isna() & (table["block"] == 1)]
    for method in ("ablation", "shapley"):
        found = rows[rows["method"] == method].set_index("metric")["value"]
        assert found[list(METRICS)].to_numpy() == pytest.approx(lost.numpy(), rel=1e-4)
    with pytest.raises(ProbeError, match="has one block: interactions are between two"):
        attribute(chain, x, y, methods=["interactions"])


def test_what_cannot_be_attributed_is_refused(chain, some):
    x, y = some
    with pytest.raises(ProbeError, match="'lime' is not a method of attribution: there are abl"):
        attribute(chain, x, y, methods=["lime"])
    with pytest.raises(ProbeError, match="1 permutations have no spread"):
        attribute(chain, x, y, permutations=1)
    with pytest.raises(ProbeError, match="attribute needs at least 2 images, found 1"):
        attribute(chain, x[:1], y[:1])
    with pytest.raises(ProbeError, match="too small for"):
        attribute(chain, x, y, methods=["gradients"], memory=1000)
    with pytest.raises(ProbeError, match="not finite with the gates"):
        attribute(chain, torch.where(torch.arange(40).view(-1, 1, 1, 1) == 3, torch.inf, x), y)
