"""Calls in processes of their own, with limits on time and memory, forked from one that is warm."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 90
"""Of processor time."""
WALL = 13
"""Times as much on the clock."""
ROOM = 8 * 2**30
BROKEN = 70
"""The exit status of a child that ends with an exception."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch", "torchvision", "resnet_probe.runs.job", "seaborn", "sklearn.datasets", "scipy.stats",
     "captum.attr", "pyarrow.parquet"]
)  # fmt: skip


def seeds(config: Any, some: int) -> range:
    """Those of a campaign, as many as are asked for, or `some`."""
    first = config.getoption("--campaign-seed")
    return range(first, first + (config.getoption("--campaign-size") or some))


@dataclass(frozen=True)
class Ended:
    """How a child ended; `status` is negative where a signal ended it, None where it hung."""

    status: int | None
    out: str
    err: str


def called(
    function: Callable[..., Any], *given: Any, folder: Path, seconds: int = SECONDS
) -> Ended:
    """Call `function(*given)` in a child that stands in `folder`.

    An integer that it returns is the exit status.  What it prints is kept beside the folder.
    """
    said = [folder.with_name(f"{folder.name}.{stream}") for stream in ("out", "err")]
    child = CONTEXT.Process(target=_run, args=(function, given, folder, seconds, *said))
    child.start()
    child.join(WALL * seconds)
    if child.is_alive():
        child.kill()
        child.join()
        return Ended(None, *(path.read_text(errors="replace") for path in said))
    return Ended(child.exitcode, *(path.read_text(errors="replace") for path in said))


def _run(
    function: Callable[..., Any], given: Any, folder: Path, seconds: int, out: Path, err: Path
) -> None:
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin.close()
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    os.chdir(folder)
    status = BROKEN
    try:
        status = function(*given) or 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
