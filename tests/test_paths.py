"""The study of paths: what its table holds, what it does not depend on, what it refuses."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_spectrum import every_path
from torch import nn
from toy_chains import TinyPlain, TinyResNet, images, labels, randomized, scalar_chain, seeded

from resnet_probe import ProbeError, Result, chain_of, layers_of, models
from resnet_probe.engine.memory import parse_bytes
from resnet_probe.engine.pullback.chain import ChainLinearizer
from resnet_probe.findings.paths import summarize_paths
from resnet_probe.stats.path_lengths import by_length as spectrum
from resnet_probe.studies.paths import path_gradients, paths
from resnet_probe.studies.paths.exact import two_terms
from resnet_probe.studies.paths.request import request
from resnet_probe.studies.paths.room import _needs
from resnet_probe.studies.paths.table import COLUMNS

EXACT = {"method": "exact", "precision": "float64"}


@pytest.fixture(scope="module")
def chain():
    return chain_of(seeded(TinyResNet), images())


@pytest.fixture(scope="module")
def deep():
    """Nine blocks."""
    model = randomized(models.architecture("resnet20:width=4").build(5, seed=0))
    return chain_of(model, images(2, side=8), name="resnet20")


@pytest.fixture(scope="module")
def every(deep):
    return paths(deep, images(8, side=8), labels(8), samples=60, signs=6, precision="float64")


def values(result, method, quantity, column="value"):
    return spectrum(result.table, method, quantity)[column].to_numpy()


def gradients(chain, n, side=8, **options):
    options = {"precision": "float64", **options}
    return path_gradients(chain, images(n, side=side), labels(n), **options)


def norms(stack):
    return stack.flatten(2).norm(dim=2).numpy()


def test_the_table_is_long_and_says_of_what_each_row_is(every):
    table = every.table
    assert tuple(table.columns) == COLUMNS
    assert set(table["method"]) == {"exact", "all", "sample"}
    sums = table[table["quantity"] == "norm_of_sum"]
    assert len(sums) == 10 + sum(range(2, 11))  # at the input, and at the input of each block
    assert list(sums[sums["block"] == 8]["length"]) == [0, 1, 2]
    assert set(table[table["block"] == 4]["name"]) == {"layer2.0"}
    assert set(table[table["block"] == 0]["name"]) == {"input"}
    lengths = spectrum(table, "all", "rms_norm")
    counts = [math.comb(9, k) for k in range(10)]
    np.testing.assert_allclose(10 ** lengths["paths_log10"], counts)
    np.testing.assert_allclose(lengths["paths_share"], np.array(counts) / 512)
    assert (table["images"] == 8).all()
    assert set(table[table["method"] == "sample"]["draws"]) == {60}
    assert set(table[table["method"] == "all"]["draws"]) == {6}


def test_norms_of_sums_are_those_of_the_gradients(every, deep):
    found = gradients(deep, 8)
    np.testing.assert_allclose(values(every, "exact", "norm_of_sum"), norms(found).mean(1))
    whole = norms(found.sum(0, keepdim=True))
    relative = values(every, "exact", "norm_of_sum", "relative")
    np.testing.assert_allclose(relative, (norms(found) / whole).mean(1))
    shares = (found * found.sum(0)).flatten(2).sum(2).numpy() / whole**2
    np.testing.assert_allclose(values(every, "exact", "share"), shares.mean(1), atol=1e-12)
    assert values(every, "exact", "share").sum() == pytest.approx(1, abs=1e-12)
    table = every.table.set_index(["quantity", "block"]).sort_index()
    assert table.loc[("gradient_norm", 0), "value"].item() == pytest.approx(whole.mean())
    bound = (norms(found).sum(0) / whole[0]).mean()
    assert table.loc[("cancellation", 0), "value"].item() == pytest.approx(bound)


def test_the_interval_is_students_on_the_log_scale(every, deep):
    found = norms(gradients(deep, 8))
    mean, error = found.mean(1), found.std(1, ddof=1) / math.sqrt(8)
    high = values(every, "exact", "norm_of_sum", "ci_high")
    low = values(every, "exact", "norm_of_sum", "ci_low")
    np.testing.assert_allclose(np.log(high / mean), 2.3646242515927853 * error / mean)  # t, 7
    np.testing.assert_allclose(low * high, mean**2)


def test_every_block_has_its_lengths_and_its_two_terms(every, deep):
    table = every.table.set_index(["quantity", "block"]).sort_index()
    for number in (1, 5, 9):
        found = gradients(deep, 8, at=number)
        seen = table.loc[("norm_of_sum", number)].sort_values("length")["value"]
        np.testing.assert_allclose(seen, norms(found).mean(1), rtol=1e-10)
        identity, rest = found[0].flatten(1), found[1:].sum(0).flatten(1)
        product = (identity * rest).sum(1)
        expected = {
            "rest_norm": rest.norm(dim=1),
            "cosine": product / identity.norm(dim=1) / rest.norm(dim=1),
            "rest_along_identity": product / identity.norm(dim=1) ** 2,
        }
        for name, value in expected.items():
            assert table.loc[(name, number), "value"].item() == pytest.approx(float(value.mean()))


def test_how_near_the_identity_term_is_to_being_cancelled():
    """Branches −0.9, and 0.5: at block 1 the rest is −0.85 of the identity term, at block 2 0.5."""
    x = torch.tensor([[0.3, -0.2], [0.1, 0.4]], dtype=torch.float64)
    result = paths(scalar_chain([-0.9, 0.5]), x, torch.tensor([0, 1]), **EXACT)
    table = result.table.set_index(["quantity", "block"]).sort_index()["value"]
    for block, along, near in ((2, 0.5, 0), (1, -0.9 + 0.5 - 0.45, 1), (0, -0.85, 1)):
        assert table["rest_along_identity", block].item() == pytest.approx(along)
        assert table["near_cancellation", block].item() == near
        assert table["cosine", block].item() == pytest.approx(np.sign(along))


def test_a_dead_identity_term_is_left_out_not_averaged():
    rows = paths_of_zero()
    found = two_terms(rows)
    assert torch.isnan(found[1:, 1]).all() and not torch.isnan(found[:, 0]).any()


def paths_of_zero():
    from resnet_probe.engine.path_sums import PathSums

    values = torch.zeros(2, 2, 3, dtype=torch.float64)
    values[0], values[1, 0] = 1.0, 0.5
    return PathSums(values, torch.tensor([2.0, 1.0], dtype=torch.float64))


def test_what_is_too_small_to_square_has_its_norm_all_the_same():
    from resnet_probe.engine.path_sums import GrowingSums

    first = 1e-30 * torch.from_numpy(np.random.default_rng(0).normal(size=(3, 4)))
    sums = GrowingSums(first.float(), slots=1, chunk=1)
    norms = sums.rescale()[0]
    np.testing.assert_allclose(norms, torch.linalg.vector_norm(first, dim=1), rtol=1e-6)
    np.testing.assert_allclose(next(sums.seen.precise()), first, rtol=1e-6)


def test_all_is_the_enumeration_where_there_are_as_many_draws_as_sign_vectors(chain):
    x, y = images(4).double(), labels(4)
    double = chain_of(seeded(TinyResNet).double(), x)
    found = every_path(double, x, y)
    squares = [torch.stack([g.flatten(1).square().sum(1) for g in row.values()]) for row in found]
    expected = [square.mean(0).sqrt().mean().item() for square in squares]
    result = paths(chain, images(4), y, method="all", signs=4, precision="float64")
    np.testing.assert_allclose(values(result, "all", "rms_norm"), expected, rtol=1e-12)
    rows = spectrum(result.table, "all", "rms_norm")
    assert set(rows["draws"]) == {4}
    # Nothing was drawn: what is left is the error of the images, each a group of its own.
    single = np.array([square.mean(0).sqrt().numpy() for square in squares])
    half = 3.182446305284263 * single.std(1, ddof=1) / 2 / single.mean(1)  # t, 3 degrees
    np.testing.assert_allclose(np.log(rows["ci_high"] / rows["value"]), half)


def test_random_signs_and_sampled_paths_hold_the_enumeration_in_their_intervals(deep):
    """Half of the intervals would miss by chance if they were wrong; one in twenty does."""
    x, y = images(3, side=8), labels(3)
    model = randomized(models.architecture("resnet20:width=4").build(5, seed=0)).double()
    paths_ = every_path(chain_of(model, x.double()), x.double(), y)
    single = [torch.stack([g.flatten(1).norm(dim=1) for g in row.values()]) for row in paths_]
    rms = np.array([norm.square().mean(0).sqrt().mean().item() for norm in single])
    mean = np.array([norm.mean().item() for norm in single])
    missed = []
    for seed in range(4):
        result = paths(deep, x, y, signs=24, samples=150, seed=seed, images_per_path=2)
        for method, quantity, expected in (("all", "rms_norm", rms), ("sample", "mean_norm", mean)):
            low, high = (values(result, method, quantity, f"ci_{end}") for end in ("low", "high"))
            inside = (low <= expected * (1 + 1e-5)) & (expected * (1 - 1e-5) <= high)
            missed.append((~inside).mean())
            np.testing.assert_allclose(values(result, method, quantity), expected, rtol=0.6)
    assert np.mean(missed) <= 0.12


def test_where_there_is_one_path_the_three_quantities_are_one(every):
    for length in (0, 9):
        found = [
            values(every, method, quantity, "relative")[length]
            for method, quantity in (("exact", "norm_of_sum"), ("all", "rms_norm"))
        ]
        assert found[0] == pytest.approx(found[1], rel=1e-10)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_and_the_budget_change_nothing_but_rounding(every, deep, batch):
    x, y = images(8, side=8), labels(8)
    options = {"samples": 60, "signs": 6, "precision": "float64"}
    result = paths(deep, x, y, batch=batch, memory=parse_bytes("40MiB"), **options)
    numbers = ["value", "ci_low", "ci_high", "relative", "relative_low", "relative_high"]
    keys = [name for name in COLUMNS if name not in numbers]
    assert result.table[keys].equals(every.table[keys])
    np.testing.assert_allclose(result.table[numbers], every.table[numbers], rtol=1e-7, atol=1e-12)


def test_seeds_matter_and_are_kept(deep):
    x, y = images(4, side=8), labels(4)
    first, same, other = (
        paths(deep, x, y, signs=3, samples=5, seed=seed).table for seed in (1, 1, 2)
    )
    assert first.equals(same)
    for method in ("all", "sample"):
        assert not first[first["method"] == method].equals(other[other["method"] == method])
    assert first[first["method"] == "exact"].equals(other[other["method"] == "exact"])


def test_shorter_paths_only_says_what_is_left_out(every, deep):
    x, y = images(8, side=8), labels(8)
    result = paths(deep, x, y, max_length=3, samples=60, signs=6, precision="float64")
    for method, quantity in (
        ("exact", "norm_of_sum"),
        ("all", "rms_norm"),
        ("sample", "mean_norm"),
    ):
        found = values(result, method, quantity)
        np.testing.assert_allclose(found, values(every, method, quantity)[:4], rtol=1e-9)
    found = gradients(deep, 8)
    whole = norms(found.sum(0, keepdim=True))[0]
    gap = norms(found[4:].sum(0, keepdim=True))[0]
    left_out = result.table.set_index("quantity").loc["left_out", "value"]
    assert left_out == pytest.approx((gap / whole).mean())
    assert "left_out" not in set(every.table["quantity"])
    assert "sum_error_max" in every.provenance and "sum_error_max" not in result.provenance


TOLERANCE = 0.05


@pytest.fixture(scope="module")
def died(deep):
    options = {"tolerance": TOLERANCE, "signs": 6, "samples": 1, "precision": "float64"}
    return paths(deep, images(8, side=8), labels(8), **options)


def test_what_died_out_on_the_way_is_what_lacks_in_the_sum(every, died, deep):
    exact, found = gradients(deep, 8), gradients(deep, 8, tolerance=TOLERANCE)
    whole = norms(exact.sum(0, keepdim=True))[0]
    gap = norms((exact.sum(0) - found.sum(0))[None])[0]
    table = died.table.set_index("quantity")
    assert table.loc["left_out", "value"] == pytest.approx((gap / whole).mean(), rel=1e-9)
    assert 1e-3 < table.loc["left_out", "value"] < 0.5
    np.testing.assert_allclose(values(died, "exact", "norm_of_sum"), norms(found).mean(1))
    assert died.provenance["gradient_error_max"] < 1e-12
    assert "sum_error_max" not in died.provenance
    np.testing.assert_array_equal(values(died, "all", "rms_norm"), values(every, "all", "rms_norm"))


def test_lengths_below_the_first_that_died_out_are_exact(deep):
    """A long path is never part of a shorter one; which length is the first, the exact ones say."""
    exact, found = gradients(deep, 8), gradients(deep, 8, tolerance=TOLERANCE)
    first = np.full(8, 99)
    for number in range(1, 10):
        there = gradients(deep, 8, at=number)
        small = norms(there) < TOLERANCE * norms(there.sum(0, keepdim=True))
        small[0] = False
        first = np.minimum(first, np.where(small.any(0), small.argmax(0), 99))
    assert set(first) - {1, 99}
    for image, length in enumerate(first):
        kept = slice(0, length)
        torch.testing.assert_close(found[kept, image], exact[kept, image], rtol=1e-10, atol=1e-14)
        if length < len(exact):
            assert (found[length:, image] - exact[length:, image]).norm() > 1e-6


def test_a_tolerance_judges_images_one_by_one_and_none_below_it(every, died, deep):
    x, y = images(8, side=8), labels(8)
    alone = paths(deep, x, y, tolerance=TOLERANCE, method="exact", precision="float64", batch=1)
    exact = died.table["method"] == "exact"
    numbers = alone.table.columns[8:14]
    np.testing.assert_allclose(alone.table[numbers], died.table.loc[exact, numbers], rtol=1e-7)
    tiny = paths(deep, x, y, tolerance=1e-300, method="exact", precision="float64")
    rows = tiny.table["quantity"] != "left_out"
    same = every.table[every.table["method"] == "exact"].reset_index(drop=True)
    assert tiny.table[rows].reset_index(drop=True).equals(same)
    assert tiny.table.loc[~rows, "value"].item() < 1e-12


def test_a_length_that_died_out_has_no_coherence(every, died, deep):
    found = gradients(deep, 8, tolerance=TOLERANCE)
    dead = (norms(found) == 0).any(1)
    coherence = values(died, "all", "coherence")
    np.testing.assert_array_equal(np.isnan(coherence), dead)
    assert dead.any() and not dead.all()
    said = summarize_paths(died)
    assert "where a length fell below 0.05 of the whole (" in said and "of 64 followed)" in said


def test_from_a_block_on(deep):
    result = paths(deep, images(4, side=8), labels(4), at=6, signs=8, samples=7)
    assert set(result.table["block"]) == {6, 7, 8, 9}
    assert list(spectrum(result.table, "sample", "mean_norm")["length"]) == [0, 1, 2, 3, 4]
    assert result.provenance["blocks"] == 4
    stem = paths(deep, images(4, side=8), labels(4), at="stem", method="exact")
    first = paths(deep, images(4, side=8), labels(4), at=1, method="exact")
    assert stem.table.equals(first.table) and stem.identity["at"] == first.identity["at"] == "stem"


def test_a_result_comes_back_from_its_folder(every, tmp_path):
    back = Result.load(every.save(tmp_path / "run"))
    assert back.table.equals(every.table)
    assert back.provenance["identity"] == every.identity


def test_progress_ends_with_all_there_is_to_do(deep):
    seen = []
    paths(
        deep, images(5, side=8), labels(5), signs=3, samples=7, images_per_path=2, batch=2,
        progress=lambda *now: seen.append(now),
    )  # fmt: skip
    done, total = zip(*seen, strict=True)
    assert done[-1] == total[-1] and list(done) == sorted(done)


def test_sampled_images_are_dealt_evenly(deep):
    """On few images each is a group of its own, so that there are groups to compare."""
    result = paths(deep, images(7, side=8), labels(7), method="sample", samples=2)
    assert set(result.table["images"]) == {2}
    result = paths(deep, images(7, side=8), labels(7), method="sample", samples=9)
    assert set(result.table["images"]) == {7}
    assert set(result.table["group"].dropna()) == {1, 2, 3, 4, 5, 6, 7}
    alone = paths(deep, images(1, side=8), labels(1), method="sample", samples=3)
    assert set(alone.table["images"]) == {1}


def test_one_image_and_one_draw_have_no_interval(deep):
    result = paths(deep, images(1, side=8), labels(1), signs=1, samples=1)
    rows = result.table[result.table["quantity"].isin(["norm_of_sum", "rms_norm", "mean_norm"])]
    assert rows["ci_low"].isna().all() and not rows["value"].isna().any()


def test_an_image_without_gradient_counts_for_no_share(chain):
    model = seeded(TinyResNet)
    model.head.weight.data *= 1e8  # so sure that not even float64 has a rest
    sure = chain_of(model, images())
    y = sure(images()).argmax(1)
    result = paths(sure, images(), y, samples=4, signs=4)
    assert values(result, "exact", "norm_of_sum").tolist() == [0] * 4
    assert np.isnan(values(result, "exact", "share")).all()
    assert np.isnan(values(result, "all", "rms_norm", "relative")).all()
    half = torch.where(torch.arange(6) < 3, y, (y + 1) % 5)
    result = paths(sure, images(), half, **EXACT)
    assert values(result, "exact", "share").sum() == pytest.approx(1)


def test_the_model_stays_as_it_was_also_after_an_error():
    model = seeded(TinyResNet).train()
    model.stem.weight.requires_grad_(False)
    calls = []
    handle = model.stem.register_forward_hook(lambda *_: calls.append(1))
    chain = chain_of(model, images())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    calls.clear()

    def stop(done, total):
        raise KeyboardInterrupt

    for progress in (None, stop):
        try:
            options = {"samples": 3, "signs": 3, "precision": "float64"}
            paths(chain, images(), labels(), progress=progress, **options)
        except KeyboardInterrupt:
            assert progress is stop
    for name, value in model.state_dict().items():
        assert value.dtype == state[name].dtype and torch.equal(state[name], value)
    assert model.training and not model.stem.weight.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert handle.id in model.stem._forward_hooks and calls == []
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_length": 4},
            r"^a path length of 4 is out of range: TinyResNet has 3 blocks, so pat",
        ),
        ({"max_length": 3, "at": 2}, r"has 2 blocks from block 2 on, so paths of 0–2$"),
        ({"max_length": -1}, r"^a path length of -1 is out of range"),
        ({"samples": 0}, r"^0 samples are none: ask for at least 1$"),
        ({"signs": 0}, r"^0 signs are none"),
        ({"images_per_path": -1}, r"^-1 images per path are none"),
        (
            {"method": "some"},
            r"^unknown method 'some': there are exact, .*; did you mean sample\?$",
        ),
        ({"precision": "half"}, r"^unknown precision 'half': there are float32, float64$"),
        ({"at": "head"}, r"^unknown place 'head': write input, stem, or the number of a block$"),
        ({"at": 4}, r"^block 4 is out of range: TinyResNet has 3 blocks"),
        ({"at": "0"}, r"^block 0 is out of range"),
        (
            {"batch": 10**6},
            r"^a batch of 1000000 images needs .* allows \d+ images, so give batch=\d",
        ),
        ({"memory": 20_000}, r"^a memory budget of 19.5 KiB is too small for the paths of one ima"),
    ],
)
def test_what_is_refused(chain, options, message):
    with pytest.raises(ProbeError, match=message):
        paths(chain, images(), labels(), **options)


def test_a_budget_too_small_says_what_is_needed(chain):
    with pytest.raises(ProbeError) as refusal:
        paths(chain, images(), labels(), memory=20_000)
    needed = str(refusal.value).split("it takes ")[1].split(",")[0]
    paths(chain, images(), labels(), memory=int(1.05 * parse_bytes(needed)), samples=2, signs=2)


def test_gradients_before_and_behind_a_shortcut_that_changes_the_shape_are_both_there(chain):
    x, sizes = images(1), [images(1).nbytes]
    with torch.no_grad():
        h = chain.stem(x)
        for block in [*chain, None]:
            sizes.append(h.nbytes)
            h = h if block is None else block.run(h)
    stacks = [one if one == other else one + other for one, other in pairwise(sizes)]
    asked = request(chain, method="exact")
    found = _needs(ChainLinearizer(chain), x, asked)
    assert found.stack == (len(chain) + 2) * max(stacks) and found.state == max(sizes)


def test_the_path_past_all_branches_may_be_asked_for_alone(chain):
    both = [path_gradients(chain, images(), labels(), max_length=most) for most in (0, None)]
    assert len(both[0]) == 1
    assert torch.allclose(both[0][0], both[1][0], rtol=1e-6)


def test_data_that_does_not_fit_is_refused(chain):
    with pytest.raises(ProbeError, match=r"^label 5 of image 2 is outside the head's classes"):
        paths(chain, images(), torch.tensor([0, 1, 5, 0, 0, 0]))
    with pytest.raises(ProbeError, match=r"^0 images and 0 labels"):
        paths(chain, images()[:0], labels()[:0])
    with pytest.raises(ProbeError, match=r"^images of shape \(3, 4, 4\) do not fit"):
        paths(chain, images(side=4), labels())


def test_a_plain_network_is_refused_with_the_reason():
    chain = layers_of(seeded(TinyPlain), images(), name="plain")
    with pytest.raises(
        ProbeError, match=r"^plain is a plain network: without shortcuts there is o"
    ):
        paths(chain, images(), labels())


@pytest.mark.parametrize("method", ["exact", "all", "sample"])
def test_infinite_gradients_are_named_by_block_and_length(method):
    """The network's output is finite, the gradient of its second block is not."""
    chain = scalar_chain([0.5, 0.5, 0.5])
    blocks = list(chain.blocks)
    blocks[1] = replace(blocks[1], name="odd", branch=Steep())
    x = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    message = (
        r"^the gradient of the paths of 1 blocks is not finite at the input of block 2 \(odd\)"
    )
    with pytest.raises(ProbeError, match=message + r", for image 1:"):
        paths(
            replace(chain, blocks=tuple(blocks)), x, torch.tensor([0, 1]),
            method=method, samples=3, signs=3, precision="float64",
        )  # fmt: skip


