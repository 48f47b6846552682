"""Every figure at the width of a paper's column: nothing is small, cut off, or over another."""

from __future__ import annotations

import pytest
from figure_tables import DIRECT, RESULTS, every
from matplotlib.figure import Figure
from test_figures_style import shown_texts

from resnet_probe.figures import style


def check(name: str, figure: Figure) -> None:
    boxes = list(shown_texts(figure).items())
    for index, (text, box) in enumerate(boxes):
        said = f"{name}: {text.get_text()!r}"
        assert text.get_fontsize() >= style.SMALLEST, f"{said} is too small"
        whole = figure.bbox.padded(1)
        assert box.x0 >= whole.x0 and box.x1 <= whole.x1, f"{said} is cut off at a side"
        assert box.y0 >= whole.y0 and box.y1 <= whole.y1, f"{said} is cut off above or below"
        if text.get_rotation() % 90:
            continue  # the boxes of slanted texts overlap where the texts do not
        for other, there in boxes[index + 1 :]:
            apart = not box.padded(-1).overlaps(there.padded(-1))
            assert apart, f"{said} covers {other.get_text()!r}"


@pytest.mark.many(2)
@pytest.mark.parametrize("name", [*RESULTS, *DIRECT])
def test_all_texts_can_be_read_in_one_column(name: str) -> None:
    found = every(1, name)
    for called, figure in found.items():
        assert figure.get_figwidth() == style.WIDTHS[1] == 3.3
        check(called, figure)


SOME = 4


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "wide" in metafunc.fixturenames:
        size = metafunc.config.getoption("--campaign-size") or SOME
        metafunc.parametrize("wide", [*DIRECT, *RESULTS][:size])


@pytest.mark.campaign
def test_all_texts_can_be_read_in_two_columns(wide: str) -> None:
    for called, figure in every(2, wide).items():
        check(called, figure)
