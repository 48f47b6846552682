"""What lets an interrupted sweep go on: the outcome of each finished batch, on disk.

The journal of the run folder ``runs/x`` lives in ``runs/x.partial`` until the run is whole. A
shard is one file: a line with the SHA-256 of all that follows, a line of JSON, then the bits of
``correct``. A shard that does not fit its own hash is left out and its images are run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resnet_probe.errors import ProbeError
from resnet_probe.results import provenance

IDENTITY = "identity.json"


class Shard(NamedTuple):
    """The images ``start`` to ``stop - 1``: ``correct`` is bool [edits, stop - start]."""

    start: int
    stop: int
    correct: np.ndarray
    extra: dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """The partial outcome of the run that will go to ``folder``.

    ``identity`` says what determines the outcome, as in a result's provenance. Raises
    ProbeError where the journal there belongs to another identity, or cannot be written.
    """

    folder: Path
    identity: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).resolve())
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            self._claim()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ProbeError(f"{self.place} cannot be written: {reason}") from error

    @property
    def place(self) -> Path:
        """Where the shards lie."""
        return self.folder.with_name(f"{self.folder.name}.partial")

    def record(
        self, start: int, stop: int, correct: np.ndarray, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Keep one batch: ``correct`` is bool [edits, stop - start], ``extra`` small and JSON-able.

        When it returns the shard is there, whole; when it is interrupted there is none.
        """
        correct = np.asarray(correct)
        if correct.dtype != bool or correct.ndim != 2 or correct.shape[1] != stop - start:
            raise ProbeError(
                f"images {start} to {stop} need bool [edits, {stop - start}], "
                f"not {correct.dtype} {list(correct.shape)}"
            )
        head = {
            "start": int(start),
            "stop": int(stop),
            "edits": correct.shape[0],
            "run": self._run,
            "extra": provenance.plain(extra or {}),
        }
        body = json.dumps(head).encode() + b"\n" + np.packbits(correct).tobytes()
        _write_whole(self.place / f"{start:08d}-{stop:08d}.shard", _digest(body) + b"\n" + body)

    def done(self) -> Iterator[Shard]:
        """The shards in the order of their images, none overlapping another."""
        end = 0
        for path in self._paths():
            shard = self._read(path)
            if shard is not None and shard.start >= end:
                end = shard.stop
                yield shard

    def missing(self, images: int) -> list[tuple[int, int]]:
        """The ranges ``(start, stop)`` of the first ``images`` images that `done` leaves out."""
        gaps, end = [], 0
        for shard in self.done():
            if min(shard.start, images) > end:
                gaps.append((end, min(shard.start, images)))
            end = shard.stop
        return gaps + ([(end, images)] if end < images else [])

    def damaged(self) -> list[Path]:
        """The shards that cannot be used (cut short, changed, of another run)."""
        return [path for path in self._paths() if self._read(path) is None]

    def discard(self) -> None:
        """Remove the journal; files that it did not write stay."""
        for path in [*self._paths(), self.place / IDENTITY, *self.place.glob("*.tmp")]:
            path.unlink(missing_ok=True)
        if self.place.is_dir() and not any(self.place.iterdir()):
            self.place.rmdir()

    @property
    def _run(self) -> str:
        text = json.dumps(provenance.plain(self.identity), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _claim(self) -> None:
        path = self.place / IDENTITY
        try:
            found = provenance.read(path)
        except ProbeError:  # new, or damaged: each shard still says whose it is
            text = json.dumps(provenance.plain(self.identity), indent=2, ensure_ascii=False)
            _write_whole(path, text.encode())
            return
        differs = provenance.difference(self.identity, found)
        if differs:
            raise ProbeError(
                f"{self.place} holds the unfinished run of another study: {differs}; "
                f"remove it or choose another folder (--out)"
            )

    def _paths(self) -> list[Path]:
        return sorted(self.place.glob("*.shard"))

    def _read(self, path: Path) -> Shard | None:
        digest, _, body = path.read_bytes().partition(b"\n")
        if digest != _digest(body):
            return None
        line, _, bits = body.partition(b"\n")
        head = json.loads(line)
        if head["run"] != self._run:
            return None
        shape = head["edits"], head["stop"] - head["start"]
        flat = np.unpackbits(np.frombuffer(bits, np.uint8), count=shape[0] * shape[1])
        return Shard(head["start"], head["stop"], flat.astype(bool).reshape(shape), head["extra"])


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _write_whole(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
