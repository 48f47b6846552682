"""A run by parts of the images: each kept in a folder of its own, and put together exactly.

The folder of a part holds what the study gathered over its images, beside an identity that is that
of the whole run with `part` in it.  Parts of any machine and any number of processes are put
together into the run that one process would have made of all images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from resnet_probe.errors import ProbeError
from resnet_probe.results import Result, provenance
from resnet_probe.studies.parts import Part, joined, share_of
from resnet_probe.studies.study import Arrays, Run, Share, Study, Subject

PART = "part"


def gathered(
    study: Study, subjects: Sequence[Subject], settings: Any, part: Part, runs: Sequence[Run]
) -> Result:
    """What the study gathers of its part of the images, of each network in turn.

    `outcomes` are the arrays, `PLACE/NAME` by name, and the table says how many images they are of.
    """
    arrays: Arrays = {}
    rows = []
    for place, (subject, run) in enumerate(zip(subjects, runs, strict=True)):
        share = share_of(study, settings, part, len(subject.images))
        assert study.sums is not None
        found = study.sums.gather(_of(subject, share), settings, replace(run, share=share))
        arrays |= {f"{place}/{name}": values for name, values in found.items()}
        rows.append({"arch": subject.chain.name, "part": str(part), "images": len(share.rows)})
    return Result(study.called(settings), pd.DataFrame(rows), {}, arrays)


def _of(subject: Subject, share: Share) -> Subject:
    from resnet_probe.engine.images import picked

    rows = share.rows.tolist()
    labels = subject.labels[rows]
    return replace(subject, images=picked(subject.images, rows), labels=labels)


@dataclass(frozen=True)
class Parts:
    """All parts of one run, in their order.

    Raises `ProbeError` for folders that hold no part, and for parts of another run, twice, or
    missing, by name.
    """

    results: tuple[Result, ...]
    identity: Mapping[str, Any]
    """That of the whole run."""

    @classmethod
    def of(cls, folders: Sequence[Path]) -> Parts:
        found = {folder: Result.load(folder) for folder in folders}
        for folder, result in found.items():
            if PART not in result.identity:
                raise ProbeError(f"{folder} holds no part of a run: it is whole")
        first, *others = found
        whole = _whole(found[first])
        for folder in others:
            differs = provenance.difference(whole, _whole(found[folder]))
            if differs:
                raise ProbeError(f"{folder} is no part of the run that {first} is of: {differs}")
        ordered = _in_order({folder: part_of(result) for folder, result in found.items()})
        return cls(tuple(found[folder] for folder in ordered), whole)

    @property
    def command(self) -> str:
        """What made the first of them; without its `--part` the command of the whole run."""
        return str(self.results[0].provenance.get("command", ""))

    def arrays(self, study: Study, subjects: Sequence[Subject], settings: Any) -> list[Arrays]:
        """The arrays of all images, of each network in turn."""
        return [
            joined(
                [_of_place(result, place) for result in self.results],
                [
                    share_of(study, settings, part_of(result), len(subject.images))
                    for result in self.results
                ],
            )
            for place, subject in enumerate(subjects)
        ]

    @property
    def facts(self) -> dict[str, Any]:
        """What the parts took, and where."""
        records = [result.provenance for result in self.results]
        devices = dict.fromkeys(str(record.get("device")) for record in records)
        return {
            "parts": len(records),
            "device": ", ".join(devices),
            "seconds": sum(float(record.get("seconds", 0)) for record in records),
        }


def part_of(result: Result) -> Part:
    return Part.read(str(result.identity[PART]))


def _whole(result: Result) -> dict[str, Any]:
    return {key: value for key, value in result.identity.items() if key != PART}


def _in_order(parts: Mapping[Path, Part]) -> list[Path]:
    """The folders by number of part; `ProbeError` for doubled and missing ones."""
    by_part: dict[Part, Path] = {}
    of = next(iter(parts.values())).of
    for folder, part in parts.items():
        if part.of != of:
            raise ProbeError(
                f"{folder} is part {part}, and the others are of {of}: give all of one"
            )
        if part in by_part:
            raise ProbeError(f"{by_part[part]} and {folder} are both part {part}")
        by_part[part] = folder
    missing = [str(n) for n in range(1, of + 1) if Part(n, of) not in by_part]
    if missing:
        named = ", ".join(missing[:8]) + (" …" if len(missing) > 8 else "")
        raise ProbeError(f"{len(missing)} of {of} parts are missing: {named}")
    return [by_part[part] for part in sorted(by_part)]


def _of_place(result: Result, place: int) -> Arrays:
    mark = f"{place}/"
    return {
        name.removeprefix(mark): values
        for name, values in result.outcomes.items()
        if name.startswith(mark)
    }
