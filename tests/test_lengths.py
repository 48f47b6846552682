"""Counts, windows and decay of path lengths, against what is known in closed form."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from resnet_probe import ProbeError, published
from resnet_probe.stats import path_lengths


@pytest.mark.parametrize("blocks", [0, 1, 9, 54, 500, 601])
def test_counts_are_exact_and_overflow_nothing(blocks):
    counts = [math.comb(blocks, k) for k in range(blocks + 1)]
    found = path_lengths.log10_paths(blocks)
    assert found[0] == found[-1] == 0 and np.isfinite(found).all()
    assert found.max() == pytest.approx(math.log10(max(counts)), rel=1e-15)
    share = path_lengths.share_of_paths(blocks)
    assert share.sum() == pytest.approx(1, abs=1e-12)
    assert share[blocks // 2] == float(Fraction(counts[blocks // 2], 2**blocks))


def test_the_published_numbers_of_path_lengths():
    """Binomial(54, ½): mean 27, standard deviation 3.67; 98 % in 19–35; 0.45 % in 5–17."""
    share, k = path_lengths.share_of_paths(54), np.arange(55)
    claims = published.load("claims").set_index("claim")["value"]
    mean = (share * k).sum()
    sd = math.sqrt((share * (k - mean) ** 2).sum())
    prefix = "veit2016/preresnet110/paths/"
    assert mean == pytest.approx(claims[prefix + "mean"])
    assert sd == pytest.approx(claims[prefix + "sd"], abs=0.005)
    within = 100 * path_lengths.share_within(share, 19, 35)
    assert within == pytest.approx(claims[prefix + "19-35"], abs=0.5)
    first, last = path_lengths.PUBLISHED_WINDOW
    assert [first, last] == [claims[prefix + f"effective/{end}"] for end in ("shortest", "longest")]
    effective = 100 * path_lengths.share_within(share, first, last)
    assert effective == pytest.approx(claims[prefix + "effective/share"], abs=0.005)


@pytest.mark.parametrize("blocks", [10, 54, 500])
@pytest.mark.parametrize("factor", [0.25, 1.0, 2.0])
def test_an_exponential_decay_gives_a_binomial(blocks, factor):
    """C(N, k)·f^k, added up to 1, is Binomial(N, f/(1 + f))."""
    norms = 7.0 * factor ** np.arange(blocks + 1)
    from scipy.stats import binom

    expected = binom.pmf(np.arange(blocks + 1), blocks, factor / (1 + factor))
    np.testing.assert_allclose(path_lengths.carried(norms, blocks), expected, atol=1e-12)
    found = path_lengths.decay(norms)
    assert found.factor == pytest.approx(factor) and found.r2 == pytest.approx(1)


def test_windows_by_hand():
    weights = [1, 1, 5, 2, 1]
    for share, expected in ((0.5, (2, 2, 0.5)), (0.7, (2, 3, 0.7)), (0.71, (1, 3, 0.8))):
        assert path_lengths.window(weights, share) == pytest.approx(expected)
    assert path_lengths.window(weights, 1.0) == pytest.approx((0, 4, 1.0))
    assert path_lengths.window([0, 0, 3], 0.99) == (2, 2, 1.0)
    with pytest.raises(ProbeError, match="no length carries any gradient"):
        path_lengths.window([0.0, 0.0], 0.9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(any), st.floats(0.01, 1))
def test_no_shorter_window_holds_as_much(weights, share):
    given_ = np.array(weights) / sum(weights)
    found = path_lengths.window(weights, share)
    assert found.share >= share - 1e-9
    assert found.share == pytest.approx(given_[found.first : found.last + 1].sum())
    width = found.last - found.first
    shorter = [given_[i : i + width].sum() for i in range(len(weights) - width + 1)]
    assert max(shorter) < share or width == 0


def test_zero_norms_carry_nothing():
    np.testing.assert_array_equal(path_lengths.carried([0.0, 0.0], 1), [0, 0])
    np.testing.assert_allclose(path_lengths.carried([0.0, 1.0, 2.0], 2), [0, 0.5, 0.5])
    np.testing.assert_array_equal(path_lengths.carried([np.nan, np.nan], 1), [0, 0])
    assert math.isnan(path_lengths.decay([1.0, 0.0]).factor)
    assert path_lengths.decay([3.0, 3.0, 3.0]) == (pytest.approx(1), 1.0)


def test_another_table_is_refused():
    with pytest.raises(ProbeError, match="no column 'method': is it the table of paths"):
        path_lengths.by_length(pd.DataFrame({"kind": ["delete"]}), "exact", "norm_of_sum")


def test_rows_of_one_quantity_stand_by_length_where_the_gradients_were_asked():
    names = ("method", "quantity", "block", "length", "value")
    rows = [
        ("exact", "norm", 0, 2.0, 12.0), ("exact", "norm", 0, 1.0, 11.0),
        ("sample", "norm", 0, 1.0, 20.0), ("exact", "share", 0, 1.0, 30.0),
        ("exact", "norm", 5, 1.0, 40.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(names)).reindex(columns=list(path_lengths.NEEDED))
    found = path_lengths.by_length(table, "exact", "norm")
    assert found[["length", "value"]].to_numpy().tolist() == [[1, 11], [2, 12]]
    assert found["length"].dtype.kind == "i" and list(found.index) == [0, 1]
    assert path_lengths.by_length(table, "exact", "none").empty


def test_two_lengths_are_a_line() -> None:
    found = path_lengths.decay([0.0, 8.0, 0.0, 2.0])  # at 1 and 3 blocks
    assert (found.factor, found.r2) == pytest.approx((0.5, 1.0))


def test_how_well_a_line_fits_is_scipys() -> None:
    norms = np.exp([3.0, 2.5, 0.2, 0.4, -1.0])
    expected = linregress(range(5), np.log(norms))
    found = path_lengths.decay(norms)
    assert found == pytest.approx((np.exp(expected.slope), expected.rvalue**2))
