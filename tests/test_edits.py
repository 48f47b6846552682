"""Edits as values: their text, their programs, their laws; and the draws of random ones."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from torch import nn
from toy_chains import NegativeStates, TinyPlain, TinyResNet, images, scalar_chain, seeded

from resnet_probe import Edit, ProbeError, chain_of, edits, layers_of
from resnet_probe.edits.given import read
from resnet_probe.edits.variants import Variant
from resnet_probe.engine.sweep import Sweep

FACTORS = [0.5, -0.25, 2.0, 1.0, 3.0, -1.5]
N = len(FACTORS)
BLOCK = st.integers(1, N)
X = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
SPAN = st.tuples(BLOCK, BLOCK).map(sorted)
GATES = st.dictionaries(BLOCK, st.floats(-2, 2, allow_nan=False), min_size=1, max_size=4)
EDITS = st.one_of(
    st.lists(BLOCK, min_size=1, max_size=4).map(lambda b: Edit.delete(*b)),
    st.lists(BLOCK, min_size=1, max_size=4).map(lambda b: Edit.cut(*b)),
    st.tuples(BLOCK, BLOCK).map(lambda pair: Edit.swap(*pair)),
    st.lists(BLOCK, min_size=1, max_size=N, unique=True).map(Edit.order),
    SPAN.map(lambda span: Edit.reverse(*span)),
    st.tuples(SPAN, st.integers(1, 3)).map(lambda s: Edit.repeat(*s[0], times=s[1])),
    st.lists(BLOCK, min_size=1, max_size=5).map(Edit.run),
    GATES.map(Edit.scale),
    st.tuples(SPAN, st.integers(1, 3)).map(lambda s: Edit.parallel(*s[0], rounds=s[1])),
    st.tuples(st.sets(BLOCK, min_size=1), st.sampled_from(["zero", "mean", "channel mean"])).map(
        lambda pair: Edit.replace(*pair)
    ),
)
"""Any single change."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain_with_values():
    chain = scalar_chain(FACTORS)
    kinds = ("mean", "channel mean")
    return replace(
        chain, values={(b, kind): nn.Identity() for b in range(1, N + 1) for kind in kinds}
    )


def factor(edit: Edit, factors=FACTORS) -> float:
    """What the edited scalar chain multiplies by."""
    with torch.no_grad():
        found = scalar_chain(factors).run(X, edit) / X
    assert torch.allclose(found, found[0, 0].expand_as(found))
    return float(found[0, 0])


def product(factors) -> float:
    found = 1.0
    for each in factors:
        found *= 1 + each
    return found


def test_each_change_in_closed_form():
    f = FACTORS
    assert factor(Edit()) == pytest.approx(product(f))
    assert factor(Edit.delete(3, 1)) == pytest.approx(product([f[1], *f[3:]]))
    assert factor(Edit.cut(3)) == pytest.approx(product([*f[:2], *f[3:]]) * f[2])
    assert factor(Edit.repeat(3, times=3)) == pytest.approx(product([*f, f[2], f[2]]))
    assert factor(Edit.run([1, 3, 3])) == pytest.approx(product([f[0], f[2], f[2]]))
    assert factor(Edit.scale({3: 0.5, 5: -1})) == pytest.approx(
        product([f[0], f[1], f[2] / 2, f[3], -f[4], f[5]])
    )
    mean = sum(f[1:4]) / 3
    assert factor(Edit.parallel(2, 4)) == pytest.approx(product([f[0], mean, *f[4:]]))
    looped = Edit.parallel(2, 4, rounds=2)
    assert factor(looped) == pytest.approx(product([f[0], mean, mean, *f[4:]]))
    after = Edit.delete(3) >> Edit.parallel(2, 4)
    assert factor(after) == pytest.approx(product([f[0], (f[1] + f[3]) / 3, *f[4:]]))


def test_programs_by_hand():
    chain = scalar_chain(FACTORS)

    def order(edit):
        return [b for b, _ in edit.steps(chain)]

    assert order(Edit.swap(1, 3) >> Edit.swap(3, 4)) == [4, 2, 1, 3, 5, 6]
    assert order(Edit.order([5, 3, 4])) == [1, 2, 5, 3, 4, 6]
    assert order(Edit.reverse(2, 5)) == [1, 5, 4, 3, 2, 6]
    assert order(Edit.repeat(2, 3)) == [1, 2, 3, 2, 3, 4, 5, 6]
    assert order(Edit.repeat(2) >> Edit.swap(1, 4)) == [4, 2, 2, 3, 1, 5, 6]
    assert Edit.delete(2).steps(chain)[1] == (2, 0.0)
    swapped = Edit.swap(1, 3) >> Edit.swap(3, 4)
    assert (swapped.blocks, swapped.edits, swapped.kind) == ("1-3 3-4", 2, "permute")
    assert (Edit.delete(3, 1).blocks, Edit.delete(3, 1, 1).edits) == ("1 3", 2)
    assert (Edit.delete(1) >> Edit.cut(2)).kind == "mixed" and Edit().kind == "baseline"


