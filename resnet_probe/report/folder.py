"""The folder of a report: the page, its figures in every format, its tables."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from resnet_probe.errors import ProbeError
from resnet_probe.report.drawings import draw
from resnet_probe.report.page import block_cards, render
from resnet_probe.report.questions import Section, sections
from resnet_probe.report.switchboard import Switchboard
from resnet_probe.results import Result, provenance
from resnet_probe.results import table as csv

PAGE = "report.html"
PARTS = ("figures", "tables", PAGE)


@dataclass(frozen=True)
class Made:
    """How a report came about: what a reader has to know to make it again.

    `commands` reproduce one study each, `absent` says why a study is not there, `command` makes
    the whole; `branch_runs` a study, and `facts`, go to the end of the page.
    """

    title: str
    command: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    branch_runs: Mapping[str, int | None] = field(default_factory=dict)
    facts: Sequence[tuple[str, str]] = ()


def write_report(
    results: Mapping[str, Result],
    folder: str | Path,
    *,
    made: Made,
    claims: pd.DataFrame | None = None,
    progress: Any = None,
) -> list[Section]:
    """Write `report.html`, `figures/` and `tables/` to `folder`, and return the sections.

    `results` by study.  All is written beside its place first, and moved there when it is whole.
    `progress(done, total)` is called behind each study.  Raises `ProbeError` as `sections` does,
    and where the disk refuses.
    """
    folder = Path(folder).resolve()
    found = sections(results, commands=made.commands, absent=made.absent)
    beside = folder / f".new.{uuid4().hex[:8]}"
    try:
        for name in ("figures", "tables"):
            (beside / name).mkdir(parents=True)
        page = _page(found, results, beside, made, claims, progress)
        (beside / PAGE).write_text(page, encoding="utf-8")
        for name in PARTS:
            _replace(beside / name, folder / name)
    except OSError as error:
        raise ProbeError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return found


def _page(
    found: Sequence[Section],
    results: Mapping[str, Result],
    beside: Path,
    made: Made,
    claims: pd.DataFrame | None,
    progress: Any,
) -> str:
    drawings = {}
    for done, section in enumerate(found, start=1):
        study = section.asked.study
        if section.result is not None:
            drawings[study] = draw(section.asked, section.result, beside / "figures")
            csv.write(beside / "tables" / f"{study}.csv", section.result.table)
        if progress is not None:
            progress(done, len(found))
    if claims is not None:
        csv.write(beside / "tables" / "claims.csv", claims)
    return render(
        found, drawings, block_cards(results), Switchboard.of(results), title=made.title,
        facts=made.facts, runs=_runs(results, made), claims=claims, command=made.command,
    )  # fmt: skip


def _runs(results: Mapping[str, Result], made: Made) -> pd.DataFrame:
    rows = []
    for study, result in results.items():
        identity = provenance.plain(result.provenance.get("identity", {}))
        rows.append(
            {
                "study": study,
                "images": identity.get("images"),
                "seed": identity.get("seed"),
                "branch_runs": made.branch_runs.get(study),
                "seconds": result.provenance.get("seconds"),
                "data_sha256": str(identity.get("data_sha256", ""))[:16],
            }
        )
    return pd.DataFrame(rows).astype(object)


def _replace(new: Path, old: Path) -> None:
    """`new` in the place of `old`, a file or a folder."""
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old)
    new.replace(old)
