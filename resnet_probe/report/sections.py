"""From results to the sections of a page: sentences, figures, caveats, commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resnet_probe.errors import ProbeError
from resnet_probe.findings import Finding
from resnet_probe.report.questions import QUESTIONS, Question
from resnet_probe.results import Result

OPENING = ("lesion", "paths", "responses")
"""The studies whose answers open a report."""
SMALL_DIGITS = (
    "These are small images of handwritten digits, an easy task: what holds here need not hold on "
    "photographs."
)


@dataclass(frozen=True)
class Section:
    """One question: answered by `finding`, or not asked for the reason in `absent`."""

    asked: Question
    result: Result | None
    finding: Finding | None
    absent: str = ""
    command: str = ""
    caveats: tuple[str, ...] = ()


def sections(
    results: Mapping[str, Result],
    *,
    commands: Mapping[str, str] | None = None,
    absent: Mapping[str, str] | None = None,
) -> list[Section]:
    """The sections of a report, in its order, by study: its result, or why there is none.

    `commands` reproduce a study each, `absent` says in a sentence why one does not apply.  Raises
    `ProbeError` for a study that a report does not ask, and for no results at all.
    """
    commands, absent = commands or {}, absent or {}
    known = [asked.study for asked in QUESTIONS]
    strange = [study for study in (*results, *absent) if study not in known]
    if strange:
        raise ProbeError(f"a report has no section for {strange[0]!r}: it has {', '.join(known)}")
    if not results:
        raise ProbeError("a report needs the result of at least one study")
    found = []
    for asked in QUESTIONS:
        result = results.get(asked.study)
        command = commands.get(asked.study, "")
        if result is not None:
            caveats = (*asked.caveats, *_of_the_images(result))
            found.append(Section(asked, result, asked.find(result), "", command, caveats))
        elif asked.study in absent:
            found.append(Section(asked, None, None, absent[asked.study], command))
    return found


def answers(found: list[Section]) -> list[Section]:
    """The sections that open the page, those without an answer too."""
    return [section for section in found if section.asked.study in OPENING]


def _of_the_images(result: Result) -> list[str]:
    """What has to be known about the images; every number in it is from the identity."""
    identity = result.provenance.get("identity", {})
    notes = []
    if identity.get("data") == "digits":
        notes.append(SMALL_DIGITS)
    if "JPEG" in str(identity.get("data_note", "")):
        notes.append(
            "The images are JPEG re-encodings: networks trained on the original pixels lose "
            "accuracy on them, so no error here is to be compared with a published one."
        )
    elif identity.get("data_note"):
        notes.append(f"The images: {identity['data_note']}.")
    return notes
