"""What tests share: where the real weights and images are; no random state leaks."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

# Small networks gain nothing from more threads, and tests run side by side (pytest -n auto).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from shared_networks import Shared

from resnet_probe import discover, zoo
from resnet_probe.benchmarks import clock
from resnet_probe.results import result

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
NETWORKS = Shared()


@pytest.fixture(autouse=True)
def _same_random_state():
    """Nothing in the package draws from the global random state, so no test changes it."""
    before = torch.get_rng_state()
    yield
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    assert torch.equal(before, after), "the global random state was changed"


@pytest.fixture(autouse=True)
def _figures_are_rendered_where_a_test_looks(request, monkeypatch):
    """A run folder's figures are drawn in each test, and become pictures where it says `rendered`.

    To render them takes longer than to measure what they show.
    """
    if not request.node.get_closest_marker("rendered"):
        monkeypatch.setattr(result, "save_figure", unrendered)


def unrendered(figure, *paths):
    """In the place of `save_figure`."""
    for path in map(Path, paths):
        path.write_text(f"{type(figure).__name__}, not rendered")


@pytest.fixture(autouse=True)
def _bundled_networks_are_shared(monkeypatch):
    monkeypatch.setattr(zoo, "load", NETWORKS.load)
    monkeypatch.setattr(discover, "chain_of", NETWORKS.cut)
    yield
    assert NETWORKS.unchanged(), "a bundled network was changed"


@pytest.fixture(autouse=True)
def _benchmarks_do_not_tidy_up_first(monkeypatch):
    """A benchmark collects garbage before each timing, of which no test asks anything."""
    monkeypatch.setattr(clock, "gc", SimpleNamespace(collect=lambda: 0))


@pytest.fixture(scope="session")
def kernel():
    """One kernel for all notebooks of a worker."""
    import notebook_runs

    with notebook_runs.kernel() as km:
        yield km


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Neighbouring tests share what they prepare, so a worker takes a long row of them."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


def pytest_configure(config):
    """What tests say of numbers is of the CPU, but for those of `pytest -m cuda`."""
    if config.option.markexpr != "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_addoption(parser):
    parser.addoption("--campaign-size", type=int, help="how many seeds a campaign goes through")
    parser.addoption("--campaign-seed", type=int, default=0, help="the first of them (0)")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Of a test that is marked `many(k)` every k-th case runs, all of them with --campaign-size."""
    if config.getoption("campaign_size"):
        return
    kept, left, cases = [], [], Counter()
    for item in items:
        mark, test = item.get_closest_marker("many"), item.nodeid.split("[")[0]
        (left if mark and cases[test] % mark.args[0] else kept).append(item)
        cases[test] += 1
    items[:] = kept
    config.hook.pytest_deselected(items=left)
