"""Lists of edits in a lesion: given ones, those of papers, and values in the place of branches."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from journals import Memory
from toy_chains import NegativeStates, TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import Edit, ProbeError, chain_of, draw, lesion, models
from resnet_probe.engine import values
from resnet_probe.engine.disturb import GROUP
from resnet_probe.engine.values import fitted, modules
from resnet_probe.findings.lesion import summarize_lesion
from resnet_probe.studies.sweeps import SWEEPS, made, middles, movable, share_of

MEMORY = 2**30


@pytest.fixture(scope="module")
def chain():
    return chain_of(seeded(NegativeStates), images(3))


@pytest.fixture(scope="module")
def some():
    return images(24), labels(24)


CALIBRATE = (images(32, seed=7), labels(32, seed=8))


def listed(chain, name, **more):
    settings = type("Settings", (), {"edits": None, "edit": name, "draws": 2, "seed": 0, **more})()
    return made(chain, settings)


def test_a_given_list_has_what_every_lesion_has(chain, some):
    edits = [Edit.delete(1, 3), "swap 1 2", Edit.cut(2) >> Edit.parallel(2, 3)]
    with pytest.raises(ProbeError, match="delete 2: block 2 would have neither"):
        lesion(chain, *some, edits=[Edit.cut(2) >> Edit.delete(2)])
    edits[2] = Edit.repeat(2, times=3) >> Edit.scale({1: 0.5})
    result = lesion(chain, *some, edits=edits)
    table = result.table
    assert list(table["edit"]) == ["", "delete 1 3", "swap 1 2", "repeat 2 3; scale 1 0.5"]
    assert result.identity["edits"] == tuple(map(Edit.parse, table["edit"][1:]))
    with torch.no_grad():
        for row, edit in zip(table.itertuples(), [Edit(), *map(Edit.parse, table["edit"][1:])],
                             strict=True):  # fmt: skip
            wrong = chain.run(some[0], edit).argmax(1) != some[1]
            assert row.error_pct == pytest.approx(100 * float(wrong.double().mean()))
    early = lesion(chain, *some, edits=edits, precision=20.0)
    assert list(early.table["edit"]) == list(table["edit"])
    for found, how, ends in (
        (result, "all of them together", "joint"),
        (early, "each by itself", "delta"),
    ):
        row, text = found.table.iloc[2], summarize_lesion(found)
        assert f"change (its interval, {how})" in text
        assert f"({row[f'{ends}_low_pct']:+z.2f} to {row[f'{ends}_high_pct']:+z.2f})" in text
    assert "delete 1 3" in summarize_lesion(result) and draw(result)


def test_lists_of_papers_by_hand():
    chain = scalar_chain([0.5, 1.0, 2.0, 3.0])
    texts = {name: [str(edit) for _, edit in listed(chain, name)[1:]] for name in SWEEPS}
    assert len(texts["ranges"]) == 10 and texts["ranges"][3] == "delete 1..4"
    assert texts["neighbours"] == ["swap 1 2", "swap 2 3", "swap 3 4"]
    assert texts["cut"][:2] == ["delete 1", "cut 1"]
    assert texts["skip"] == ["delete 2 3", "delete 1..3", "delete 1..4"]
    assert texts["reverse"][0] == "reverse 2..3" and texts["parallel"][2] == "parallel 1..4"
    assert texts["looped"][1] == "parallel 1..3 3"
    assert texts["repeat"][1:] == ["delete 1 3; repeat 2 3", "delete 1 3 4; repeat 2 4"]
    assert len(texts["shuffle"]) == 6 and len(texts["middles"]) == 5 * 3 + 6
    assert len(texts["replace"]) == 4 * 6


def test_the_middles_of_stages_leave_blocks_that_change_the_shape():
    chain = chain_of(models.architecture("resnet20:width=2").build(seed=0), images(1))
    assert movable(chain) == [[1, 2, 3], [5, 6], [8, 9]]
    assert list(middles(chain)) == [[[1, 2], [5, 6], [8, 9]], [[1, 2, 3], [5, 6], [8, 9]]]
    with pytest.raises(ProbeError, match="no two neighbouring blocks that keep one shape"):
        listed(chain_of(seeded(TinyResNet), images(3)), "skip")


def branches(chain, x):
    """The branch's output and the state of each block, of the whole network."""
    h, found = chain.stem(x), {}
    for block in chain.blocks:
        found[block.number] = block.branch(h), h
        h = block.run(h)
    return found


