"""Errors in common, disagreement and averages, counted by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from toy_chains import TinyResNet, images, labels, seeded

from resnet_probe import ProbeError, agreement, chain_of, lesion
from resnet_probe.findings import summarize_agreement
from resnet_probe.studies.agreement import COLUMNS, QUANTITIES, AgreementSettings, edits_of
from resnet_probe.studies.votes import Truth, Votes, of_pairs, over_networks


@pytest.fixture(scope="module")
def chain():
    model = seeded(TinyResNet)
    with torch.no_grad():
        model.head.weight.mul_(8)  # sure answers, so that softmax outputs are not logits
    return chain_of(model, images(2))


@pytest.fixture(scope="module")
def some():
    return images(50), labels(50)


def outputs(chain, x, edits) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([torch.softmax(chain.run(x, e).double(), 1) for e in edits])


def rows_of(table, kind, edits):
    some = table[(table["kind"] == kind) & (table["edits"] == edits)]
    return some.set_index("quantity")


def test_quantities_by_number_of_deleted_blocks(chain, some):
    x, y = some
    table = agreement(chain, x, y, counts=[1, 2], draws=20, seed=1).table
    edits = edits_of(chain, AgreementSettings(counts=(1, 2), draws=20, seed=1))
    chance = outputs(chain, x, edits)
    wrong = (chance.argmax(2) != y).numpy()
    whole = table.iloc[0]
    assert (whole["kind"], whole["value"]) == ("whole", pytest.approx(100 * wrong[0].mean()))
    assert (chance[1:4].mean(0).argmax(1) != chance[1:4].log().mean(0).argmax(1)).any()
    for k, places in ((1, [1, 2, 3]), (2, [4, 5, 6])):
        assert [edits[i].edits for i in places] == [k] * 3
        rows = rows_of(table, "lesioned", k)
        assert (rows["networks"] == 3).all()
        assert rows["value"]["error_pct"] == pytest.approx(100 * wrong[places].mean())
        together = (chance[places].mean(0).argmax(1) != y).numpy()
        assert rows["value"]["averaged_error_pct"] == pytest.approx(100 * together.mean())
        worse, better = (together & ~wrong[0]).sum(), (~together & wrong[0]).sum()
        p = binomtest(int(worse), int(worse + better)).pvalue if worse + better else 1.0
        assert rows["p_value"]["averaged_error_pct"] == pytest.approx(p)
        pairs = list(combinations(places, 2))
        phi = [np.corrcoef(wrong[i], wrong[j])[0, 1] for i, j in pairs]
        assert rows["value"]["error_correlation"] == pytest.approx(np.mean(phi))
        answers = chance.argmax(2).numpy()
        apart = [100 * (answers[i] != answers[j]).mean() for i, j in pairs]
        assert rows["value"]["disagreement_pct"] == pytest.approx(np.mean(apart))


def test_every_two_single_deletions(chain, some):
    x, y = some
    table = agreement(chain, x, y, counts=[1], draws=2).table
    wrong = (
        outputs(chain, x, edits_of(chain, AgreementSettings(counts=(1,)))).argmax(2) != y
    ).numpy()[1:]
    pairs = table[(table["kind"] == "pair") & (table["quantity"] == "error_correlation")]
    assert list(zip(pairs["block"], pairs["other"], strict=True)) == [(1, 2), (1, 3), (2, 3)]
    for row in pairs.itertuples():
        i, j = row.block - 1, row.other - 1
        assert row.value == pytest.approx(np.corrcoef(wrong[i], wrong[j])[0, 1])
        kept = [np.arange(50) % 20 != g for g in range(20)]
        without = np.array([np.corrcoef(wrong[i][k], wrong[j][k])[0, 1] for k in kept])
        half = 2.093024 * np.sqrt(19 / 20 * ((without - without.mean()) ** 2).sum())
        assert row.ci_low == pytest.approx(row.value - half, rel=1e-5)


def test_errors_are_those_of_the_lesion(chain, some):
    table = agreement(chain, *some, counts=[1], draws=2).table
    single = lesion(chain, *some).table["error_pct"][1:]
    assert rows_of(table, "lesioned", 1)["value"]["error_pct"] == pytest.approx(single.mean())


def test_independent_and_equal_members():
    generator = np.random.default_rng(0)
    truth = np.zeros(20_000, dtype=np.int64)
    independent = (generator.random((3, 20_000)) < 0.2).astype(np.int64)
    votes = Votes.of(independent, Truth.of(truth)).whole
    above = np.triu_indices(3, 1)
    assert abs(votes.error_correlation[above]).max() < 0.03
    assert votes.disagreement_pct[above] == pytest.approx([32] * 3, abs=1.5)
    same = Votes.of(np.repeat(independent[:1], 2, axis=0), Truth.of(truth)).whole
    assert same.error_correlation[0, 1] == pytest.approx(1)
    assert same.disagreement_pct[0, 1] == 0


def test_networks_that_are_always_right_have_no_correlation():
    truth = np.zeros(30, dtype=np.int64)
    votes = Votes.of(np.zeros((2, 30), dtype=np.int64), Truth.of(truth))
    assert np.isnan(votes.whole.error_correlation).all()


def test_the_table_does_not_depend_on_the_batch_and_is_documented(chain, some):
    first, second = (agreement(chain, *some, draws=3, batch=b).table for b in (7, 50))
    pd.testing.assert_frame_equal(first, second, rtol=1e-4, atol=1e-6)
    counted = first["quantity"].str.contains("error_|disagreement")
    assert first[counted].equals(second[counted])
    assert tuple(first.columns) == COLUMNS and set(first["quantity"]) == set(QUANTITIES)
    assert sorted(set(first["edits"])) == [0, 1, 2]


def test_what_cannot_vote_is_refused(chain, some):
    x, y = some
    with pytest.raises(ProbeError, match="agreement needs at least 2 images"):
        agreement(chain, x[:1], y[:1])
    with pytest.raises(ProbeError, match="1 draws have nothing to agree with"):
        agreement(chain, x, y, draws=1)
    with pytest.raises(ProbeError, match=r"delete 4 is out of range: .* has 3 blocks"):
        agreement(chain, x, y, counts=[4])


def test_a_network_that_is_drawn_again_counts_once(chain, some):
    """Of three blocks there are three pairs to delete, and one way to delete all."""
    x, y = some
    edits = edits_of(chain, AgreementSettings(counts=(1, 2, 3), draws=9))
    assert [edit.edits for edit in edits] == [0, 1, 1, 1, 2, 2, 2, 3]
    assert len({edit.blocks for edit in edits}) == 8
    assert max(edit.edits for edit in edits_of(chain, AgreementSettings(draws=2))) == 2
    result = agreement(chain, x, y, counts=[3], draws=9)
    rows = rows_of(result.table, "lesioned", 3)
    assert (rows["networks"] == 1).all() and np.isnan(rows["value"]["error_correlation"])
    assert "nan" not in summarize_agreement(result)
    assert "networks without 2 blocks: φ" in summarize_agreement(
        agreement(chain, x, y, counts=[2], draws=9)
    )


def test_intervals_end_where_their_quantities_do():
    """Networks that err together but once: φ near 1, and nothing above it."""
    answers = np.zeros((2, 60), np.int64)
    answers[0, :4], answers[1, :3] = 1, 1
    votes = Votes.of(answers, Truth.of(np.zeros(60, np.int64)))
    for name, least, most in (("error_correlation", -1, 1), ("disagreement_pct", 0, 100)):
        value, low, high = of_pairs(votes, name)
        assert least <= low[0, 1] < value[0, 1] < high[0, 1] <= most
        assert over_networks(votes, name)[1:] == pytest.approx((low[0, 1], high[0, 1]))