def test_edits_are_counted_and_called_by_the_blocks_that_they_change():
    expected = {
        Edit(): (0, ""), Edit.cut(2, 3): (2, "2 3"), Edit.swap(1, 3): (1, "1-3"),
        Edit.order([3, 5, 4]): (2, "3 5 4"), Edit.reverse(2, 5): (4, "2 3 4 5"),
        Edit.repeat(2): (1, "2"), Edit.repeat(2, 4, times=3): (3, "2 3 4"),
        Edit.run([1, 1, 4]): (1, "1 1 4"), Edit.scale({1: 0.5, 2: 0, 3: 1}): (2, "1 2"),
        Edit.replace((2, 1)): (2, "1 2"), Edit.parallel(2, 4): (3, "2 3 4"),
        Edit.delete(1) >> Edit.cut(2): (2, "1 2"),
    }  # fmt: skip
    assert {edit: (edit.edits, edit.blocks) for edit in expected} == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(EDITS, min_size=1, max_size=4))
def test_a_text_is_read_as_the_edit_that_wrote_it(some):
    edit = Edit()
    for each in some:
        edit >>= each
    assert Edit.parse(str(edit)) == edit
    assert str(Edit.parse(str(edit))) == str(edit)


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("delete 3 7", Edit.delete(3, 7)),
        ("delete 10..20", Edit.delete(*range(10, 21))),
        ("cut 5", Edit.cut(5)),
        ("swap 3 4", Edit.swap(3, 4)),
        ("order 12 10 11", Edit.order([12, 10, 11])),
        ("reverse 10..20", Edit.reverse(10, 20)),
        ("repeat 5 3", Edit.repeat(5, times=3)),
        ("repeat 5..7 2", Edit.repeat(5, 7)),
        ("scale 5 0.5 7 -1", Edit.scale({5: 0.5, 7: -1})),
        ("parallel 10..20", Edit.parallel(10, 20)),
        ("parallel 10..20 3", Edit.parallel(10, 20, rounds=3)),
        ("replace 5 mean", Edit.replace(5)),
        ("replace 5 7 channel mean", Edit.replace([7, 5], "channel mean")),
        ("delete 3;swap  7 8", Edit.delete(3) >> Edit.swap(7, 8)),
    ],
)
def test_texts(text, edit):
    assert Edit.parse(text) == edit and Edit.parse(str(edit)) == edit


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "character 1: found the end, wanted an edit; it is written: delete BLOCKS; cut"),
        (
            "delete 3 x",
            "character 10: found 'x', wanted a block or a range .*written: delete BLOCKS",
        ),
        ("delete", "character 7: found the end, wanted blocks"),
        ("delete 3; swop 4 5", "character 11: found 'swop', wanted one of delete, cut, swap"),
        ("delete 3;", "character 10: found the end, wanted an edit"),
        ("delete 7..3", "character 8: .*the smaller number first"),
        ("delete 0", "character 8: .*from 1 on"),
        ("delete 1..99999999", "character 8: "),
        ("swap 3", "character 7: found the end, wanted another block"),
        ("swap 3 4 5", "character 10: found '5', wanted nothing more"),
        ("swap 1..2 3", "character 6: .*one block"),
        ("order 3 3", "character 1: .*each block once"),
        ("repeat 5", "wanted how often; it is written: repeat BLOCK TIMES"),
        ("repeat 5 0", "times=0 is no whole number from 1 to 1000"),
        ("scale 5", "wanted a gate"),
        ("scale 5 half", "character 9: found 'half', wanted a gate"),
        ("scale 5 nan", "finite gates"),
        ("scale 5 1 5 2", "character 11: .*each block once"),
        ("replace 5", "wanted a value: zero, mean"),
        ("replace 5 median", "character 11: found 'median'"),
        ("replace mean", "character 9: found 'mean', wanted blocks"),
        ("parallel 3..4 two", "wanted a number of rounds"),
        ("delete ٣", "wanted a block"),
    ],
)
def test_a_text_that_cannot_be_read_says_where_and_what_can(text, said):
    with pytest.raises(ProbeError, match=said) as refused:
        Edit.parse(text)
    assert "\n" not in str(refused.value)


