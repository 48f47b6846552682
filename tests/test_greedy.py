"""Blocks that go one after another: orders that are known, halves that are apart, intervals."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from journals import Memory
from torch import nn
from toy_chains import TinyResNet, images, labels, scalar_chain, seeded

from resnet_probe import Edit, ProbeError, chain_of, draw, greedy
from resnet_probe.findings.greedy import SINGLE, can_go, summarize_greedy, what_remeasuring_buys
from resnet_probe.studies.greedy import halves


class Adds(nn.Module):
    """Adds to the first of two numbers, whatever the state."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor([amount, 0.0], dtype=torch.float64))

    def forward(self, h):
        return self.amount.expand_as(h)


class Cap(nn.Module):
    def forward(self, h):
        return h.clamp(max=2.0)


def stand_ins():
    """Blocks 1 and 2 stand in for each other: +2, and never more than 2; 3 adds 0.5, 4 0.25.

    The logits are what has come together, and 2.1: without 1, 4 and 3 the answer is wrong.
    """
    chain = scalar_chain([0.0] * 4)
    given = zip(chain.blocks, (2.0, 2.0, 0.5, 0.25), strict=True)
    blocks = [replace(block, branch=Adds(amount)) for block, amount in given]
    blocks = [replace(b, after=Cap()) if b.number < 3 else b for b in blocks]
    return replace(chain, blocks=tuple(blocks), head=Against())


class Against(nn.Module):
    def forward(self, h):
        return torch.stack([h[:, 0], torch.full_like(h[:, 0], 2.1)], 1)


