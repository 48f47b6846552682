"""The figures of a report: drawn once for each width, written in every format, and inlined.

In a page their colours are CSS variables with the printed colour as their default, so that one
drawing is legible on a light and on a dark ground.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_probe import figures, published
from resnet_probe.errors import ProbeError
from resnet_probe.figures import style
from resnet_probe.report.questions import Question
from resnet_probe.results import Result, save_figure

FORMATS = {2: ("svg", "pdf", "png"), 1: ("svg", "pdf")}
WIDTHS = {2: "wide", 1: "narrow"}
PUBLISHED = "veit2016"
VARIABLES = {
    "#ffffff": "paper",
    style.INK: "ink",
    "#000000": "ink",
    style.PUBLISHED: "muted",
    style.FAINT: "faint",
    "#e4e4e4": "window",
    style.OURS: "blue",
    style.LIGHT: "light",
    "#d55e00": "red",
    "#009e73": "green",
    "#cc79a7": "pink",
    "#56b4e9": "sky",
    style.TRANSITION: "orange",
}
NAMES = {colour.lower(): name for colour, name in VARIABLES.items()}
HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
STYLE = re.compile(r'style="([^"]*)"')
OPENING = re.compile(r"<svg [^>]*?viewBox=\"([^\"]+)\"[^>]*>")


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
    """Published results beside ours, for residual networks of as many blocks: no others."""
    residual = result.provenance.get("residual", True)
    blocks = result.provenance.get("blocks")
    alike = residual and published.compared(PUBLISHED, result.study, blocks)
    return PUBLISHED if question.compared and alike else None


def _written(question: Question, stem: str, figure: Figure, columns: int, folder: Path) -> str:
    narrow = "-one-column" if columns == 1 else ""
    name = f"{question.study}-{stem}{narrow}".replace("-figure", "")
    try:
        save_figure(figure, *(folder / f"{name}.{suffix}" for suffix in FORMATS[columns]))
    except OSError as error:
        raise ProbeError(f"{folder} cannot be written: {error.strerror or error}") from error
    areas = block_areas(figure) if stem in question.by_block else []
    text = (folder / f"{name}.svg").read_text(encoding="utf-8")
    label = f"Figure: {question.figures[stem]}"
    return inline(text, prefix=f"drawing-{name}", label=label, areas=areas)


def svg_text(figure: Figure) -> str:
    """The SVG file of a figure that is in a page and nowhere else."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "figure.svg")
        save_figure(figure, path)
        return path.read_text(encoding="utf-8")


class Area(NamedTuple):
    """Where a block is in a drawing, as shares of its width and height from the top left."""

    block: int
    left: float
    top: float
    width: float
    height: float


def block_areas(figure: Figure) -> list[Area]:
    """A column a block in every axes whose x axis counts blocks, of a figure as last drawn."""
    found = []
    for ax in figure.axes:
        if "block" in ax.get_xlabel():
            found += _columns(figure, ax)
    return found


def _columns(figure: Figure, ax: Axes) -> list[Area]:
    width, height = figure.bbox.width, figure.bbox.height
    low, high = sorted(ax.get_xlim())
    first, last = max(1, round(low + 0.5)), round(high - 0.5)
    bottom, top = ax.bbox.y0 / height, ax.bbox.y1 / height
    found = []
    for block in range(first, last + 1):
        ends = [ax.transData.transform((block + side, 0))[0] / width for side in (-0.5, 0.5)]
        left, right = (min(max(end, ax.bbox.x0 / width), ax.bbox.x1 / width) for end in ends)
        found.append(Area(block, left, 1 - top, right - left, top - bottom))
    return found


def inline(text: str, *, prefix: str, label: str, areas: Sequence[Area] = ()) -> str:
    """The `<svg>` element of the SVG file `text`, to stand in a page.

    Its identifiers begin with `prefix`, its accessible name is `label`; `areas` become invisible
    rectangles with `data-block`.  Nothing in it points outside the page.
    """
    body = METADATA.sub("", HEAD.sub("", text))
    body = STYLE.sub(lambda found: f'style="{_coloured(found[1])}"', body)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = body.replace("url(#", f"url(#{prefix}-")
    # matplotlib's rule for all elements would reach the whole page.
    body = re.sub(r"\s*<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    box = OPENING.search(body)
    assert box is not None, "matplotlib writes a viewBox"
    name = f"{prefix}-title"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box[1]}" role="img" aria-labelledby="{name}">'
        f'<title id="{name}">{escape(label)}</title>'
    )
    body = body[: box.start()] + opening + body[box.end() :]
    return body.replace("</svg>", _rectangles(areas, box[1]) + "</svg>").strip()


def _coloured(declarations: str) -> str:
    return COLOUR.sub(_variable, declarations)


def _variable(found: re.Match[str]) -> str:
    name = NAMES.get(found[0].lower())
    return f"var(--{name}, {found[0]})" if name else found[0]


def _rectangles(areas: Sequence[Area], box: str) -> str:
    width, height = (float(side) for side in box.split()[2:])
    return "".join(
        f'<rect class="block" data-block="{area.block}" x="{area.left * width:.2f}" '
        f'y="{area.top * height:.2f}" width="{area.width * width:.2f}" '
        f'height="{area.height * height:.2f}"/>'
        for area in areas
    )