def test_edits_from_a_file(tmp_path):
    path = tmp_path / "edits.txt"
    path.write_text("# two of them\ndelete 3 7\n\nparallel 1..2  # the painters\n")
    assert read(str(path)) == (Edit.delete(3, 7), Edit.parallel(1, 2))
    path.write_text("delete 3\ndelet 4\n")
    with pytest.raises(ProbeError, match=r"line 2 of .*edits\.txt: the edit 'delet 4' cannot be"):
        read(str(path))
    path.write_text("# nothing\n")
    with pytest.raises(ProbeError, match="holds no edits"):
        read(str(path))
    long = "delete " + " ".join(map(str, range(1, 120)))  # too long for the name of a file
    assert read(long) == (Edit.parse(long),)
    with pytest.raises(ProbeError, match=r"none\.txt with edits cannot be read: No such file"):
        read(str(tmp_path / "none.txt"))


@settings(max_examples=100, deadline=None)
@given(st.lists(EDITS, min_size=3, max_size=3))
def test_one_after_the_other_is_associative_with_the_baseline_neutral(three):
    a, b, c = three
    assert (a >> b) >> c == a >> (b >> c)
    assert a >> Edit() == a == Edit() >> a


def same(chain, one: Edit, other: Edit) -> bool:
    with torch.no_grad():
        return torch.equal(chain.run(images(3), one), chain.run(images(3), other))


@pytest.fixture(scope="module", params=[TinyResNet, NegativeStates])
def real(request):
    return chain_of(seeded(request.param), images(3))


def test_laws_on_real_blocks_bit_for_bit(real):
    n, last = len(real), len(real)
    assert same(real, Edit.order(range(1, n + 1)), Edit())
    for b in range(1, n + 1):
        for nothing in (Edit.swap(b, b), Edit.scale({b: 1}), Edit.repeat(b, times=1),
                        Edit.parallel(b), Edit.reverse(b, b)):  # fmt: skip
            assert same(real, nothing, Edit()) or not real.block(b).keeps_shape
        assert same(real, Edit.replace(b, "zero"), Edit.delete(b))
        assert same(real, Edit.scale({b: 0}), Edit.delete(b))
        assert same(real, Edit.delete(b) >> Edit.delete(b), Edit.delete(b))
        halves = Edit.scale({b: 0.5}) >> Edit.scale({b: 0.5})
        assert same(real, halves, Edit.scale({b: 0.25}))
    assert not same(real, Edit.cut(last), Edit()) and not same(real, Edit.delete(last), Edit())


def test_cut_and_delete_add_up_to_the_block_before_its_after(real):
    h = real.stem(images(3))
    for block in real:
        cut = Variant("cut", ((block.number, 1.0),)).block(real)
        with torch.no_grad():
            assert torch.equal(cut.sum(h) + block.sum(h, 0.0), block.sum(h))
            assert torch.equal(cut.run(h), block.after(block.branch(h)))
            h = block.run(h)


def test_parallel_blocks_see_one_state_and_their_branches_are_averaged(real):
    chain = chain_of(seeded(NegativeStates), images(3))
    with torch.no_grad():
        h = chain.stem(images(3))
        branches = [chain.block(b).branch(h) for b in (1, 2, 3)]
        wanted = chain.head(torch.relu(h + sum(branches) / 3))
        assert torch.allclose(chain.run(images(3), Edit.parallel(1, 3)), wanted, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(EDITS, min_size=1, max_size=2), min_size=1, max_size=8))
