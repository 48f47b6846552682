"""The figures of several edits at once: boxes, panels, and the order of the blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lesion_tables import axes, drawn, reordered, several

from resnet_probe import figures, published, stats


def test_boxes_are_the_quartiles_of_the_draws() -> None:
    table = several("delete", range(1, 6))
    ax = axes(figures.multi_edit(table))
    expected = (
        table.iloc[1:].groupby("edits")["error_pct"].quantile(np.array([0.25, 0.5, 0.75])).unstack()
    )
    boxes = [patch.get_path().get_extents() for patch in ax.patches if patch.get_zorder() == 3]
    assert [box.y0 for box in boxes] == pytest.approx(expected[0.25].tolist())
    assert [box.y1 for box in boxes] == pytest.approx(expected[0.75].tolist())
    middles = [(box.x0 + box.x1) / 2 for box in boxes]
    assert middles == pytest.approx([1, 2, 3, 4, 5])
    medians = [
        np.asarray(line.get_xydata())[0, 1] for line in ax.lines if line.get_linewidth() == 1.4
    ]
    assert medians == pytest.approx(expected[0.5].tolist())
    assert "30 draws each" in ax.get_legend_handles_labels()[1]


@pytest.mark.parametrize(
    ("study", "kind", "label"),
    [
        ("lesion-counts", "delete", "blocks deleted"),
        ("lesion-permute", "permute", "swaps inside stages"),
        ("lesion-duplicate", "duplicate", "blocks duplicated"),
    ],
)
def test_published_medians_stand_beside_the_boxes(study: str, kind: str, label: str) -> None:
    compare = published.comparison("veit2016", study)
    ax = axes(figures.multi_edit(several(kind, range(1, 6)), compare=compare))
    assert ax.get_xlabel() == label
    found = drawn(ax, "Veit et al. 2016, 110 layers")
    np.testing.assert_allclose(found[:, 0] // 1, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(found[:, 1], compare["median_pct"].iloc[:5])


def test_each_kind_of_edit_has_its_panel() -> None:
    both = pd.concat(
        [several("delete", range(1, 4)), several("duplicate", range(1, 4), 7).iloc[1:]]
    )
    studies = ("lesion-counts", "lesion-duplicate")
    compare = pd.concat([published.comparison("veit2016", study) for study in studies])
    panels = figures.multi_edit(both, unit="layer", compare=compare).axes
    for ax, first in zip(panels, (6.53, 6.33), strict=True):
        found = drawn(ax, "Veit et al. 2016, 110 layers")
        assert len(found) == 3 and found[0, 1] == pytest.approx(first)
    assert [ax.get_xlabel() for ax in panels] == ["layers deleted", "layers duplicated"]
    assert "7–30 draws each" in panels[0].get_legend_handles_labels()[1]


def test_orders_run_from_the_trained_one_at_the_left() -> None:
    table = reordered()
    compare = published.comparison("veit2016", "lesion-permute-tau")
    ax = axes(figures.permutation_tau(table, compare=compare))
    left, right = ax.get_xlim()
    assert left > 1 > 0.7 > right
    medians = table.iloc[1:].groupby("tau")["error_pct"].median()
    np.testing.assert_allclose(
        drawn(ax, "median (95 % CI)"), np.column_stack([medians.index, medians])
    )
    handles, labels = ax.get_legend_handles_labels()
    bars = handles[labels.index("median (95 % CI)")].lines[2][0].get_segments()
    by_tau = [stats.median_interval(rows) for _, rows in table.iloc[1:].groupby("tau")["error_pct"]]
    ends = [segment[:, 1] for segment in bars]
    np.testing.assert_allclose(ends, [[each.low, each.high] for each in by_tau])
    assert len(drawn(ax, "one permutation")) == 70
    found = drawn(ax, "Veit et al. 2016, 110 layers")
    assert found[0] == pytest.approx([0.99, 6.56]) and len(found) == 10  # one bin holds one run


def test_many_values_of_tau_are_put_into_bins() -> None:
    tau = np.random.default_rng(1).uniform(0.8, 1, 400)
    table = several("permute", range(1, 2), 400, tau=tau)
    found = drawn(axes(figures.permutation_tau(table)), "median (95 % CI)")
    np.testing.assert_allclose(found[:, 0], np.arange(0.81, 1, 0.02))
    inside = table.iloc[1:]["error_pct"][(tau >= 0.9) & (tau < 0.92)]
    assert found[5, 1] == pytest.approx(inside.median())
