"""Every figure at the width of a paper's column: nothing is small, cut off, or over another."""

from __future__ import annotations

from pathlib import Path

import pytest
from figure_tables import DIRECT, RESULTS, every
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from resnet_probe.figures import save_figure, style


def shown_texts(figure: Figure) -> dict[Text, Bbox]:
    """Every text that a reader sees, with its box in pixels, without rendering the figure."""
    figure.draw_without_rendering()
    unseen = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        unseen |= {t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return {text: text.get_window_extent() for text in texts if text not in unseen}


def check(name: str, figure: Figure) -> None:
    boxes = list(shown_texts(figure).items())
    for index, (text, box) in enumerate(boxes):
        said = f"{name}: {text.get_text()!r}"
        assert text.get_fontsize() >= style.SMALLEST, f"{said} is too small"
        whole = figure.bbox.padded(1)
        assert box.x0 >= whole.x0 and box.x1 <= whole.x1, f"{said} is cut off at a side"
        assert box.y0 >= whole.y0 and box.y1 <= whole.y1, f"{said} is cut off above or below"
        for other, there in boxes[index + 1 :]:
            apart = not box.padded(-1).overlaps(there.padded(-1))
            assert apart, f"{said} covers {other.get_text()!r}"


@pytest.mark.parametrize("name", [*RESULTS, *DIRECT])
def test_all_texts_can_be_read_in_one_column(name: str) -> None:
    found = every(1, name)
    for called, figure in found.items():
        assert figure.get_figwidth() == style.WIDTHS[1] == 3.3
        check(called, figure)


@pytest.mark.campaign
@pytest.mark.parametrize("name", [*RESULTS, *DIRECT])
def test_all_texts_can_be_read_in_two_columns(name: str) -> None:
    for called, figure in every(2, name).items():
        check(called, figure)
