"""A true ensemble beside sub-networks: identities of the ambiguity, and everything by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from toy_chains import TinyPlain, TinyResNet, images, labels, seeded

from resnet_probe import ProbeError, agreement, chain_of, layers_of
from resnet_probe.cli import main
from resnet_probe.edits import Edit
from resnet_probe.figures import draw_all
from resnet_probe.findings import summarize_agreement, true_ensemble
from resnet_probe.findings.agreement import nearest
from resnet_probe.results import Result
from resnet_probe.studies.agreement import QUANTITIES, AgreementSettings, _groups, edits_of
from resnet_probe.studies.votes import Spread, _share, by_group, spread_of


@pytest.fixture(scope="module")
def asked():
    x, y = images(60), labels(60)
    models = [seeded(TinyResNet, seed) for seed in range(3)]
    with torch.no_grad():
        for model in models:
            model.head.weight.mul_(6)
    chains = [chain_of(model, x[:2]) for model in models]
    return models, chains, x, y


@pytest.fixture(scope="module")
def result(asked):
    _, chains, x, y = asked
    return agreement(chains[0], x, y, others=chains[1:], counts=[1, 2], draws=20, seed=1)


def rows_of(table, kind, edits=0):
    return table[(table["kind"] == kind) & (table["edits"] == edits)].set_index("quantity")


def test_the_ensemble_is_that_of_the_models(asked, result):
    models, _, x, y = asked
    with torch.no_grad():
        chance = torch.stack([model(x).double().softmax(1) for model in models])
    truth = torch.nn.functional.one_hot(y, 5)
    rows = rows_of(result.table, "ensemble")["value"]
    wrong = chance.argmax(2) != y
    together = chance.mean(0).argmax(1) != y
    squared = (chance - truth).square().sum(2).mean().item()
    of_average = (chance.mean(0) - truth).square().sum(1).mean().item()
    assert rows["error_pct"] == pytest.approx(100 * wrong.double().mean().item())
    assert rows["averaged_error_pct"] == pytest.approx(100 * together.double().mean().item())
    assert rows["squared_error"] == pytest.approx(squared, rel=1e-5)
    assert rows["squared_error"] - rows["ambiguity"] == pytest.approx(of_average, rel=1e-5)
    assert rows["ambiguity_pct"] == pytest.approx(100 * rows["ambiguity"] / rows["squared_error"])
    removed = 100 * (1 - together.double().mean() / wrong.double().mean()).item()
    assert rows["removed_pct"] == pytest.approx(removed)
    assert set(result.table["quantity"]) == set(QUANTITIES)


def test_as_many_sub_networks_at_a_time(asked, result):
    _, chains, x, y = asked
    edits = edits_of(chains[0], AgreementSettings(counts=(1, 2), draws=20, seed=1))
    with torch.no_grad():
        chance = torch.stack([chains[0].run(x, e).double().softmax(1) for e in edits])
    places = [i for i, edit in enumerate(edits) if edit.edits == 2]
    rows = rows_of(result.table, "subnetworks", 2)
    assert (rows["networks"] == 3).all()
    groups = [chance[places]]  # of three blocks there are three pairs
    errors = [(group.mean(0).argmax(1) != y).double().mean().item() for group in groups]
    assert rows["value"]["averaged_error_pct"] == pytest.approx(100 * np.mean(errors))
    some = [chance[list(three)] for three in combinations(places, 3)]
    ambiguity = np.mean([(c - c.mean(0)).square().sum(2).mean().item() for c in some])
    assert rows["value"]["ambiguity"] == pytest.approx(ambiguity, rel=1e-5)


def test_no_network_is_in_two_groups():
    edits = [Edit(), *(Edit.delete(b, b + 1) for b in range(1, 8)), Edit.delete(1)]
    assert _groups(edits, 3) == [(2, [1, 3, 5]), (2, [2, 4, 6])]
    assert _groups(edits, 8) == []


def test_independent_networks_without_a_common_error_leave_one_part_in_their_number():
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(4000, dtype=torch.int64)
    noise = torch.randn(5, 4000, 3, generator=generator, dtype=torch.float64)
    found = spread_of(torch.nn.functional.one_hot(truth, 3) + noise, truth)
    share = float(found.ambiguity.mean() / found.squared.mean())
    assert share == pytest.approx(1 - 1 / 5, abs=0.01)
    assert float(found.of(5, 2).ambiguity.mean() / found.squared.mean()) == pytest.approx(
        1 - 1 / 2, abs=0.01
    )


def test_equal_networks_gain_nothing(asked):
    models, chains, x, y = asked
    again = chain_of(models[0], x[:2])
    rows = rows_of(agreement(chains[0], x, y, others=[again], draws=2).table, "ensemble")["value"]
    assert rows["ambiguity_pct"] == pytest.approx(0, abs=1e-9) and rows["removed_pct"] == 0
    assert rows["error_correlation"] == pytest.approx(1) and rows["disagreement_pct"] == 0


def test_intervals_of_the_shares_hold_what_they_promise():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        size = random.lognormal(0, 1, 200)
        spread = Spread(size, size * random.beta(2, 6, 200))
        _, low, high = _share(by_group(spread.ambiguity, 20), by_group(spread.squared, 20))
        held += low <= 25 <= high
    assert held >= 273  # 95 % of 300, less three standard errors


def test_what_is_said_is_in_the_table(result):
    found = true_ensemble(result)
    numbers, rows = found.sentence.numbers, rows_of(result.table, "ensemble")["value"]
    assert numbers["error_pct"] == rows["error_pct"] and numbers["networks"] == 3
    assert found.verdict in (
        "holds",
        "fails",
        "undecided",
    ) and "trained apart" in summarize_agreement(result)
    panels = draw_all(result)["ensemble"].axes
    assert [ax.get_ylabel() for ax in panels][1] == "ambiguity (% of squared error)"


def test_sub_networks_are_those_of_the_nearest_mean_error():
    names = ["kind", "edits", "quantity", "value"]
    rows = [("ensemble", 0, "error_pct", 10), ("ensemble", 0, "ambiguity_pct", 3)]
    for edits, error in ((1, 30), (2, 11), (3, 2)):
        rows += [("subnetworks", edits, "error_pct", error), ("lesioned", edits, "error_pct", 10),
                 ("subnetworks", edits, "ambiguity_pct", edits)]  # fmt: skip
    found = nearest(pd.DataFrame(rows, columns=names))
    assert found[names].to_numpy().tolist() == [
        ["subnetworks", 2, "error_pct", 11], ["subnetworks", 2, "ambiguity_pct", 2]
    ]  # fmt: skip


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "fails"), (50.0, "undecided")])
def test_sub_networks_are_judged_at_a_like_mean_error_only(result, shift, verdict):
    table = result.table.copy()
    subs, error = table["kind"] == "subnetworks", table["quantity"] == "error_pct"
    whole = rows_of(table, "ensemble")["value"]["error_pct"]
    table.loc[subs & error, "value"] = whole + shift
    ends = ["value", "ci_low", "ci_high"]
    table.loc[table["quantity"] == "ambiguity_pct", ends] = [30.0, 29.0, 31.0]
    table.loc[subs & (table["quantity"] == "ambiguity_pct"), ends] = [5.0, 4.0, 6.0]
    assert true_ensemble(Result("agreement", table, {})).verdict == verdict


def test_what_is_no_ensemble_is_refused(asked):
    _, chains, x, y = asked
    with pytest.raises(ProbeError, match="2 draws are fewer than the 3 networks"):
        agreement(chains[0], x, y, others=chains[1:], draws=2)
    small = layers_of(seeded(TinyPlain), images(2, side=4))
    with pytest.raises(ProbeError, match="do not fit"):
        agreement(chains[0], x, y, others=[small])
    with pytest.raises(ProbeError, match="outputs of 3 networks for 60 images"):
        agreement(chains[0], x, y, others=chains[1:], memory=10_000)


def test_the_command_takes_the_weights_of_several_trainings(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seeds = ["--weights", "initial:0", "initial:1"]
    given = ["agreement", "--arch", "resnet20:width=4", *seeds, "--data", "digits", "--limit", "12"]
    assert main([*given, "--counts", "2", "--draws", "2"]) == 0
    assert "trained apart     2" in capsys.readouterr().out
    folder = tmp_path / "runs" / "agreement-of-2-resnet20-width-4-digits"
    command = Result.load(folder).provenance["command"]
    assert "--arch resnet20:width=4 --weights initial:0 initial:1" in command
    assert main([*given[:3], "--weights", "initial:0", "initial:0", *given[6:]]) == 2
    assert "each network once" in capsys.readouterr().err
