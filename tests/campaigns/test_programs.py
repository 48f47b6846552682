"""Random networks: every number of a chain against plain PyTorch.

    pytest tests/campaigns --campaign-size 3000

Each seed is one network.  The numbers are the outputs, all single deletions and the deletion of
all, of the chain and of the folded engine, and the sum of the gradients of all paths.
"""

from __future__ import annotations

import copy
import random

import pytest
import torch
from campaigns.children import seeds
from campaigns.programs import CLASSES, InstanceNorm, network
from torch.nn import functional as F

import resnet_probe as rp

pytestmark = pytest.mark.campaign
SOME = 12
"""Networks a run of the test suite."""


def pytest_generate_tests(metafunc):
    metafunc.parametrize("seed", seeds(metafunc.config, SOME))


def gap(found, wanted):
    """The largest difference as a share of the largest number."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))


def drawn_images(seed):
    pick = random.Random(f"images {seed}")
    dtype, n = pick.choice([torch.float32, torch.float64]), pick.choice([1, 3])
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, 8, 6, generator=generator, dtype=torch.float64).to(dtype)
    if pick.random() < 0.3:
        x = x.contiguous(memory_format=torch.channels_last)
    return x, torch.arange(n) % CLASSES


def programs(count):
    """The steps of the whole network, of each single deletion, and of the deletion of all."""
    numbers = range(1, count + 1)
    gone = [(), *((b,) for b in numbers), tuple(numbers)]
    return {out: [(b, float(b not in out)) for b in numbers] for out in gone}


@torch.no_grad()
def check_outputs(net, chain, x, tolerance):
    steps = programs(len(chain))
    wanted = {gone: net(x, gone) for gone in steps}
    for gone, program in steps.items():
        assert gap(chain.run(x, program), wanted[gone]) < tolerance, gone
    assert chain.residue > 0 or torch.equal(chain(x), wanted[()])
    edits = [rp.Edit.delete(*gone) if gone else rp.Edit() for gone in steps]
    for piece in rp.Sweep(chain).run(edits, x):
        for edit in piece.edits:
            assert gap(piece.logits, wanted[list(steps)[edit]]) < 100 * tolerance, edit


def check_path_gradients(net, chain, x, y):
    found = rp.path_gradients(chain, x, y, precision="float64").sum(0)
    plain = copy.deepcopy(net).double()
    for module in plain.modules():
        if isinstance(module, InstanceNorm):
            module.by_hand = True
    images = x.double().requires_grad_()
    try:
        F.cross_entropy(plain(images), y, reduction="sum").backward()
    except RuntimeError as error:  # autograd itself refuses some writes
        assert "inplace operation" in str(error)
        return
    assert gap(found, images.grad) < 1e-8


def test_every_number_of_a_random_network(seed):
    x, y = drawn_images(seed)
    net = network(seed).to(x.dtype)
    chain = rp.chain_of(net, x)
    assert len(chain) == len(net.plans)
    check_outputs(net, chain, x, 2e-5 if x.dtype == torch.float32 else 1e-12)
    check_path_gradients(net, chain, x, y)