X = 0.1 * torch.rand(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.zeros(9, dtype=torch.int64)


def order(table, kind):
    return table.loc[table["kind"] == kind, "block"].tolist()


def test_blocks_that_stand_in_for_each_other_do_not_both_go_first():
    result = greedy(stand_ins(), X, Y)
    assert order(result.table, "greedy") == [1, 4, 3, 2]
    assert order(result.table, SINGLE) == [1, 2, 4, 3]
    assert result.provenance["candidates"] == 10
    for kind, gone, wrong in (("greedy", 3, 2), (SINGLE, 2, 1)):  # after so many it breaks
        errors = result.table.loc[result.table["kind"] == kind, "error_pct"].to_numpy()
        np.testing.assert_array_equal(errors, [0.0] * wrong + [100.0] * (4 - wrong))
        assert can_go(result, kind) == gone - 1
    value, low, high = result.provenance["against_pct"][SINGLE]
    assert value == 25.0 and np.isnan([low, high]).all()  # every image says so: no spread, no end


@torch.no_grad()
def test_by_block_influence_the_block_that_turns_the_state_least_goes_first():
    chain, (chosen, _) = stand_ins(), halves(9, 0)
    h, turns = X[chosen], []
    for block in chain.blocks:
        before, h = h, block.run(h)
        turns.append(float((1 - torch.cosine_similarity(before, h)).mean()))
    wanted = [int(place) + 1 for place in np.argsort(turns, kind="stable")]
    assert order(greedy(chain, X, Y).table, "block influence") == wanted


def test_it_stops_where_as_many_points_are_lost_as_asked():
    table = greedy(stand_ins(), X, Y, to=5).table
    assert order(table, "greedy") == [1, 4, 3] and order(table, SINGLE) == [1, 2, 4]
    assert table["chosen_error_pct"].tolist()[:4] == [0, 0, 0, 100]


@pytest.fixture(scope="module")
def net():
    return chain_of(seeded(TinyResNet), images(3)), images(31), labels(31)


@torch.no_grad()
def test_every_round_takes_the_least_loss_of_one_half_and_tells_the_other(net):
    chain, x, y = net
    result = greedy(chain, x, y, seed=3)
    chosen, judged = halves(31, 3)
    assert sorted(chosen + judged) == list(range(31)) and len(judged) == 16
    assert result.outcomes["images"].tolist() == judged

    def loss(rows, gone):
        logits = chain.run(x[rows], Edit.delete(*gone))
        return float(nn.functional.cross_entropy(logits.double(), y[rows]))

    gone, left = [], [1, 2, 3]
    while left:
        best = min(left, key=lambda block: loss(chosen, [*gone, block]))
        left.remove(best)
        gone.append(best)
    assert order(result.table, "greedy") == gone
    alone = [loss(chosen, [block]) for block in (1, 2, 3)]
    np.testing.assert_allclose(result.provenance["single_loss"], alone, rtol=1e-5)
    assert order(result.table, SINGLE) == [int(b) + 1 for b in np.argsort(alone)]
    for row in result.table.itertuples():
        blocks = [int(block) for block in row.blocks.split()]
        assert row.loss == pytest.approx(loss(judged, blocks), rel=1e-4)


def test_what_the_judged_images_say_has_no_part_in_the_choice(net):
    chain, x, y = net
    other = y.clone()
    other[halves(31, 0)[1]] = (other[halves(31, 0)[1]] + 1) % 5
    first, second = greedy(chain, x, y).table, greedy(chain, x, other).table
    for column in ("kind", "blocks", "chosen_error_pct"):
        assert first[column].equals(second[column])
    assert not first["loss"].equals(second["loss"])


def test_the_means_over_all_deletions_are_those_of_the_table(net):
    result = greedy(*net)
    means = result.table.groupby("kind")[["error_pct", "loss"]].mean()
    for fact, column in (("against_pct", "error_pct"), ("against_loss", "loss")):
        for way, (value, low, high) in result.provenance[fact].items():
            wanted = means.loc[way, column] - means.loc["greedy", column]
            assert value == pytest.approx(wanted, abs=1e-5) and not low > value and not value > high


def test_a_journal_keeps_the_rounds(net):
    journal = Memory(stop=3)
    with pytest.raises(KeyboardInterrupt):
        greedy(*net, journal=journal)
    again = greedy(*net, journal=journal)
    assert {"whole", "round 1", "round 2"} <= set(journal.given)
    assert again.table.equals(greedy(*net).table)


def test_it_has_a_figure_and_sentences():
    result = greedy(stand_ins(), X, Y)
    finding = what_remeasuring_buys(result)
    assert finding.verdict == "undecided"  # no interval: every image says the same
    assert "within 1 point of error: 2 measured again after each deletion, 1 by the cost" in str(
        finding.sentence
    )
    assert "10 edits tried on 4 others" in summarize_greedy(result) and draw(result)
    table = result.table.assign(error_pct=result.table.index * 1.25)
    text = summarize_greedy(replace(result, table=table)).splitlines()
    for count, some in table.iloc[1:].groupby("edits"):
        errors = some.set_index("kind")["error_pct"]
        (line,) = [each for each in text if each.startswith(f"{count:4d}    ")]
        shown = [float(part) for part in re.findall(r"(\d+\.\d+) %", line)]
        assert shown == pytest.approx([*errors[["greedy", SINGLE, "block influence"]]], abs=0.006)
    found = {SINGLE: [3.0, 1.0, 5.0], "block influence": [-1.0, -3.0, 1.0]}
    for sign, verdict in ((1, "holds"), (-1, "fails")):
        turned = {way: [sign * x for x in ends] for way, ends in found.items()}
        turned = {
            way: [v, min(low, high), max(low, high)] for way, (v, low, high) in turned.items()
        }
        result.provenance["against_pct"] = turned
        assert what_remeasuring_buys(result).verdict == verdict


@pytest.mark.parametrize(
    ("options", "count", "said"),
    [
        ({}, 3, "needs at least 4, found 3"),
        ({"to": 0}, 9, "to=0 is no loss to stop at"),
        ({"to": float("nan")}, 9, "to=nan is no finite number"),
        ({"margin": 0}, 9, "margin=0 is no margin"),
    ],
)
def test_what_cannot_be_chosen_is_refused(options, count, said):
    with pytest.raises(ProbeError, match=said):
        greedy(stand_ins(), X[:count], Y[:count], **options)
