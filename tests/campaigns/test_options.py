"""Options in Python, of types that nobody would give: taken for what they mean, or one sentence.

    pytest tests/campaigns/test_options.py --campaign-size 8000

Each seed is one option of one study with one value.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from campaigns.children import seeds
from toy_chains import TinyResNet, seeded

import resnet_probe as rp
from resnet_probe import ProbeError
from resnet_probe.runs.catalogue import ROWS
from resnet_probe.studies.study import Resources

pytestmark = pytest.mark.campaign
SOME = 40
"""Calls a run of the test suite."""
BESIDE = ("recalibrate", "calibrate", "progress", "journal", "others")
SMALL = {
    "append": {"steps": 2, "draws": 1}, "paths": {"signs": 2, "samples": 3},
    "interactions": {"draws": 40}, "agreement": {"draws": 2},
}  # fmt: skip
NAN, INF = float("nan"), float("inf")
VALUES = (
    None, True, False, 0, 1, -1, 2, 0.5, 1.5, NAN, INF, -INF, 1e308, 10**30, -(10**30), "", "x",
    "1", "delete 1", "nan", "accuracy", "exact", "1-2", "new\nline", b"x", 1 + 2j, [], (), [1],
    (1, 2), [0], [-1], [99], ["x"], [None], [1.5], [NAN], [[1]], (True,), {}, {"a": 1}, set(),
    range(3), slice(1, 2), object(), int, Path("x"), np.int64(2), np.float32(0.5),
    np.array([1, 2]), np.array(1), np.array(["delete 1"]), torch.tensor(1), torch.ones(2),
)  # fmt: skip


def pytest_generate_tests(metafunc):
    metafunc.parametrize("seed", seeds(metafunc.config, SOME))


@cache
def ready():
    images = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return rp.prepare(seeded(TinyResNet), data=(images, torch.arange(12) % 5))


def test_an_option_of_any_type(seed):
    pick = random.Random(f"option {seed}")
    row = pick.choice(ROWS)
    own = [each.name for each in (*row.study.settings.options(), *Resources.options())]
    name, value = pick.choice([*own, *BESIDE]), pick.choice(VALUES)
    if name in ("progress", "metric") and callable(value):
        return  # what a function of the user's own raises is the user's
    try:
        getattr(rp, row.name)(ready(), **{**SMALL.get(row.name, {}), name: value})
    except ProbeError as error:
        assert "\n" not in str(error), (row.name, name, value)
