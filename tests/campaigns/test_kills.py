"""Studies that are killed at random moments: the same command goes on, to the same bytes.

    pytest tests/campaigns/test_kills.py --campaign-size 100

Each seed kills one run of one study, once or twice.  The moment counts processor time, so that a
busy machine changes nothing; the signal ends the process at once, as `kill -9` would.
"""

from __future__ import annotations

import random
import resource
import signal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from campaigns.children import called, seeds

from resnet_probe.cli import main
from resnet_probe.runs.catalogue import ROWS

pytestmark = pytest.mark.campaign
SOME = 1
"""Kills of each study a run of the test suite."""
TINY = ["--arch", "resnet:depth=8,width=4", "--weights", "initial:0", "--data", "digits",
        "--normalize", "none", "--limit", "40", "--batch", "16", "--out", "run"]  # fmt: skip
FEW = {
    "lesion": ["--counts", "1-2", "--draws", "5"],
    "paths": ["--signs", "2", "--samples", "20"], "attribute": ["--permutations", "4"],
    "agreement": ["--counts", "1-2", "--draws", "2"],
}  # fmt: skip
STUDIES = [each.name for each in ROWS]
QUICK = ("lesion",)
"""Those of the test suite, where `test_runs` interrupts every study from inside."""


def pytest_generate_tests(metafunc):
    size = metafunc.config.getoption("--campaign-size")
    metafunc.parametrize("name", STUDIES if size else QUICK)
    metafunc.parametrize("seed", seeds(metafunc.config, SOME))


def run(name, moment=None):
    """The command, ended after so many seconds of processor time; keeps how many it took."""
    if moment is not None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, moment)
    before = used()
    status = main([name, *TINY, *FEW.get(name, [])])
    if moment is None:
        Path("../seconds").write_text(str(used() - before))
    return status


def used():
    taken = resource.getrusage(resource.RUSAGE_SELF)
    return taken.ru_utime + taken.ru_stime


@cache
def whole(name):
    """(seconds, files with their contents) of a run that nobody disturbs."""
    with TemporaryDirectory() as place:
        folder = Path(place, "here")
        folder.mkdir()
        ended = called(run, name, folder=folder)
        assert ended.status == 0, ended.err
        return float(Path(place, "seconds").read_text()), contents(folder)


def contents(folder):
    """The tables; what else there is by its name, as it tells times."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.suffix == ".csv" else b""
        for path in sorted(folder.rglob("*"))
    }


def test_a_killed_study_goes_on_to_the_same_bytes(name, seed, tmp_path):
    seconds, expected = whole(name)
    pick, folder = random.Random(f"{name} {seed}"), tmp_path / "here"
    folder.mkdir()
    for _ in range(pick.choice([1, 1, 2])):
        ended = called(run, name, pick.uniform(0, 1.1 * seconds), folder=folder)
        assert ended.status in (0, -signal.SIGPROF), ended.err
    ended = called(run, name, folder=folder)
    assert ended.status == 0, ended.err
    assert contents(folder) == expected
