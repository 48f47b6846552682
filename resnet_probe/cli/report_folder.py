"""The folder of a report while it is made: whose it is, and what of it can be used again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.cli.run_folder import facts
from resnet_probe.errors import ProbeError
from resnet_probe.results import provenance

if TYPE_CHECKING:
    from resnet_probe.cli.report_studies import Planned
    from resnet_probe.results import Result

RECORD = "report.json"
PARTS = ("report.html", "figures", "tables")


@dataclass(frozen=True)
class Claim:
    """The folder of one report, taken by the identities of its studies before anything is run."""

    folder: Path
    identity: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, folder: Path, planned: Sequence[Planned]) -> Claim:
        """Raises `ProbeError` for a folder that holds something else, or cannot be written."""
        identity = {one.study: one.identity for one in planned}
        claim = cls(Path(folder).resolve(), provenance.plain(identity))
        claim._refuse_other([one.study for one in planned])
        try:
            claim.folder.mkdir(parents=True, exist_ok=True)
            if not (claim.folder / RECORD).exists():
                claim._record({})
        except OSError as error:
            raise ProbeError(
                f"{claim.folder} cannot be written: {error.strerror or error}; choose another "
                "(--out)"
            ) from error
        return claim

    def close(self) -> None:
        """Record what the report is made of, so that the next run sees what was lost."""
        paths = [path for part in PARTS for path in _files(self.folder / part)]
        self._record({str(path.relative_to(self.folder)): _sha256(path) for path in paths})

    def _record(self, files: dict[str, str]) -> None:
        beside = self.folder / f"{RECORD}.tmp"
        provenance.write(beside, {"identity": self.identity, "files": files})
        beside.replace(self.folder / RECORD)

    def _refuse_other(self, studies: Sequence[str]) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ProbeError(f"{self.folder} is a file: choose another folder (--out)")
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        if RECORD not in names:
            self._refuse_strange(names, studies)
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

    def _refuse_strange(self, names: Sequence[str], studies: Sequence[str]) -> None:
        """Without a record, only what a report writes may be there."""
        known = {*studies, *PARTS, f"{RECORD}.tmp"}
        strange = [n for n in names if n not in known and not n.startswith(".new.")
                   and n.partition(".")[0] not in studies]  # fmt: skip
        if strange:
            raise ProbeError(
                f"{self.folder} holds {strange[0]}, which no report wrote: choose another (--out)"
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
                    f"{'not in it' if there is None else 'in it too'}; choose another (--out)"
                )
            differs = provenance.difference(asked, there)
            if differs:
                raise ProbeError(
                    f"{self.folder} holds another report: in {study}, {differs}; choose another "
                    "folder (--out)"
                )


def obtain(planned: Planned, folder: Path, *, progress: Callable[[int, int], None]) -> Result:
    """The result of a study: from its run folder if that is whole and of the same identity.

    From where the study's own command puts it otherwise, if that is; else it is measured.  What
    cannot be used is set aside, and said.
    """
    place = folder / planned.study
    found = _whole(place, planned)
    if found is None:
        _set_aside(place)
        found = _made_alone(planned)
        if found is not None:
            _save(found, place)
    if found is not None:
        say(f"{planned.study}: there already ({found.provenance.get('seconds', 0):,.1f} s saved)")
        return found
    return _measured(planned, place, progress)


def _measured(planned: Planned, place: Path, progress: Callable[[int, int], None]) -> Result:
    from resnet_probe.results.journal import Journal

    journal = Journal(place, planned.identity) if planned.journaled else None
    kept = {"journal": journal} if journal else {}
    result = planned.measure(progress=progress, **kept)
    record = {**facts(planned.prepared), **result.provenance, "command": planned.command}
    result = replace(result, provenance={**record, "identity": planned.identity})
    _save(result, place)
    if journal:
        journal.discard()
    say(f"{planned.study}: measured in {result.provenance.get('seconds', 0):,.1f} s")
    return result


def _save(result: Result, place: Path) -> None:
    """The table and its provenance; the figures of a report are in a folder of their own."""
    result.save(place)


def _whole(place: Path, planned: Planned) -> Result | None:
    """The run there, if it is whole and the one that was asked for; else None, and why is said."""
    from resnet_probe.results import Result

    if not place.exists():
        return None
    try:
        found = Result.load(place)
        differs = provenance.difference(planned.identity, found.identity)
    except ProbeError as error:
        say(f"{planned.study}: {error}")
        return None
    if differs:
        say(f"{planned.study}: {place} holds another run: {differs}")
        return None
    return found


def _made_alone(planned: Planned) -> Result | None:
    """The same, measured before by the study's own command."""
    from argparse import Namespace

    from resnet_probe.cli.run_folder import default_folder
    from resnet_probe.results import Result

    alone = default_folder(planned.study, planned.prepared, Namespace(out=None))
    try:
        found = Result.load(alone)
        same = not provenance.difference(planned.identity, found.identity)
    except ProbeError:
        return None  # nobody asked for that folder: whatever is wrong with it is not ours to say
    return found if same else None


def _set_aside(place: Path) -> None:
    """Out of the way, not deleted: it may be somebody's only copy."""
    if not place.exists():
        return
    number = 1
    while (aside := place.with_name(f"{place.name}.aside-{number}")).exists():
        number += 1
    place.rename(aside)
    say(f"{place.name}: set aside as {aside.name}, made again")


def say(text: str) -> None:
    """A line that does not run into the progress bar."""
    from tqdm import tqdm

    tqdm.write(text)


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*")) if path.is_dir() else [path] if path.is_file() else []


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
