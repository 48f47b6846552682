"""Gradients by path length against all 2^N paths, one by one, by autograd."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from conftest import SHARED
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from toy_chains import TinyResNet, images, labels, randomized, scalar_chain, seeded

from resnet_probe import chain_of, models, prepare
from resnet_probe.engine.pullback.chain import ChainLinearizer, in_precision
from resnet_probe.engine.spectrum import gradients_by_length, gradients_of_nested_paths
from resnet_probe.studies.paths import path_gradients

SPECS = {
    "resnet110:width=4": (16, 8),
    "preresnet110:width=4": (16, 8),
    "resnet20:shortcut=B,width=4": (16, 9),
    "preresnet20:shortcut=B,width=4": (16, 8),
    "preresnet164:width=4": (16, 6),
    "resnet18": (32, 5),
    "resnet50": (32, 4),
}


@cache
def network(spec: str):
    """(chain of at most so many blocks, images, labels), in double precision.

    The cut takes blocks from the end, so that the head fits; a stand-in stem makes their input.
    """
    side, blocks = SPECS[spec]
    model = randomized(models.architecture(spec).build(5, seed=0)).double()
    x = images(2, side=side).double()
    chain = chain_of(model, x, name=spec)
    kept = chain.blocks[-blocks:]
    if len(kept) < len(chain):
        with torch.no_grad():
            x = chain.stem(x)
            for block in chain.blocks[:-blocks]:
                x = block.run(x)
        kept = tuple(replace(block, number=i) for i, block in enumerate(kept, start=1))
        chain = replace(
            chain, stem=torch.nn.Identity(), blocks=kept, input_shape=tuple(x.shape[1:])
        )
    return chain, x, labels(2)


def along(chain, x, y, path) -> torch.Tensor:
    """The gradient of each image's loss along one path (a set of positions), or along all."""
    x = x.clone().requires_grad_()
    h = chain.stem(x)
    for position, block in enumerate(chain.blocks):
        short, branch = block.shortcut(h), block.branch(h)
        if path is not None and position in path:
            h = block.after(short.detach() + branch)
        elif path is not None:
            h = block.after(short + branch.detach())
        else:
            h = block.after(short + branch)
    loss = F.cross_entropy(chain.head(h), y, reduction="sum")
    return torch.autograd.grad(loss, x)[0] if loss.requires_grad else torch.zeros_like(x)


def every_path(chain, x, y) -> list[dict[tuple[int, ...], torch.Tensor]]:
    """The gradients of all paths, by length: autograd, block by block, down a binary tree."""
    steps, h = [], x.clone().requires_grad_()
    stem = (h, chain.stem(h))
    for block in chain.blocks:
        h = h.detach().requires_grad_() if steps else stem[1].detach().requires_grad_()
        parts = block.shortcut(h), block.branch(h)
        total = (parts[0] + parts[1]).detach().requires_grad_()
        steps.append((h, parts, total, block.after(total)))
        h = steps[-1][-1]
    h = h.detach().requires_grad_()
    loss = F.cross_entropy(chain.head(h), y, reduction="sum")
    waiting = [((), torch.autograd.grad(loss, h)[0])]
    for position, (h, parts, total, after) in reversed(list(enumerate(steps))):
        back = [(p, back_of(after, total, g)) for p, g in waiting]
        waiting = [(p, back_of(parts[0], h, g)) for p, g in back]
        waiting += [((position, *p), back_of(parts[1], h, g)) for p, g in back]
    found = [{} for _ in range(len(chain) + 1)]
    for path, g in waiting:
        found[len(path)][path] = back_of(stem[1], stem[0], g)
    return found


def back_of(output, given, g) -> torch.Tensor:
    return torch.autograd.grad(output, given, g, retain_graph=True)[0] if output is not given else g


def frozen_at(chain, x, y):
    frozen = ChainLinearizer(chain)(x)
    return frozen, *frozen.loss_gradient(y)


