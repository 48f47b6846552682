"""How far the paths of a length speak with one voice: closed forms, and all paths one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_paths import every_path, spectrum
from toy_chains import TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import Result, chain_of, paths
from resnet_probe.figures import draw_all
from resnet_probe.findings import path_coherence, summarize_paths
from resnet_probe.studies.paths.intervals import grouped, ratio_of_sums


def test_paths_that_are_all_alike_have_the_number_of_paths():
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chain = scalar_chain([0.5, 0.5, 0.5, 0.5])
    table = paths(chain, x, torch.tensor([0, 1] * 3), signs=8, samples=2, precision="float64").table
    rows = spectrum(table, "all", "coherence")
    np.testing.assert_allclose(rows["value"], [1, 4, 6, 4, 1])


def test_it_is_that_of_all_paths_one_by_one():
    x, y = images(5).double(), labels(5)
    found = every_path(chain_of(seeded(TinyResNet).double(), x), x, y)
    model = chain_of(seeded(TinyResNet), images(5))
    table = paths(model, images(5), y, signs=4, samples=2, precision="float64").table
    whole = sum(sum(row.values()) for row in found).flatten(1).square().sum(1)
    wanted = []
    for row in found:
        together = sum(row.values()).flatten(1).square().sum(1) / whole
        alone = sum(g.flatten(1).square().sum(1) for g in row.values()) / whole
        wanted.append(float(together.sum() / alone.sum()))
    np.testing.assert_allclose(spectrum(table, "all", "coherence")["value"], wanted, rtol=1e-10)


def test_its_interval_holds_what_it_promises():
    random, held = np.random.default_rng(0), 0
    for _ in range(400):
        below = random.lognormal(0, 1, (200, 1))
        above = 3 * below * random.lognormal(-0.08, 0.4, (200, 1))
        rows = np.arange(200)
        found = ratio_of_sums(
            grouped(above, rows), grouped(below * random.gamma(16, 1 / 16, (200, 1)), rows)
        )
        held += found.low[0] <= 3 <= found.high[0]
    assert held >= 366  # 95 % of 400, less three standard errors


@pytest.fixture(scope="module")
def result():
    chain = chain_of(seeded(TinyResNet), images(8))
    return paths(chain, images(8), labels(8), signs=4, samples=2)


def test_what_is_said_and_drawn_is_in_the_table(result):
    finding = path_coherence(result)
    rows = spectrum(result.table, "all", "coherence")
    place = finding.sentence.numbers
    assert place["coherence"] == rows["value"].iloc[int(place["length"])]
    assert str(finding.sentence) in summarize_paths(result)
    lines = draw_all(result)["coherence"].axes[0].lines
    np.testing.assert_allclose(lines[1].get_ydata(), rows["value"])
    chain = chain_of(seeded(TinyResNet), images(4))
    alone = paths(chain, images(4), labels(4), method="all", signs=2)
    assert path_coherence(alone) is None and "coherence" not in draw_all(alone)


@pytest.mark.parametrize(("value", "verdict"), [(1.1, "holds"), (5.0, "fails")])
def test_the_verdict_follows_the_interval(result, value, verdict):
    table = result.table.copy()
    ends = ["value", "ci_low", "ci_high"]
    table.loc[table["quantity"] == "coherence", ends] = [value, value - 0.1, value + 0.1]
    assert path_coherence(Result("paths", table, result.provenance)).verdict == verdict