def test_one_prefix_tree_gives_what_each_edit_gives_alone(several):
    chain, plan = chain_with_values(), [Edit()]
    for parts in several:
        edit = parts[0] >> parts[1] if len(parts) > 1 else parts[0]
        try:
            edit.steps(chain)
        except ProbeError:
            continue
        plan.append(edit)
    found = torch.full((len(plan), 2, 2), torch.nan, dtype=torch.float64)
    for piece in Sweep(chain, batch=1).run(plan, X):
        found[list(piece.edits), piece.start : piece.stop] = piece.logits
    with torch.no_grad():
        alone = torch.stack([chain.run(X, edit) for edit in plan])
    assert torch.allclose(found, alone, rtol=1e-9)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Edit.delete(4), r"block 4 is out of range: TinyResNet has 3 blocks \(1–3\)"),
        (Edit.run([1, 9]), "block 9 is out of range"),
        (
            Edit.swap(1, 2),
            r"swap 1 2: block \d \(.*\) takes .* and would get .* change the shape stay",
        ),
        (Edit.order([3, 2, 1]), "would get"),
        (
            Edit.repeat(2),
            r"repeat 2 2: block 2 \(blocks.1\) cannot run again: it changes the shape",
        ),
        (Edit.parallel(1, 2), "cannot run in parallel: it changes the shape, 4×8×8 to 8×4×4"),
        (Edit.run([1, 3]), "block 3 .* would get 4×8×8 behind block 1"),
        (Edit.run([1]), "the head takes 8×4×4 and would get 4×8×8"),
        (Edit.cut(1) >> Edit.delete(1), "delete 1: block 1 would have neither"),
        (Edit.delete(1) >> Edit.cut(1), "cut 1: block 1 would have neither"),
        (Edit.run([1, 2, 3]) >> Edit.run([1]) >> Edit.delete(3), "block 3 does not run by itself"),
    ],
)
def test_what_a_network_cannot_do_is_refused_by_name(edit, said):
    chain = chain_of(seeded(TinyResNet), images(3))
    with pytest.raises(ProbeError, match=said):
        edit.steps(chain)


def test_a_reversal_leaves_blocks_that_change_the_shape_where_they_are():
    chain = chain_of(seeded(TinyResNet), images(3))
    assert [b for b, _ in Edit.reverse(1, 3).steps(chain)] == [1, 2, 3]


def test_parts_of_a_loop_are_edited_before_it():
    chain = scalar_chain(FACTORS)
    with pytest.raises(ProbeError, match="swap 2 5: block 2 is part of a loop"):
        (Edit.repeat(2, 3) >> Edit.swap(2, 5)).steps(chain)
    with pytest.raises(ProbeError, match="delete 2: block 2 does not run by itself any more"):
        (Edit.parallel(2, 3) >> Edit.delete(2)).steps(chain)
    with pytest.raises(ProbeError, match="do not stand side by side"):
        (Edit.swap(2, 5) >> Edit.parallel(2, 3)).steps(chain)
    assert factor(Edit.repeat(2, 3) >> Edit.delete(2)) == factor(
        Edit.delete(2) >> Edit.repeat(2, 3)
    )


def test_plain_layers_have_no_shortcut_to_cut_and_no_gate():
    chain = layers_of(seeded(TinyPlain), images(3))
    name = chain.block(2).name
    for edit, what in ((Edit.cut(2), "be cut"), (Edit.scale({2: 0.5}), "be scaled by 0.5"),
                       (Edit.replace(2), "be replaced by a value")):  # fmt: skip
        with pytest.raises(ProbeError, match=rf"layer 2 \({name}\) cannot {what}: a plain layer"):
            edit.steps(chain)
    assert Edit.delete(2).steps(chain)[1] == (2, 0.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Edit.delete(0), "delete takes numbers of blocks, from 1 on, found 0"),
        (lambda: Edit.delete("3"), "found '3'"),
        (lambda: Edit.delete(True), "found True"),
        (lambda: Edit.order([1, 1]), "each block once"),
        (lambda: Edit.reverse(5, 3), "reverse 5..3: a range goes from the smaller to the larger"),
        (lambda: Edit.repeat(3, times=2.5), "times=2.5"),
        (lambda: Edit.scale({3: float("inf")}), "finite gates, found block 3 by inf"),
        (lambda: Edit.replace(3, ""), "replace takes the name of a value"),
        (lambda: edits.given([3]), "3 is no edit: write Edit.delete"),
        (lambda: edits.given(3), "edits=3 are no edits"),
    ],
)
def test_bad_arguments(make, said):
    with pytest.raises(ProbeError, match=said):
        make()


def test_edits_cost_no_torch():
    code = (
        "import sys; from resnet_probe import Edit;"
        "str(Edit.parse('delete 3; swap 4 5')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.permutations(list(range(1, 9))))
def test_tau_is_scipys(order):
    expected = scipy_stats.kendalltau(range(1, 9), order).statistic
    assert edits.kendall_tau(order) == pytest.approx(expected, abs=1e-12)


def test_none_and_all_can_be_drawn_and_no_more():
    draw = [edits.draw_numbers([2, 5, 7], count, generator(0)) for count in (0, 3)]
    assert draw == [[], [2, 5, 7]]
    for count in (-1, 4):
        with pytest.raises(ProbeError, match=f"{count} blocks cannot be drawn: there are 3"):
            edits.draw_numbers([2, 5, 7], count, generator(0))


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