def true(rows, size) -> torch.Tensor:
    """The gradients that `rows` stand for."""
    scale = (rows.scale[:, None] * size).to(rows.values)
    return rows.values * scale.view(*scale.shape, *[1] * (rows.values.dim() - 2))


@pytest.mark.many(3)
@pytest.mark.parametrize("spec", SPECS)
def test_all_three_are_what_all_paths_say(spec):
    chain, x, y = network(spec)
    n, paths = len(chain), every_path(chain, x, y)
    frozen, gradient, size = frozen_at(chain, x, y)

    for path in [(), (1,), (0, 2, n - 1), tuple(range(n))]:  # the tree itself, end to end
        expected = along(chain, x, y, path)
        assert (paths[len(path)][path] - expected).norm() <= 1e-13 * expected.norm()
    assert [len(found) for found in paths] == [math.comb(n, k) for k in range(n + 1)]

    sums = torch.stack([sum(found.values()) for found in paths])
    bound = torch.stack([sum(g.norm() for g in found.values()) for found in paths])
    found = true(gradients_by_length(frozen, gradient, most=n, chunk=2**20), size)
    gap = (found - sums).flatten(1).norm(dim=1)
    assert (gap <= 1e-12 * bound).all()

    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).tolist()
    single = true(
        gradients_of_nested_paths(frozen, gradient, order=order, most=n, chunk=2**20), size
    )
    for length, row in enumerate(single):
        expected = paths[length][tuple(sorted(order[:length]))]
        assert (row - expected).norm() <= 1e-12 * expected.norm()


@pytest.mark.parametrize("spec", [spec for spec, (_, blocks) in SPECS.items() if blocks <= 6])
def test_all_signs_together_give_the_squares_of_all_single_paths(spec):
    chain, x, y = network(spec)
    n, paths = len(chain), every_path(chain, x, y)
    frozen, gradient, size = frozen_at(chain, x, y)
    squares = torch.stack(
        [sum(g.flatten(1).square().sum(1) for g in found.values()) for found in paths]
    )
    total = torch.zeros_like(squares)
    vectors = torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * (n - 1)).double()
    for vector in vectors:
        signs = torch.cat([torch.ones(1), vector]).expand(len(x), -1)
        rows = gradients_by_length(frozen, gradient, most=n, signs=signs, chunk=2**20)
        total += true(rows, size).flatten(2).square().sum(2)
    torch.testing.assert_close(total / len(vectors), squares, rtol=1e-11, atol=0)


@pytest.mark.many(3)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("at", ["input", "stem", 3])
def test_the_lengths_add_up_to_the_gradient(spec, at):
    chain, x, y = network(spec)
    found = path_gradients(chain, x, y, at=at, precision="float64")
    part, h = chain, x
    if at != "input":
        with torch.no_grad():
            h = chain.stem(x)
            for block in chain.blocks[: 0 if at == "stem" else at - 1]:
                h = block.run(h)
        rest = chain.blocks if at == "stem" else chain.blocks[at - 1 :]
        part = replace(chain, stem=torch.nn.Identity(), blocks=rest)
    expected = along(part, h, y, None)
    assert len(found) == len(part) + 1
    assert (found.sum(0) - expected).norm() <= 1e-12 * expected.norm()


def elementary(factors) -> list[float]:
    """e_0 … e_N of the factors: the coefficients of Π(1 + f z)."""
    coefficients = np.array([1.0])
    for factor in factors:
        coefficients = np.convolve(coefficients, [1.0, factor])
    return coefficients.tolist()


