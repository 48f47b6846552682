"""All figures alike: chosen by the study, readable at their width, and without side effects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from lesion_tables import axes, deep, reordered, several
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from resnet_probe import figures
from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks
from resnet_probe.results import Result


def test_draw_chooses_by_the_study_and_says_what_of() -> None:
    identity = {"arch": "plain20", "data": "digits"}
    facts: dict[str, Any] = {"identity": identity, "residual": False}
    figure = figures.draw(Result("lesion", deep(), facts), columns=1)
    ax = axes(figure)
    assert ax.get_xlabel() == "layer deleted"
    assert figure.get_suptitle() == "plain20 on digits, 10,000 images"
    assert figure.get_size_inches()[0] == pytest.approx(3.3)
    data = {"data": "parquet:/x/cifar10/test-00000-of-00001.parquet", "data_note": "stored as JPEG"}
    facts = {"identity": {"arch": "resnet20", **data}}
    figure = figures.draw(Result("lesion", deep(), facts), compare="veit2016")
    assert figure.get_suptitle() == "resnet20 on cifar10-test (stored as JPEG), 10,000 images"
    assert any("Veit et al. 2016, 110 layers" in text.get_text() for text in axes(figure).texts)
    facts = {"identity": {"arch": "resnet110"}}
    counts = figures.draw(Result("lesion-counts", several("delete", range(1, 4)), facts))
    assert axes(counts).get_xlabel() == "blocks deleted"
    tau = figures.draw(Result("lesion-permute-tau", reordered(), {}))
    assert axes(tau).get_xlabel() == "Kendall τ to the trained order"


def test_tables_of_something_else_are_refused() -> None:
    with pytest.raises(ProbeError, match="no figure for the study 'none': there is lesion,"):
        figures.draw(Result("none", deep(), {}))
    with pytest.raises(ProbeError, match="no column 'stage'"):
        figures.single_deletion(deep().drop(columns="stage"))
    with pytest.raises(ProbeError, match="0 baseline rows"):
        figures.single_deletion(deep().iloc[1:])
    with pytest.raises(ProbeError, match="the baseline alone"):
        figures.multi_edit(deep().iloc[:1])
    with pytest.raises(ProbeError, match="other edits than single deletions"):
        figures.single_deletion(several("delete", range(1, 3)))
    with pytest.raises(ProbeError, match="no row of the table has a Kendall τ"):
        figures.permutation_tau(deep())
    with pytest.raises(ProbeError, match="1 or 2 columns, not 3"):
        figures.single_deletion(deep(), columns=3)


def shown_texts(figure: Figure) -> dict[Text, Bbox]:
    """Every text that a reader sees, with its box in pixels, without rendering the figure."""
    figure.draw_without_rendering()
    unseen = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        unseen |= {t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return {text: text.get_window_extent() for text in texts if text not in unseen}


def test_the_number_of_ticks_stays_readable() -> None:
    for last, expected in ((9, range(1, 10)), (27, [1, 5, 10, 15, 20, 25]), (600, None)):
        ax = Figure().subplots()
        marks.number(ax, 1, last)
        ticks = ax.get_xticks().tolist()
        assert len(ticks) <= 13 and (expected is None or ticks == list(expected))


def test_drawing_leaves_no_trace(tmp_path: Path) -> None:
    table = deep()
    kept = table.copy()
    with matplotlib.rc_context({"font.size": 13, "axes.linewidth": 5, "legend.fontsize": 3}):
        before = dict(matplotlib.rcParams)
        figure = figures.single_deletion(table)
        figures.save_figure(figure, tmp_path / "figure.svg")
        assert dict(matplotlib.rcParams) == before
    figures.save_figure(figures.single_deletion(table), tmp_path / "again.svg")
    pd.testing.assert_frame_equal(table, kept)
    svg = (tmp_path / "figure.svg").read_bytes()
    figures.save_figure(figure, tmp_path / "figure.pdf")
    assert b"/Type3" not in (tmp_path / "figure.pdf").read_bytes()  # fonts, not drawings of signs
    assert svg == (tmp_path / "again.svg").read_bytes() and b">stage 1</text>" in svg


def test_no_rows_are_no_warning() -> None:
    ax = Figure().subplots()
    for columns in (1, 2):
        marks.name_rows(ax, [], columns=columns)
        bottom, top = ax.get_ylim()
        assert bottom > top
