"""All figures alike: chosen by the study, readable at their width, and without side effects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from lesion_tables import axes, deep, reordered, several, single
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from resnet_probe import figures, published
from resnet_probe.errors import ProbeError
from resnet_probe.figures import marks
from resnet_probe.results import Result


def test_draw_chooses_by_the_study_and_says_what_of() -> None:
    identity = {"arch": "plain20", "data": "digits"}
    facts: dict[str, Any] = {"identity": identity, "residual": False}
    figure = figures.draw(Result("lesion", deep(), facts), columns=1)
    ax = axes(figure)
    assert ax.get_xlabel() == "layer deleted"
    assert ax.get_title(loc="left") == "plain20 on digits, 10,000 images"
    assert figure.get_size_inches()[0] == pytest.approx(3.4)
    data = {"data": "parquet:/x/cifar10/test-00000-of-00001.parquet", "data_note": "stored as JPEG"}
    facts = {"identity": {"arch": "resnet20", **data}}
    ax = axes(figures.draw(Result("lesion", deep(), facts), compare="veit2016"))
    title = "resnet20 on cifar10/test-00000-of-00001.parquet (stored as JPEG), 10,000 images"
    assert ax.get_title(loc="left") == title
    assert "Veit et al. 2016, 110 layers" in ax.get_legend_handles_labels()[1]
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


def every_figure(columns: int) -> dict[str, Figure]:
    many = pd.concat([several("delete", range(1, 21)), several("duplicate", range(1, 11)).iloc[1:]])
    plain = single(np.linspace(88, 98, 12), [2, 2, 3, 3, 2], base=7)
    long = single(np.linspace(21.7, 24, 66), [3, 24, 36, 3], base=21.65)
    both: dict[str, Any] = {
        "columns": columns,
        "title": "resnet110 on cifar10-lossless-test, 10,000 images",
    }

    def overlay(study: str) -> pd.DataFrame:
        return published.comparison("veit2016", study)

    return {
        "deep": figures.single_deletion(deep(), compare=overlay("lesion"), **both),
        "plain": figures.single_deletion(plain, unit="layer", **both),
        "long": figures.single_deletion(long, **both),
        "counts": figures.multi_edit(
            several("delete", range(1, 21)), compare=overlay("lesion-counts"), **both
        ),
        "panels": figures.multi_edit(many, **both),
        "tau": figures.permutation_tau(reordered(), compare=overlay("lesion-permute-tau"), **both),
    }


def shown_texts(figure: Figure) -> dict[Text, Bbox]:
    FigureCanvasAgg(figure).draw()
    unseen = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        unseen |= {t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return {text: text.get_window_extent() for text in texts if text not in unseen}


@pytest.mark.parametrize("columns", [1, 2])
def test_no_text_is_cut_off_or_covers_another(columns: int) -> None:
    for name, figure in every_figure(columns).items():
        boxes = list(shown_texts(figure).items())
        for index, (text, box) in enumerate(boxes):
            said = f"{name}: {text.get_text()!r}"
            assert box.x0 >= 0 and box.y0 >= 0, f"{said} is cut off"
            assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, f"{said} is cut off"
            for other, there in boxes[index + 1 :]:
                apart = not box.padded(-1).overlaps(there.padded(-1))
                assert apart, f"{said} covers {other.get_text()!r}"


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
    assert svg == (tmp_path / "again.svg").read_bytes() and b">stage 1</text>" in svg


def test_a_figure_needs_no_torch_and_opens_no_window() -> None:
    program = (
        "import sys, resnet_probe.figures; import matplotlib.pyplot as p;"
        "assert 'torch' not in sys.modules and p.get_fignums() == []"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