@settings(max_examples=40, deadline=None)
@example([1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0], 1, 12)  # a loss gradient whose square is zero
@example([1.0, 1.5, 2.0, -2.0, 0.5, 1.0, 1.0], 64, 3)  # two lengths at a time, not all of them
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=12), st.integers(1, 400), st.integers(0, 12))
def test_a_scalar_chain_gives_the_elementary_symmetric_polynomials(factors, chunk, longest):
    chain = scalar_chain(factors)
    x, y = torch.tensor([[0.3, -0.2], [1.0, 2.0]], dtype=torch.float64), torch.tensor([0, 1])
    frozen, gradient, size = frozen_at(chain, x, y)
    most = min(longest, len(factors))
    found = true(gradients_by_length(frozen, gradient, most=most, chunk=chunk), size)
    logits = x * np.prod([1 + f for f in factors])
    margin = logits.gather(1, y[:, None]) - logits.gather(1, 1 - y[:, None])
    at_head = torch.sigmoid(-margin) * torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    expected = torch.tensor(elementary(factors), dtype=torch.float64)[:, None, None] * at_head
    bound = torch.tensor(elementary(np.abs(factors)), dtype=torch.float64)[:, None, None]
    expected, bound = expected[: most + 1], bound[: most + 1]
    assert ((found - expected).abs() <= 1e-12 * bound * at_head.abs().max() + 1e-300).all()


def test_gradients_too_small_for_float32_are_not_lost():
    """Forty branches of gain 1e-3: the longest path has 1e-120, where float32 ends at 1e-45."""
    factors = [1e-3 * (1 + 0.1 * i) for i in range(40)]
    chain = in_precision(scalar_chain(factors), torch.float32)
    x, y = torch.zeros(1, 2), torch.tensor([0])
    for scale in (1.0, 1e12):  # and none that are large
        chain.blocks[0].branch.factor.data.fill_(factors[0] * scale)
        frozen, gradient, _ = frozen_at(chain, x, y)
        found = gradients_by_length(frozen, gradient, most=40, chunk=2**20).norms()[:, 0]
        expected = torch.tensor(elementary([factors[0] * scale, *factors[1:]]), dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
        order = list(range(40))
        single = gradients_of_nested_paths(frozen, gradient, order=order, most=40, chunk=64)
        products = np.cumprod([1.0, factors[0] * scale, *factors[1:]])
        torch.testing.assert_close(
            single.norms()[:, 0], torch.from_numpy(products), rtol=1e-5, atol=0
        )


@pytest.mark.many(3)
@pytest.mark.parametrize("chunk", [1, 3000, 2**30])
@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_neither_the_chunks_nor_the_longest_path_change_the_others(chunk, most):
    chain = chain_of(seeded(TinyResNet).double(), images().double())
    frozen, gradient, size = frozen_at(chain, images().double(), labels())
    whole = true(gradients_by_length(frozen, gradient, most=3, chunk=2**20), size)
    found = gradients_by_length(frozen, gradient, most=most, total=True, chunk=chunk)
    expected = torch.cat([whole.sum(0, keepdim=True), whole[: most + 1]])
    torch.testing.assert_close(true(found, size), expected, rtol=1e-12, atol=1e-14)
    single = gradients_of_nested_paths(frozen, gradient, order=[1, 0, 2], most=3, chunk=2**20)
    short = gradients_of_nested_paths(frozen, gradient, order=[1, 0, 2], most=most, chunk=chunk)
    torch.testing.assert_close(
        true(short, size), true(single, size)[: most + 1], rtol=1e-12, atol=1e-14
    )


def test_every_block_sees_its_own_gradients():
    chain = chain_of(seeded(TinyResNet).double(), images().double())
    x, y = images().double(), labels()
    frozen, gradient, size = frozen_at(chain, x, y)
    seen = {}

    def watch(block, rows, norms):
        seen[block.block.number] = (true(rows, size), norms * size)

    gradients_by_length(frozen, gradient, most=3, chunk=2**20, watch=watch)
    for number, (found, norms) in seen.items():
        expected = path_gradients(chain, x, y, at=number, precision="float64")
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14)
        torch.testing.assert_close(norms, expected.flatten(2).norm(dim=2), rtol=1e-11, atol=0)


