"""One block's gate up and down: closed forms, finite differences, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_chains import TinyPlain, TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import ProbeError, chain_of, draw, gates, layers_of, lesion
from resnet_probe.findings.gates import best_gates, foretold, summarize_gates
from resnet_probe.studies.gates import grid, slopes, taylor
from resnet_probe.studies.study import Run

FACTORS = [0.5, -0.25, 1.0]
X = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = labels(30, classes=2)


def loss_of(place: int, gate: torch.Tensor) -> torch.Tensor:
    """Of each image, by the product that the chain is."""
    scale = 1.0
    for number, factor in enumerate(FACTORS):
        scale = scale * (1 + (gate if number == place else 1.0) * factor)
    return torch.nn.functional.cross_entropy(scale * X, Y, reduction="none")


def test_losses_and_slopes_of_a_chain_of_products():
    result = gates(scalar_chain(FACTORS), X, Y)
    rows = result.table.iloc[1:]
    assert len(rows) == 3 * 8
    for place in range(3):
        one = torch.ones((), dtype=torch.float64, requires_grad=True)
        slope = float(torch.autograd.grad(loss_of(place, one).mean(), one)[0])
        assert result.outcomes["slope"][place].mean() == pytest.approx(slope, rel=1e-5)
        for row in rows[rows["block"] == str(place + 1)].itertuples():
            change = loss_of(place, torch.tensor(row.gate)) - loss_of(place, torch.tensor(1.0))
            assert row.delta_loss == pytest.approx(float(change.mean()), abs=1e-6)
            assert row.foretold_loss == pytest.approx((row.gate - 1) * slope, rel=1e-6)
            assert row.joint_loss_low < row.delta_loss < row.joint_loss_high
            assert row.foretold_low < row.foretold_loss < row.foretold_high
    for gate, (r2, *_) in result.provenance["taylor_r2"].items():
        some = rows[rows["gate"] == float(gate)]
        rest = ((some["delta_loss"] - some["foretold_loss"]) ** 2).sum()
        assert r2 == pytest.approx(1 - rest / (some["delta_loss"] ** 2).sum(), abs=1e-4)


def test_slopes_are_finite_differences_of_a_network():
    chain = chain_of(seeded(TinyResNet).double(), images(3).double())
    x, y = images(7).double(), labels(7)
    found = slopes(chain, x, y, Run())
    with torch.no_grad():
        for block in chain.blocks:
            both = [
                torch.nn.functional.cross_entropy(
                    chain.run(x, [(b.number, gate if b is block else 1.0) for b in chain.blocks]),
                    y, reduction="none",
                )
                for gate in (1 - 1e-6, 1 + 1e-6)
            ]  # fmt: skip
            wanted = (both[1] - both[0]) / 2e-6
            np.testing.assert_allclose(found[block.number - 1], wanted, rtol=1e-4, atol=1e-7)


@pytest.fixture(scope="module")
def net():
    return chain_of(seeded(TinyResNet), images(3)), images(24), labels(24)


def test_a_gate_of_nought_is_the_deletion_and_the_batch_makes_no_difference(net):
    table = gates(*net, gates=(0, 1, 2), batch=5).table
    closed = table[table["gate"] == 0].reset_index(drop=True)
    deleted = lesion(*net).table.iloc[1:].reset_index(drop=True)
    for column in ("correct", "loss", "joint_low_pct"):
        width = {"rtol": 1e-5} if column != "joint_low_pct" else {"atol": 10}  # of twice as many
        np.testing.assert_allclose(closed[column], deleted[column], **width)
    whole = gates(*net, gates=(0, 2)).table
    np.testing.assert_allclose(table["foretold_loss"], whole["foretold_loss"], rtol=1e-4)
    assert sorted(set(table["gate"])) == [0, 1, 2]  # 1 is the network as it is


def test_a_straight_line_is_foretold_to_the_last_bit():
    slope = np.random.default_rng(0).normal(size=(4, 50))
    steps = [-1.0, 0.5]
    loss = np.concatenate([np.ones((1, 50)), *(1 + s * row[None] for row in slope for s in steps)])
    found = taylor(loss, slope, [1 + step for step in steps])
    for gate in ("0", "1.5"):
        assert found["taylor_r2"][gate][0] == pytest.approx(1)
        assert found["taylor_rank"][gate][0] == pytest.approx(1)


def test_the_interval_of_r2_covers():
    """Six blocks whose mean changes are 1 … 6 and of which 0.8 is foretold: R² is 0.96."""
    random, inside = np.random.default_rng(1), 0
    mean = np.arange(1.0, 7)[:, None]
    for _ in range(400):
        change = mean + random.normal(size=(6, 200))
        loss = np.concatenate([np.zeros((1, 200)), change])
        slope = -(0.8 * mean + random.normal(size=(6, 200)))
        _, low, high = taylor(loss, slope, [0.0])["taylor_r2"]["0"]
        inside += low <= 0.96 <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_findings_and_figure(net):
    result = gates(*net)
    assert draw(result) and "baseline" in summarize_gates(result)
    for r2, verdict in (([0.9, 0.7, 0.95], "holds"), ([0.1, -2, 0.3], "fails"),
                        ([0.6, 0.2, 0.8], "undecided")):  # fmt: skip
        result.provenance["taylor_r2"]["0"] = r2
        assert foretold(result).verdict == verdict
    rows = result.table.index[result.table["block"] == "2"]
    result.table.loc[1:, ["delta_loss", "joint_loss_low", "joint_loss_high"]] = [0.1, 0.0, 0.2]
    result.table.loc[rows[3], ["delta_loss", "joint_loss_low", "joint_loss_high"]] = [
        -0.2,
        -0.3,
        -0.1,
    ]
    said = str(best_gates(result).sentence)
    assert "Of the 3 blocks 1 is shown" in said and "block 2 at 0.75" in said
    assert "0.2000 nats" in said and "joint 95 % CI 0.1000 to 0.3000" in said
    result.table.loc[1, ["delta_loss", "joint_loss_low", "joint_loss_high"]] = [-0.4, -0.5, -0.3]
    assert best_gates(result).sentence.numbers == {
        "blocks": 3, "better": 2, "gate": 0, "block": 1, "gain": 0.4, "gain_low": 0.3,
        "gain_high": 0.5, "loss": result.table["loss"][0],
    }  # fmt: skip


def test_gates_are_written_as_numbers_or_from_to_step():
    assert grid("0:2:0.5") == (0, 0.5, 1, 1.5, 2) and grid("-1,0.5") == (-1, 0.5)
    for text in ("0:2", "x", "0:2:-1", "2:0:0.5", "0:1e9:0.1"):
        with pytest.raises(ProbeError, match="gates="):
            grid(text)
    for given in ((1,), (), (float("nan"),), (1e9,)):
        with pytest.raises(ProbeError, match="gates="):
            gates(scalar_chain(FACTORS), X, Y, gates=given)
    with pytest.raises(ProbeError, match="a plain network: its layers have no branch"):
        gates(layers_of(seeded(TinyPlain), images(3)), images(4), labels(4))
