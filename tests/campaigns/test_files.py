"""Hostile files: read as what they are or refused in one sentence, in time and in little memory.

    pytest tests/campaigns/test_files.py --campaign-size 500

Each seed is one set of files with one command line.  Every child is watched by Python's own audit
events: whatever the files ask for, no other program is started and nothing is sent.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import pytest
from campaigns.children import called, seeds
from campaigns.hostile import KINDS, RUN, drawn
from campaigns.test_commands import READABLE, left

from resnet_probe.cli import main

pytestmark = pytest.mark.campaign
SOME = len(KINDS)
"""Sets of files a run of the test suite, one of each kind."""
SECONDS = 30
"""Of processor time, beyond which a child counts as one that hangs."""
MEMORY = 2**30
"""Bytes beyond those of a child that has read nothing."""
FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.", "socket.",
             "urllib.", "webbrowser.")  # fmt: skip


def pytest_generate_tests(metafunc):
    metafunc.parametrize("seed", seeds(metafunc.config, SOME))


def watched(line, seconds=SECONDS):
    """The command in a process that notes what it starts, and how much memory it took."""
    seen = os.open("../seen", os.O_WRONLY | os.O_CREAT)

    def look(event, given):
        if event.startswith(FORBIDDEN) and given[:1] != ("uname",):
            os.write(seen, f"{event} {given}\n".encode(errors="replace"))

    sys.addaudithook(look)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    before = peak()
    try:
        return main(line)
    finally:
        Path("../memory").write_text(str(peak() - before))


def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """What lies beside the folders of all seeds: a run, and the journal of one that was ended."""
    top = tmp_path_factory.mktemp("files")
    folder = top / "kept"
    folder.mkdir()
    assert called(main, RUN, folder=folder).status == 0
    assert called(interrupted, folder=folder).status == 130
    return top


def interrupted():
    """A run that is ended when it would be saved: its journal stays."""
    from resnet_probe.results import result

    def stop(*_, **__):
        raise KeyboardInterrupt

    result.save_figure = stop
    Path("run").rename("whole")
    status = main(RUN)
    Path("whole").rename("run")
    return status


@pytest.mark.many(4)
def test_a_hostile_file(seed, kept):
    folder = kept / str(seed) / "here"
    folder.mkdir(parents=True)
    line = drawn(seed, folder)
    before = left(folder)
    ended = called(watched, line, folder=folder)
    told = f"{line!r}: status {ended.status}\n{ended.err[-2000:]}"
    assert ended.status in (0, 2), told
    assert "Traceback" not in ended.err, told
    assert ended.status == 0 or READABLE.fullmatch(ended.err), told
    new = {name for name in left(folder) if name not in before}
    assert ended.status == 0 or not new, f"{told}{new}"
    assert not [name for name in new if "started" in name or "escaped" in name], told
    assert (folder / "../seen").read_text() == "", told
    assert int((folder / "../memory").read_text()) < MEMORY, told
