"""Intervals against known truths: those of paths on a chain that can be written down, and all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resnet_probe.benchmarks import coverage, known_paths
from resnet_probe.cli import main
from resnet_probe.errors import ProbeError
from resnet_probe.stats.path_lengths import by_length
from resnet_probe.studies.paths import path_gradients, paths


def test_the_study_finds_the_paths_that_are_written_down() -> None:
    images, labels = known_paths.drawn(12, np.random.default_rng(0))
    known, chain = known_paths.truth(images, labels), known_paths.known_chain()
    options = {"precision": "float64", "signs": 8}  # each sign vector once: nothing is drawn
    found = paths(chain, images, labels, samples=400, **options)
    for method, quantity in coverage.METHODS:
        rows = by_length(found.table, method, quantity)
        wide = 0.1 if method == "sample" else 1e-10
        np.testing.assert_allclose(rows["value"], getattr(known, quantity), rtol=wide)


def test_the_whole_gradient_of_the_known_chain_is_autograd_s() -> None:
    images, labels = known_paths.drawn(5, np.random.default_rng(1))
    chain = known_paths.known_chain()
    given = images.double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(chain(given), labels, reduction="sum")
    (expected,) = torch.autograd.grad(loss, given)
    found = path_gradients(chain, images, labels, precision="float64").sum(0)
    torch.testing.assert_close(found, expected)


ROUNDS = 16
ERROR = np.sqrt(0.95 * 0.05 / ROUNDS)
"""Of a coverage."""


@pytest.fixture(scope="module")
def table():
    return coverage.coverage_table(seed=0, rounds=ROUNDS)


def test_intervals_of_paths_are_not_too_short(table) -> None:
    """Over all lengths, which hang together, 95 % but for the error of so few rounds."""
    for method, _ in coverage.METHODS:
        rows = table[table["interval"] == f"paths {method}"]
        assert len(rows) == len(known_paths.FACTORS) + 1
        assert rows["coverage"].mean() >= 0.95 - 2.5 * ERROR, rows


def test_every_interval_covers_what_it_promises(table) -> None:
    assert tuple(table.columns) == coverage.COLUMNS
    assert (table["promised"] == 0.95).all() and (table["rounds"] == ROUNDS).all()
    short = table[table["coverage"] < 0.95 - 4 * ERROR]
    assert short.empty, short
    assert table["coverage"].mean() >= 0.93


def test_cheap_intervals_over_many_rounds() -> None:
    """Those that take no network: a thousand rounds, so that one point too few would be seen."""
    for trial in coverage.trials():
        if trial.interval in {"wilson", "paired_difference", "equivalent", "median_interval",
                              "mean_interval", "t_interval", "jackknife",
                              "shapley_interval"}:  # fmt: skip
            random = np.random.default_rng(0)
            right = [np.atleast_1d(trial.right(random)) for _ in range(1000)]
            assert (np.mean(right, axis=0) >= 0.93).all(), (trial.interval, np.mean(right, axis=0))


def test_the_seed_alone_decides(table) -> None:
    again = coverage.coverage_table(seed=3, rounds=1)
    assert again.equals(coverage.coverage_table(seed=3, rounds=1))
    with pytest.raises(ProbeError, match="rounds=0: at least one round is needed"):
        coverage.coverage_table(rounds=0)


def test_bench_coverage_prints_a_row_an_interval(capsys) -> None:
    assert main(["bench", "coverage", "--rounds", "1", "--seed", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == list(coverage.COLUMNS)
    assert len(said) == 1 + sum(len(trial.quantities) for trial in coverage.trials(2))
    assert main(["bench", "coverage", "--rounds", "0"]) == 2
    assert "--rounds 0: at least 1 is needed" in capsys.readouterr().err