def with_tolerance(factors, tolerance) -> tuple[np.ndarray, float, int]:
    """Of a scalar chain by the rule: its lengths, their whole, how many products that takes."""
    lengths, whole, products = np.zeros(len(factors) + 1), 1.0, 0
    lengths[0] = 1.0
    for factor in reversed(factors):
        products += 1 + (lengths != 0).sum()
        lengths[1:] += factor * lengths[:-1].copy()
        whole *= 1 + factor
        lengths[1:][np.abs(lengths[1:]) < tolerance * abs(whole)] = 0
    return lengths, whole, products


class Counted:
    """A branch's way back that counts the cotangents which it is given."""

    def __init__(self, branch, rows) -> None:
        self.branch, self.rows, self.shape = branch, rows, branch.shape

    def __call__(self, g, **options):
        self.rows.append(len(g))
        return self.branch(g, **options)


LONG_DIE = [0.02 * (1 + 0.1 * (i % 7)) for i in range(40)]
SHORT_DIE = [3.0 - 0.05 * (i % 9) for i in range(40)]
BOTH_SIGNS = [0.3 * (-1) ** i - 0.01 * i for i in range(25)]


@pytest.mark.parametrize("factors", [LONG_DIE, SHORT_DIE, BOTH_SIGNS])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-9])
@pytest.mark.parametrize("chunk", [1, 2**20])
def test_lengths_that_have_died_out_are_left_out_by_the_rule(factors, tolerance, chunk):
    x, y = torch.tensor([[0.3, -0.2]], dtype=torch.float64), torch.tensor([1])
    frozen, gradient, _ = frozen_at(scalar_chain(factors), x, y)
    run: list[int] = []
    counted = [replace(each, branch=Counted(each.branch, run)) for each in frozen.blocks]
    frozen = replace(frozen, blocks=tuple(counted))
    options = {"most": len(factors), "total": True, "chunk": chunk, "tolerance": tolerance}
    rows = gradients_by_length(frozen, gradient, **options)
    whole, *found = (rows.values[:, 0, 0] / gradient[0, 0] * rows.scale).tolist()
    expected, total, products = with_tolerance(factors, tolerance)
    assert sum(run) == products
    exact = np.array(elementary(factors))
    assert whole == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=0)
    assert 0 < (expected == 0).sum() < len(factors) - 3  # some die, some live
    if min(factors) > 0:  # what is left out of one length is no more than what is in all
        gap = exact - np.array(found)
        assert (gap >= -1e-12 * total).all() and (gap <= total - sum(found) + 1e-12 * total).all()


CIFAR = SHARED / "cifar10-lossless" / "test-00000-of-00001.parquet"
WEIGHTS = SHARED / "checkpoints" / "resnet20-12fca82f.th"


@pytest.mark.skipif(not WEIGHTS.exists(), reason="../shared/checkpoints is not here")
@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_on_trained_weights(precision, bound):
    found = prepare(
        "resnet20", weights=WEIGHTS, normalize="imagenet", data=f"parquet:{CIFAR}", limit=24
    )
    x = found.images.to(getattr(torch, precision))
    chain = in_precision(found.chain, x.dtype)
    expected = along(chain, x, found.labels, None)
    sums = path_gradients(found.chain, found.images, found.labels, precision=precision).sum(0)
    assert (sums - expected).norm() <= bound * expected.norm()


@pytest.mark.parametrize("data", ["float32", "float64"])
def test_on_an_untrained_deep_network_within_the_rounding_bound(data):
    """Where lengths cancel, rounding is to be measured by what was added up."""
    dtype = getattr(torch, data)
    chain = chain_of(models.architecture("resnet56:width=4").build(seed=0), images(2, side=8))
    chain, x = in_precision(chain, dtype), images(2, side=8).to(dtype)
    found = path_gradients(chain, x, labels(2, 10), precision=data)
    expected = along(chain, x, labels(2, 10), None)
    bound = found.flatten(2).double().norm(dim=2).sum(0)
    gap = (found.double().sum(0) - expected.double()).flatten(1).norm(dim=1)
    assert (gap <= 1e3 * torch.finfo(dtype).eps * bound).all()
