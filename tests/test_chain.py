from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_chains import TinyPlain, images, scalar_chain, seeded

from resnet_probe import ProbeError, layers_of


def test_a_scalar_chain_is_a_product():
    chain = scalar_chain([0.5, -0.25, 2.0])
    x = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    assert torch.allclose(chain(x), x * 1.5 * 0.75 * 3)
    deleted = chain.run(x, [(1, 1.0), (2, 0.0), (3, 1.0)])
    assert torch.allclose(deleted, x * 1.5 * 3)
    half = chain.run(x, [(1, 1.0), (2, 0.5), (3, 1.0)])
    assert torch.allclose(half, x * 1.5 * 0.875 * 3)
    twice = chain.run(x, [(3, 1.0), (1, 1.0), (1, 1.0), (2, 1.0)])
    assert torch.allclose(twice, x * 3 * 1.5**2 * 0.75)


def test_whole_numbers_are_texts_and_others_images():
    chain = scalar_chain([0.5])
    for dtype, called in ((torch.int64, "texts"), (torch.float32, "images")):
        assert replace(chain, takes=(("x", dtype),)).inputs == called
    assert chain.inputs == "images"


def test_the_sum_lies_in_memory_as_the_network_adds_it():
    shortcut = torch.ones(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    branch = torch.ones(2, 4, 3, 3)
    block = scalar_chain([1.0]).blocks[0]
    for first in (False, True):
        total = replace(block, branch_first=first).add(shortcut, branch)
        assert total.is_contiguous() is first


def test_a_block_of_other_modules_has_a_total_where_it_had_one():
    made = []
    block = scalar_chain([1.0]).blocks[0]
    for total, parts in ((None, 3), (nn.Identity(), 4)):
        other = replace(block, total=total).map(lambda part: made.append(part) or nn.Tanh())
        assert len(made) == parts and type(other.total) is (nn.Tanh if total else type(None))
        assert type(other.shortcut) is type(other.branch) is type(other.after) is nn.Tanh
        made.clear()


def test_a_block_outside_the_chain_is_refused_with_the_range():
    chain = scalar_chain([1.0, 2.0])
    with pytest.raises(ProbeError, match=r"block 3 is out of range: scalar has 2 blocks \(1–2\)"):
        chain.block(3)
    with pytest.raises(ProbeError, match="block 0 is out of range"):
        chain.block(0)


def test_a_plain_layer_cannot_be_scaled():
    chain = layers_of(seeded(TinyPlain), images())
    with pytest.raises(ProbeError, match=r"layer 1 \(features.3\) cannot be scaled by 0.5"):
        chain.block(1).run(chain.stem(images()), 0.5)


def test_stages_and_unit():
    chain = layers_of(seeded(TinyPlain), images())
    assert chain.unit == "layer" and not chain.residual
    assert chain.stages == ((1,), (2, 3))
    assert scalar_chain([1.0]).unit == "block"
