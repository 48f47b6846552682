"""The figures of a report: drawn once for each width, written in every format, and inlined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from resnet_probe import figures
from resnet_probe.errors import ProbeError
from resnet_probe.report.questions import Question
from resnet_probe.report.svg import block_areas, inline
from resnet_probe.results import Result, save_figure

FORMATS = {2: ("svg", "pdf", "png"), 1: ("svg", "pdf")}
WIDTHS = {2: "wide", 1: "narrow"}
PUBLISHED = "veit2016"


@dataclass(frozen=True)
class Drawing:
    """One figure in a page: `wide` for two columns and `narrow` for one, as `<svg>` elements."""

    stem: str
    caption: str
    wide: str
    narrow: str
    by_block: bool


def draw(question: Question, result: Result, folder: Path) -> list[Drawing]:
    """Write the figures of a result to `folder`, as `STUDY-STEM.svg` and so on, and return them.

    Two columns wide as SVG, PDF and PNG; one column wide, `…-one-column`, as SVG and PDF.
    """
    found: dict[int, dict[str, str]] = {}
    for columns in WIDTHS:
        drawn = figures.draw_all(result, compare=_compared(question, result), columns=columns)
        found[columns] = {
            stem: _written(question, stem, drawn[stem], columns, folder)
            for stem in question.figures
            if stem in drawn
        }
    return [
        Drawing(stem, question.figures[stem], wide, found[1][stem], stem in question.by_block)
        for stem, wide in found[2].items()
    ]


def _compared(question: Question, result: Result) -> str | None:
    """Published results beside ours, for residual networks: what was published is of one."""
    residual = result.provenance.get("residual", True)
    return PUBLISHED if question.compared and residual else None


def _written(question: Question, stem: str, figure: Figure, columns: int, folder: Path) -> str:
    narrow = "-one-column" if columns == 1 else ""
    name = f"{question.study}-{stem}{narrow}".replace("-figure", "")
    try:
        for suffix in reversed(FORMATS[columns]):  # the SVG last: its layout is the one measured
            save_figure(figure, folder / f"{name}.{suffix}")
    except OSError as error:
        raise ProbeError(f"{folder} cannot be written: {error.strerror or error}") from error
    areas = block_areas(figure) if stem in question.by_block else []
    text = (folder / f"{name}.svg").read_text(encoding="utf-8")
    label = f"Figure: {question.figures[stem]}"
    return inline(text, prefix=f"drawing-{name}", label=label, areas=areas)