@torch.no_grad()
def test_means_donors_and_linear_maps_are_what_they_say(chain):
    wanted = [(2, value) for value in ("mean", "channel mean", "resample", "linear")]
    arrays = fitted(chain, wanted, *CALIBRATE, memory=MEMORY)
    given, state = branches(chain, CALIBRATE[0])[2]
    np.testing.assert_allclose(arrays["2.mean"], given.mean(0), atol=1e-6)
    np.testing.assert_allclose(
        arrays["2.channel mean"], given.mean((0, 2, 3))[:, None, None].expand(4, 8, 8), atol=1e-6
    )
    donors = arrays["2.resample.images"]
    assert len(set(donors)) == GROUP
    np.testing.assert_allclose(arrays["2.resample"], given[donors], atol=1e-6)
    x = state[:24].movedim(1, -1).flatten(0, 2).double()
    y = given[:24].movedim(1, -1).flatten(0, 2).double()
    best = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y).solution
    np.testing.assert_allclose(arrays["2.linear"], best, atol=2e-3)
    held = [part[24:].movedim(1, -1).flatten(0, 2).double() for part in (state, given)]
    left = held[1] - torch.cat([held[0], torch.ones(len(held[0]), 1)], 1) @ best
    share = 1 - left.square().sum() / (held[1] - held[1].mean(0)).square().sum()
    assert float(arrays["2.linear.explained"]) == pytest.approx(float(share), abs=2e-3)


@torch.no_grad()
def test_a_branch_that_is_linear_is_replaced_exactly():
    chain = scalar_chain([0.5, -0.25, 2.0])
    x = torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    arrays = fitted(chain, [(2, "linear")], x, None, memory=MEMORY)
    assert float(arrays["2.linear.explained"]) == pytest.approx(1, abs=1e-6)
    there = replace(chain, values=modules(chain, arrays))
    assert torch.allclose(there.run(x, Edit.replace(2, "linear")), chain(x), rtol=1e-2)


@torch.no_grad()
def test_the_constant_loses_less_than_the_mean_on_what_is_held_out(chain):
    wanted = [(b, value) for b in (1, 2, 3) for value in ("mean", "constant")]
    there = replace(chain, values=modules(chain, fitted(chain, wanted, *CALIBRATE, memory=MEMORY)))
    x, y = (part[24:] for part in CALIBRATE)

    def loss(edit):
        return float(torch.nn.functional.cross_entropy(there.run(x, edit), y))

    gained = [loss(Edit.replace(b)) - loss(Edit.replace(b, "constant")) for b in (1, 2, 3)]
    assert min(gained) > -1e-6 and max(gained) > 1e-3


def constant_of(chain, x, y):
    return fitted(chain, [(1, "constant"), (1, "mean")], x, y, memory=MEMORY)


def test_where_every_step_loses_on_what_is_held_out_the_constant_is_the_mean():
    """Trained towards the first class, held out the second: each step away is a step too far."""
    chain, x = scalar_chain([0.5, 1.0]), torch.ones(40, 2, dtype=torch.float64)
    found = constant_of(chain, x, torch.tensor([0] * 30 + [1] * 10))
    np.testing.assert_array_equal(found["1.constant"], found["1.mean"])
    found = constant_of(chain, x + 0.1 * images(40)[:, 0, 0, :2], torch.zeros(40, dtype=torch.long))
    lead = found["1.constant"] - found["1.mean"]
    assert lead[0] > 0 > lead[1]  # where both say the same, towards that class


