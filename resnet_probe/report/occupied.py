"""The folder of a report while it is made: whose it is, and what of it can be used again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_probe.errors import ProbeError
from resnet_probe.results import provenance

RECORD = "report.json"
PARTS = ("report.html", "figures", "tables")


@dataclass(frozen=True)
class ReportFolder:
    """The folder of one report, taken by the identities of its studies before anything is run."""

    folder: Path
    identity: dict[str, Any] = field(repr=False)
    new: bool = False

    @classmethod
    def of(cls, folder: Path, identities: Mapping[str, Any]) -> ReportFolder:
        """Raises `ProbeError` for a folder that holds something else, or cannot be written."""
        folder = Path(os.path.realpath(folder))
        if folder.is_symlink():
            raise ProbeError(f"{folder} is a link that leads to itself: choose another (out=)")
        taken = cls(folder, provenance.plain(identities), new=not folder.exists())
        taken._refuse_other()
        try:
            taken.folder.mkdir(parents=True, exist_ok=True)
            if not (taken.folder / RECORD).exists():
                taken._record({})
        except OSError as error:
            raise ProbeError(
                f"{taken.folder} cannot be written: {error.strerror or error}; choose another "
                "(out=)"
            ) from error
        return taken

    def leave(self) -> None:
        """Remove what was made, where nothing has been measured for it."""
        if self.new:
            (self.folder / RECORD).unlink(missing_ok=True)
            self.folder.rmdir()

    def close(self) -> None:
        """Record what the report is made of, so that the next run sees what was lost."""
        paths = [path for part in PARTS for path in _files(self.folder / part)]
        self._record({str(path.relative_to(self.folder)): _sha256(path) for path in paths})

    def _record(self, files: dict[str, str]) -> None:
        beside = self.folder / f"{RECORD}.tmp"
        provenance.write(beside, {"identity": self.identity, "files": files})
        beside.replace(self.folder / RECORD)

    def _refuse_other(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ProbeError(f"{self.folder} is a file: choose another folder (out=)")
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        if RECORD not in names:
            self._refuse_strange(names)
            return
        try:
            record = provenance.read(self.folder / RECORD)
        except ProbeError as error:
            say(f"{error}: written anew")
            (self.folder / RECORD).unlink()
            return
        self._refuse_another_report(record)
        for name, digest in dict(record.get("files") or {}).items():
            path = self.folder / name
            if not path.is_file() or _sha256(path) != digest:
                say(f"{path} {'was changed' if path.is_file() else 'is missing'}: made again")

    def _refuse_strange(self, names: Sequence[str]) -> None:
        """Without a record, only what a report writes may be there."""
        strange = _strange(names)
        if strange:
            raise ProbeError(
                f"{self.folder} holds {strange[0]}, which no report wrote: choose another (out=)"
            )
        if names:
            say(f"{self.folder / RECORD} is missing: written anew")

    def _refuse_another_report(self, record: dict[str, Any]) -> None:
        found = record.get("identity")
        found = found if isinstance(found, dict) else {}
        for study in (*self.identity, *found):
            there, asked = found.get(study), self.identity.get(study)
            if there is None or asked is None:
                raise ProbeError(
                    f"{self.folder} holds another report: {study} is "
                    f"{'not in it' if there is None else 'in it too'}; choose another (out=)"
                )
            differs = provenance.difference(asked, there)
            if differs:
                raise ProbeError(
                    f"{self.folder} holds another report: in {study}, {differs}; choose another "
                    "folder (out=)"
                )


def is_anothers(folder: Path) -> bool:
    """Whether a folder holds what no report wrote."""
    if not folder.is_dir():
        return folder.exists()
    return bool(_strange([path.name for path in folder.iterdir()]))


def _strange(names: Sequence[str]) -> list[str]:
    known = {*PARTS, RECORD, f"{RECORD}.tmp"}
    return [name for name in names if name not in known and not name.startswith(".new.")]


def identity_at(folder: Path) -> Any:
    """The identity of the report in a folder; None where there is none."""
    try:
        return provenance.read(folder / RECORD).get("identity")
    except ProbeError:
        return None


def say(text: str) -> None:
    """A line that does not run into the progress bar."""
    from tqdm import tqdm

    tqdm.write(text)


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*")) if path.is_dir() else [path] if path.is_file() else []


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
