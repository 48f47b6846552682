"""What tests share: where the real weights and images are; no random state leaks."""

from __future__ import annotations

import os
from pathlib import Path

# Small networks gain nothing from more threads, and tests run side by side (pytest -n auto).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def _same_random_state():
    """Nothing in the package draws from the global random state, so no test changes it."""
    before = torch.get_rng_state()
    yield
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    assert torch.equal(before, after), "the global random state was changed"


def pytest_addoption(parser):
    parser.addoption("--campaign-size", type=int, help="how many random networks a campaign draws")