class Steep(nn.Module):
    """The square root, whose slope at 0 is infinite."""

    def forward(self, h):
        return h.abs().sqrt()


def test_weights_that_are_not_finite_are_named(chain):
    model = seeded(TinyResNet)
    broken = chain_of(model, images())
    model.blocks[2].conv1.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ProbeError, match=r"^the output of block 3 \(blocks\.2\) is not finite"):
        paths(broken, images(), labels())


def test_states_without_an_image_axis_are_refused():
    chain = scalar_chain([0.5])
    odd = replace(chain.blocks[0], after=nn.Flatten(0))
    odd = replace(chain, blocks=(odd,), head=nn.Unflatten(0, (-1, 2)))
    with pytest.raises(ProbeError, match="need the images along the first axis"):
        ChainLinearizer(odd)(torch.ones(3, 2, dtype=torch.float64))


BUDGET = """
import ctypes, sys, torch
torch.set_num_threads(1)
from resnet_probe import chain_of, models
from resnet_probe.benchmarks.clock import peak_memory
from resnet_probe.engine.memory import parse_bytes
from resnet_probe.studies.paths import paths
for case in sys.argv[1:]:
    spec, side, count, longest, budget = case.split()
    images = torch.randn(int(count), 3, int(side), int(side))
    chain = chain_of(models.architecture(spec).build(10, seed=0).eval(), images[:1])
    options = dict(method="exact", max_length=int(longest))
    done_by = []
    paths(chain, images[:1], torch.zeros(1).long(), **options)  # libraries take their share once
    ctypes.CDLL(None).malloc_trim(0)  # so that nothing freed is left to be used again
    with peak_memory(chain.device) as peak:
        options |= dict(memory=parse_bytes(budget), progress=lambda *now: done_by.append(now[0]))
        paths(chain, images, torch.zeros(len(images)).long(), **options)
    print(done_by[0], peak())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.many(2)
@pytest.mark.parametrize("case", ["resnet20 32 5 9 32MiB", "resnet50:width=32 64 6 3 100MiB"])
def test_the_peak_stays_inside_the_budget(case):
    command = [sys.executable, "-c", BUDGET, case]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    batch, peak = map(int, done.stdout.split())
    assert batch > 1
    # The process may use memory again, so the lower end only says that it was measured.
    assert 0 < peak <= parse_bytes(case.split()[-1])


@pytest.mark.parametrize("n", [1, 3])
def test_the_error_of_the_sum_is_that_against_autograd(n):
    net = seeded(TinyResNet)
    net.blocks[0].bn2 = nn.InstanceNorm2d(4)
    x, y = images(n), labels(n)
    chain = chain_of(net, x)
    said = paths(chain, x, y, **EXACT).provenance["sum_error_max"]
    found = path_gradients(chain, x, y, precision="float64").sum(0)
    x = x.double().requires_grad_()
    nn.functional.cross_entropy(net.double()(x), y, reduction="sum").backward()
    assert said < 1e-9
    torch.testing.assert_close(found, x.grad, rtol=1e-9, atol=1e-12)