def test_of_all_looks_the_constant_is_the_one_that_loses_least_on_what_is_held_out(
    chain, monkeypatch
):
    looked, held = [], values._Search.held

    def watched(self, value, count):
        looked.append((held(self, value, count), value.clone()))
        return looked[-1][0]

    monkeypatch.setattr(values._Search, "held", watched)
    for losses in (None, [5.0, 3.0, 1.0, 2.0], [5.0, 1.0, 1.0, 4.0]):
        looked.clear()
        if losses is not None:
            given = iter(losses)
            monkeypatch.setattr(values._Search, "held", lambda self, value, count, given=given: (
                looked.append((next(given), value.clone())) or looked[-1][0]))  # fmt: skip
        found = fitted(chain, [(2, "constant")], *CALIBRATE, memory=MEMORY)["2.constant"]
        assert len(looked) == 1 + values.STEPS // values.LOOK
        best = min(looked, key=lambda look: look[0])[1]  # of equal ones the first
        np.testing.assert_array_equal(found, best.float())
    x, y = CALIBRATE
    y = torch.cat([y[:24], (y[24:] + 1) % 5])  # what is held out has no part in the steps
    looks = count()
    monkeypatch.setattr(values._Search, "held", lambda *_: -next(looks))  # the last look wins
    same = [fitted(chain, [(2, "constant")], x, t, memory=MEMORY) for t in (y, CALIBRATE[1])]
    np.testing.assert_array_equal(same[0]["2.constant"], same[1]["2.constant"])


def test_values_are_kept_and_the_same_after_an_interruption_and_in_any_batch(chain, some):
    edits = [f"replace 2 {value}" for value in ("zero", "mean", "resample", "constant", "linear")]
    whole = lesion(chain, *some, edits=edits, calibrate=CALIBRATE)
    assert {"value.2.mean", "value.2.resample.images"} <= set(whole.outcomes)
    assert whole.identity["calibrate"] == 32
    explained = whole.table["explained"]
    assert explained.notna().tolist() == [False] * 5 + [True]
    journal = Memory()
    first = lesion(chain, *some, edits=edits, calibrate=CALIBRATE, journal=journal, batch=16)
    again = lesion(chain, *some, edits=edits, calibrate=CALIBRATE, journal=journal)
    assert first.table.equals(again.table)
    assert (first.outcomes["answer"] == whole.outcomes["answer"]).all()
    deleted = lesion(chain, *some, edits=["delete 2"]).table
    assert deleted["error_pct"].iloc[1] == whole.table["error_pct"].iloc[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"edits": ["replace 2 mean"]}, "replacing block 2 by mean needs .* give calibrate="),
        ({"edits": ["replace 2 constant"], "calibrate": CALIBRATE[0]}, "needs labels"),
        ({"edits": ["replace 2 linear"], "calibrate": CALIBRATE[0][:3]}, "a quarter is held out"),
        ({"edits": []}, "edits= is empty"),
        ({"edits": ["delete 1"], "edit": "ranges"}, "a list of its own: leave out edit=ranges"),
        ({"edits": ["delete 1"], "counts": (1,)}, "leave out counts="),
        ({"edit": "ranges", "tau": (0.9,)}, "edit=ranges is a list of edits .*leave out tau="),
        ({"edit": "shuffle", "draws": 0}, "0 draws are none"),
        ({"edits": ["delete 9"]}, r"block 9 is out of range: NegativeStates has 3 blocks"),
        ({"edits": ["delet 9"]}, "character 1: found 'delet', wanted one of"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(chain, some, options, said):
    with pytest.raises(ProbeError, match=said):
        lesion(chain, *some, **options)


@pytest.mark.parametrize("name", sorted(set(SWEEPS) - {"replace"}))
def test_every_list_has_a_figure_and_a_sentence(chain, some, name):
    result = lesion(chain, *some, edit=name, draws=2)
    assert result.study == f"lesion-{name}" and draw(result) is not None
    assert summarize_lesion(result).count("\n") >= 2


def test_replaced_branches_have_a_figure_and_shares_with_intervals(chain, some):
    result = lesion(chain, *some, edit="replace", calibrate=CALIBRATE)
    assert set(result.provenance["saved_share_pct"]) == {
        "mean", "channel mean", "resample", "constant", "linear"
    }  # fmt: skip
    assert "of that saves" in summarize_lesion(result) and draw(result) is not None


def test_the_interval_of_a_share_covers():
    """Fieller's for the ratio of two means, exact for normal observations."""
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(600):
        whole = 2 + generator.normal(size=40)
        part = 0.3 * whole + 0.5 * generator.normal(size=40)
        _, low, high = share_of(part, whole)
        inside += low <= 30 <= high
    assert 0.925 <= inside / 600 <= 0.975
