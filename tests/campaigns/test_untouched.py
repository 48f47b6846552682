"""A model that fails at its k-th call, in every study: nothing of it or of the process is changed.

    pytest tests/campaigns/test_untouched.py --campaign-size 100000

Each seed is one study with the call at which the model fails; beyond the last call, it does not.
"""

from __future__ import annotations

import random
import threading
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from resnet_probe import chain_of
from resnet_probe.runs.catalogue import ROWS

pytestmark = pytest.mark.campaign
SOME = 3
"""Calls of each study a run of the test suite."""
SMALL = {
    "control": {"batch": 16}, "paths": {"signs": 2, "samples": 3, "images_per_path": 2},
    "attribute": {"permutations": 2}, "agreement": {"counts": (1, 2), "draws": 2},
}  # fmt: skip
STUDIES = [each.name for each in ROWS]


class Failed(Exception):
    pass


class Fuse(nn.Conv2d):
    """A convolution that fails at its call number `last`, whichever of the model's it is."""

    calls, last = 0, None

    def forward(self, x):
        Fuse.calls += 1
        if Fuse.calls == Fuse.last:
            raise Failed
        return super().forward(x)


Fuse.__module__ = nn.Conv2d.__module__  # so that a traced graph keeps it whole


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = (
            Fuse(4, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            Fuse(4, 4, 1),
        )

    def forward(self, h):
        return h + self.last(torch.relu(self.norm(self.first(h))))


class Net(nn.Module):
    """In odd modes, with gradients and hooks of its own."""

    def __init__(self):
        super().__init__()
        self.stem, self.blocks = Fuse(3, 4, 3, padding=1), nn.Sequential(Block(), Block())
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net().eval()
    net.blocks[0].first.weight.requires_grad_(False)
    net.head.weight.grad = torch.ones_like(net.head.weight)
    net.blocks[1].register_forward_hook(lambda module, given, made: None)
    return net


def state_of(net):
    """All that a study could leave changed, as comparable values."""
    numbers = {
        name: (tensor.detach().clone().numpy().tobytes(), tensor.requires_grad, tensor.is_leaf,
               tensor._version, None if tensor.grad is None else tensor.grad.numpy().tobytes())
        for name, tensor in (*net.named_parameters(), *net.named_buffers())
    }  # fmt: skip
    modules = [
        (name, type(module), module.training, sorted(module.__dict__),
         {key: len(held) for key, held in vars(module).items() if key.endswith("_hooks")})
        for name, module in net.named_modules()
    ]  # fmt: skip
    return {"numbers": numbers, "modules": modules, **process()}


def process():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().numpy().tobytes(), "numpy": (kind, keys.tobytes(), *rest),
        "python": random.getstate(), "type": torch.get_default_dtype(),
        "threads": (torch.get_num_threads(), threading.active_count()),
        "gradients": torch.is_grad_enabled(), "inference": torch.is_inference_mode_enabled(),
        "exact": torch.are_deterministic_algorithms_enabled(), "place": Path.cwd(),
        "precision": torch.get_float32_matmul_precision(), "mkldnn": torch.backends.mkldnn.flags,
        "warnings": list(warnings.filters), "printed": np.get_printoptions()["precision"],
    }  # fmt: skip


def asked(name, net, last=None):
    """The study of that name from discovery on, of a net that fails at call `last`."""
    study = next(each.study for each in ROWS if each.name == name)
    count = 34 if name == "control" else 6
    x = torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    Fuse.calls, Fuse.last = 0, last
    try:
        study.function("")(chain_of(net, x), x, torch.arange(count) % 5, **SMALL.get(name, {}))
    finally:
        Fuse.last = None
    return Fuse.calls


@cache
def calls_of(name):
    """Both ways of discovery are taken once before: what they import brings its own filters."""
    with suppress(Failed):
        asked(name, network(), 3)
    return asked(name, network())


def pytest_generate_tests(metafunc):
    size = metafunc.config.getoption("--campaign-size") or SOME
    metafunc.parametrize("name", STUDIES)
    metafunc.parametrize("size", [size])


@pytest.mark.many(3)
def test_a_model_that_fails_is_left_as_it_was(name, size):
    calls = calls_of(name)
    every = range(1, calls + 2)
    some = every if size >= len(every) else random.Random(name).sample(every, size)
    net = network()
    before = state_of(net)
    for last in some:
        with suppress(Failed):  # discovery has a second way where the first one fails
            asked(name, net, last)
        after = state_of(net)
        changed = [part for part in before if after[part] != before[part]]
        assert not changed, f"{name}, call {last} of {calls}"
