from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from resnet_probe import ProbeError, edits


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_programs():
    assert edits.baseline(3).steps == ((1, 1.0), (2, 1.0), (3, 1.0))
    deleted = edits.delete(3, [3, 1])
    assert (deleted.blocks, deleted.edits) == ("1 3", 2)
    assert deleted.steps == ((1, 0.0), (2, 1.0), (3, 0.0))
    assert edits.duplicate(2, [1]).steps == ((1, 1.0), (1, 1.0), (2, 1.0))
    assert edits.scale([1, 0.5]).steps == ((1, 1.0), (2, 0.5))
    swapped = edits.swap(4, [(1, 3), (3, 4)])
    assert [b for b, _ in swapped.steps] == [3, 2, 4, 1]
    assert (swapped.blocks, swapped.edits) == ("1-3 3-4", 2)


@pytest.mark.parametrize("make", [edits.delete, edits.duplicate])
def test_numbers_out_of_range_are_refused(make):
    with pytest.raises(ProbeError, match=r"block 4 is out of range: there are 3 blocks \(1–3\)"):
        make(3, [4])


@given(st.permutations(list(range(1, 9))))
def test_tau_is_scipys(order):
    expected = scipy_stats.kendalltau(range(1, 9), order).statistic
    assert edits.kendall_tau(order) == pytest.approx(expected, abs=1e-12)


def test_draws_are_uniform():
    counts = Counter(tuple(edits.draw_numbers([2, 4, 6, 8], 2, generator(s))) for s in range(3000))
    assert len(counts) == 6 and min(counts.values()) > 400
    pairs = Counter(edits.draw_swaps([[1, 2, 3], [7, 8]], 1, generator(s))[0] for s in range(3000))
    assert set(pairs) == {(1, 2), (1, 3), (2, 3), (7, 8)} and min(pairs.values()) > 650


def test_orders_are_uniform_among_those_with_the_same_tau():
    ranges, blocks = [[1, 2, 3], [5, 6]], 6
    every = []
    for first in permutations([1, 2, 3]):
        for second in permutations([5, 6]):
            every.append([*first, 4, *second, *range(7, blocks + 1)])
    tau = edits.kendall_tau([2, 1, 3, 4, 6, 5])
    allowed = {tuple(order) for order in every if edits.kendall_tau(order) == pytest.approx(tau)}
    drawn = Counter(tuple(edits.draw_order(blocks, ranges, tau, generator(s))) for s in range(2000))
    assert set(drawn) == allowed
    assert scipy_stats.chisquare([drawn[order] for order in allowed]).pvalue > 1e-4


def test_the_stated_limits_of_54_blocks():
    ranges = [list(range(2, 19)), list(range(20, 37)), list(range(38, 55))]
    reversal = list(range(1, 55))
    for numbers in ranges:
        reversal[numbers[0] - 1 : numbers[-1]] = reversed(numbers)
    assert edits.kendall_tau(reversal) == pytest.approx(0.43, abs=0.005)
    assert edits.draw_order(54, ranges, edits.kendall_tau(reversal), generator()) == reversal
    for tau in (1.0, 0.9, 0.715, 0.5):
        order = edits.draw_order(54, ranges, tau, generator(5))
        assert edits.kendall_tau(order) == pytest.approx(tau, abs=2 / 1431 + 1e-9)
        for numbers in ranges:  # each range keeps its own blocks
            assert sorted(order[numbers[0] - 1 : numbers[-1]]) == numbers
    with pytest.raises(ProbeError, match=r"τ = 0.3 cannot be reached .* between 0.430"):
        edits.draw_order(54, ranges, 0.3, generator())


def test_an_order_is_a_permutation():
    with pytest.raises(ProbeError, match="has to hold each of 1–3 once"):
        edits.reorder([1, 1, 3])
