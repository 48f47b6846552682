"""What lets an interrupted study go on: the arrays of each finished step, on disk.

The journal of the run folder `runs/x` lives in `runs/x.partial` until the run is whole.  A step is
one file: a line with the SHA-256 of all that follows, a line of JSON that says whose it is, then
the arrays as NumPy writes them.  A file that does not fit its own hash is left out, and its step is
made again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from resnet_probe.errors import ProbeError
from resnet_probe.results import provenance

IDENTITY = "identity.json"
LOCK = "lock"
SUFFIX = ".step"


@dataclass(frozen=True)
class Journal:
    """The finished steps of the run that will go to `folder`.

    `identity` says what determines the outcome, as in a result's provenance.  Nothing is written
    before the first step is kept, or the journal is entered: as a context it is this process's
    alone until it is left, and an empty one leaves nothing behind.

    Raises `ProbeError` where the journal there belongs to another identity or to a process that is
    at work, or cannot be written.
    """

    folder: Path
    identity: Mapping[str, Any] = field(repr=False)
    _held: list[Any] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).resolve())
        self._refuse_another()

    @property
    def place(self) -> Path:
        """Where the steps lie."""
        return self.folder.with_name(f"{self.folder.name}.partial")

    def __enter__(self) -> Self:
        from filelock import FileLock, Timeout

        lock = FileLock(self.place / LOCK)
        try:
            self._claim()
            lock.acquire(blocking=False)
        except Timeout:
            raise ProbeError(
                f"another process is writing {self.folder}: wait for it, or choose another folder "
                "(out=)"
            ) from None
        except OSError as error:
            raise ProbeError(f"{self.place} cannot be written: {_reason(error)}") from error
        self._held.append(lock)
        for path in unfinished_saves(self.folder):
            shutil.rmtree(path, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for lock in self._held:
            lock.release()
        self._held.clear()
        (self.place / LOCK).unlink(missing_ok=True)
        if not self.steps:
            self.discard()

    @property
    def steps(self) -> list[Path]:
        """The files of the steps that are kept."""
        return sorted(self.place.glob(f"*{SUFFIX}"))

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays kept under `key`, bit for bit; None where there are none, or not whole."""
        path = self._path(key)
        try:
            digest, _, body = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        if digest != _digest(body):
            return None
        head, _, arrays = body.partition(b"\n")
        if head != self._head(key):
            return None
        with np.load(io.BytesIO(arrays), allow_pickle=False) as found:
            return dict(found)

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a step: when it returns they are there, whole.

        Raises `ProbeError` where the disk refuses; what was kept before stays.
        """
        kept = io.BytesIO()
        plain: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
        np.savez_compressed(kept, **plain)
        body = self._head(key) + b"\n" + kept.getvalue()
        try:
            self._claim()
            write_whole(self._path(key), _digest(body) + b"\n" + body)
        except OSError as error:
            raise ProbeError(
                f"{self.place} cannot be written ({_reason(error)}): what was finished is kept "
                "there, and the same call goes on from it once there is room"
            ) from error

    def finish(self) -> None:
        """Remove what a process that was killed while it saved has left, where nobody is at work.

        For a folder that holds its run.
        """
        if self.place.is_dir() or unfinished_saves(self.folder):
            with suppress(ProbeError), self:
                self.discard()

    def discard(self) -> None:
        """Remove the journal; files that it did not write stay."""
        for path in [*self.steps, self.place / IDENTITY, *self.place.glob("*.tmp")]:
            path.unlink(missing_ok=True)
        if not self._held:
            (self.place / LOCK).unlink(missing_ok=True)
        if self.place.is_dir() and not any(self.place.iterdir()):
            self.place.rmdir()

    @property
    def _run(self) -> str:
        text = json.dumps(provenance.plain(self.identity), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _head(self, key: str) -> bytes:
        return json.dumps({"run": self._run, "key": key}).encode()

    def _path(self, key: str) -> Path:
        name = key if re.fullmatch(r"[\w.-]{1,80}", key) else _digest(key.encode()).decode()[:32]
        return self.place / f"{name}{SUFFIX}"

    def _claim(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        if not (self.place / IDENTITY).exists():
            text = json.dumps(provenance.plain(self.identity), indent=2, ensure_ascii=False)
            write_whole(self.place / IDENTITY, text.encode())

    def _refuse_another(self) -> None:
        try:
            found = provenance.read(self.place / IDENTITY)
        except ProbeError:  # none, or damaged: each step still says whose it is
            return
        differs = provenance.difference(self.identity, found)
        if differs and self.steps:
            raise ProbeError(
                f"{self.place} holds the unfinished run of another study: {differs}; "
                f"remove it or choose another folder (out=)"
            )
        if differs:
            (self.place / IDENTITY).unlink(missing_ok=True)


def unfinished_saves(folder: Path) -> list[Path]:
    """The folders beside a run's in which it was being saved."""
    form = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{8}}(\.old)?")
    there = folder.parent.iterdir() if folder.parent.is_dir() else ()
    return [path for path in there if form.fullmatch(path.name)]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds the old content or the new, never a part of it."""
    beside = path.with_name(f"{path.name}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
