"""A ledger that was made before: found again without loading a network or an image.

What it was made from is told by the options and by the files that they name, and those of this
package, as they lie there: paths, sizes and times of change.  So the same command finds its table
in seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import resnet_probe
from resnet_probe.claims import rules_sha256
from resnet_probe.errors import ProbeError
from resnet_probe.results import Result, provenance
from resnet_probe.runs.evidence import claim_asks, twin_asks
from resnet_probe.runs.job import RUNS

ASKED = "asked"
"""In the record of a ledger: what `question` says of it."""
PACKAGE = Path(resnet_probe.__file__).parent
State = tuple[int, int] | None
"""Size and time of change of a file, if there is one."""
DEPTH = 3
"""How many folders deep `data_root` is looked at, as where images are looked for."""


def question(options: Mapping[str, Any], *, rules: bool = True) -> dict[str, str] | None:
    """What determines a ledger; None where that is code of the user's own.

    Without its `rules`: what determines the studies that it is made from.
    """
    if options.get("model") is not None:
        return None
    asks = (resnet_probe.__version__, *claim_asks(), *twin_asks())
    files = sorted({**_package(), **_states(_files(options))}.items())
    return {
        "options": json.dumps({key: str(value) for key, value in options.items()}, sort_keys=True),
        "files": hashlib.sha256(repr(files).encode()).hexdigest(),
        "asks": hashlib.sha256(repr(asks).encode()).hexdigest(),
        **({"rules": rules_sha256()} if rules else {}),
    }


def found(asked: Mapping[str, str] | None, folder: Path | None) -> tuple[Path, Result] | None:
    """The ledger of that question, in `folder` or under `runs`; None where there is none."""
    if asked is None:
        return None
    places = sorted(RUNS.glob("claims-*")) if folder is None else [folder]
    for place in places:
        with suppress(ProbeError):
            if provenance.read(place / provenance.FILE).get(ASKED) == asked:
                return place, Result.load(place)
    return None


@cache
def _package() -> dict[str, State]:
    """The files of this package, looked at once a process: a ledger asks for each network."""
    return _states(path for path in PACKAGE.rglob("*.*") if "__pycache__" not in path.parts)


def _states(paths: Iterable[Path]) -> dict[str, State]:
    return {str(path.resolve()): _state(path) for path in paths}


def _files(options: Mapping[str, Any]) -> Iterator[Path]:
    for name in ("weights", "class_map", "checkpoints"):
        given = options.get(name)
        for each in given if isinstance(given, list) else [given]:
            yield from _below(Path(str(each)), "*") if each is not None else ()
    _, _, path = str(options.get("data") or "").partition(":")
    if path:
        yield from _below(Path(path), "*")
    if options.get("data_root") is not None:
        yield from _below(Path(options["data_root"]), "*")


def _below(path: Path, pattern: str) -> Iterator[Path]:
    path = path.expanduser()
    if not path.is_dir():
        yield path
        return
    for depth in range(DEPTH + 1):
        yield from (each for each in path.glob("*/" * depth + pattern) if each.is_file())


def _state(path: Path) -> State:
    try:
        status = path.stat()
    except OSError:  # a name that is no file, or one that will be refused
        return None
    return status.st_size, status.st_mtime_ns
