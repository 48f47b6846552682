"""The figure of single deletions: what is drawn, where, and on which scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lesion_tables import STAGES, axes, deep, drawn, numbers, single

from resnet_probe import figures, published
from resnet_probe.findings.verdict import changes


def test_every_block_is_drawn_where_it_belongs() -> None:
    table = deep()
    figure = figures.single_deletion(table, title="a title")
    ax = axes(figure)
    unsure = "undecided"
    labels = ("one block deleted (95 % CI)", unsure, "stage transition")
    points = {label: drawn(ax, label) for label in labels}
    assert [len(points[label]) for label in labels] == [2, 50, 2]
    assert points["stage transition"].tolist() == [[19, 12.2], [37, 12.1]]
    found = np.concatenate(list(points.values()))
    expected = table.iloc[1:].assign(block=np.arange(1, 55))[["block", "error_pct"]]
    np.testing.assert_allclose(found[found[:, 0].argsort()], expected)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("block deleted", "error (%, log scale)")
    assert figure.get_suptitle() == "a title"


def test_markers_say_what_is_shown_of_all_blocks_together() -> None:
    ax = axes(figures.single_deletion(deep()))
    words = changes(deep())
    harmful = drawn(ax, "one block deleted (95 % CI)")[:, 0].astype(int).tolist()
    assert harmful == [1, 11] and (words[harmful] == "harmful").all()
    assert len(drawn(ax, "undecided")) == 50
    sure = single(np.full(54, 6.0), STAGES, images=100_000)
    ax = axes(figures.single_deletion(sure))
    assert len(drawn(ax, "shown harmless")) == 52 and (changes(sure)[1:] == "harmless").all()


def test_intervals_reach_from_low_to_high() -> None:
    table = deep()
    ax = axes(figures.single_deletion(table))
    groups: list[Any] = ax.containers
    bars = [bar for group in groups for bar in group.lines[2][0].get_segments()]
    ends = sorted((*bar[0], bar[1, 1]) for bar in bars)
    expected = table.iloc[1:].assign(block=np.arange(1, 55))
    np.testing.assert_allclose(ends, expected[["block", "ci_low_pct", "ci_high_pct"]])


def test_the_baseline_is_a_line_with_a_band() -> None:
    table = deep()
    ax = axes(figures.single_deletion(table))
    np.testing.assert_allclose(drawn(ax, "baseline, 6.00 %")[:, 1], 6.0)
    band = ax.patches[-1].get_extents().transformed(ax.transData.inverted())
    ends = [table["ci_low_pct"][0], table["ci_high_pct"][0]]
    assert [band.y0, band.y1] == pytest.approx(ends)


def test_only_the_worst_blocks_are_numbered() -> None:
    ax = axes(figures.single_deletion(deep()))
    assert sorted(numbers(ax), key=int) == ["1", "11", "19", "37"]
    table = deep().assign(joint_low_pct=-1.0, joint_high_pct=1.0, joint_inside_margin=1.0)
    assert numbers(axes(figures.single_deletion(table))) == []
    uniform = single(np.linspace(88, 91, 12), [12], base=7)
    assert numbers(axes(figures.single_deletion(uniform))) == []


def test_transitions_can_be_given() -> None:
    table = single(np.full(54, 9.0), STAGES)
    ax = axes(figures.single_deletion(table, transitions=(5, 6)))
    assert drawn(ax, "stage transition")[:, 0].tolist() == [5, 6]
    ax = axes(figures.single_deletion(single(np.full(9, 9.0), [9])))
    assert "stage transition" not in ax.get_legend_handles_labels()[1]


def test_stages_are_named_and_shaded() -> None:
    ax = axes(figures.single_deletion(deep()))
    names = {
        text.get_text(): text.get_position()[0] for text in ax.texts if text.get_text()[0] == "s"
    }
    assert names == {"stage 1": 9.5, "stage 2": 27.5, "stage 3": 45.5}
    ground = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (ground.x0, ground.x1) == pytest.approx((18.5, 36.5))


def test_a_narrow_stage_has_a_short_name() -> None:
    table = single(np.full(66, 22.5), [3, 24, 36, 3], base=21.65)
    ax = axes(figures.single_deletion(table, columns=1))
    assert [text.get_text() for text in ax.texts] == ["s1", "s2", "s3", "s4"]


def test_stages_may_come_as_numbers_or_names() -> None:
    table = deep()
    as_read = table.assign(stage=pd.to_numeric(table["stage"]))
    named = table.assign(stage=["", *np.repeat(["conv2", "conv3", "conv4"], 18)])
    assert axes(figures.single_deletion(as_read)).texts[1].get_text() == "stage 2"
    assert axes(figures.single_deletion(named)).texts[1].get_text() == "conv3"


def test_the_scale_fits_the_errors() -> None:
    assert axes(figures.single_deletion(deep())).get_yscale() == "log"
    chance = axes(figures.single_deletion(single(np.full(12, 90.0), [12], base=7)))
    assert chance.get_yscale() == "linear" and chance.get_ylim()[0] == 0
    close = axes(figures.single_deletion(single(np.full(54, 5.3), STAGES, base=5.13)))
    assert close.get_yscale() == "linear" and close.get_ylim()[0] > 4


def test_an_error_of_zero_has_a_place() -> None:
    error = np.full(54, 0.4)
    error[[0, 5]] = 88, 0
    ax = axes(figures.single_deletion(single(error, STAGES, base=0.3, images=1000)))
    assert ax.get_yscale() == "symlog" and ax.get_ylim()[0] < 0
    assert [6, 0] in drawn(ax, "undecided").tolist()
    assert 0 in ax.get_yticks()


def test_a_published_curve_is_stretched_to_our_length() -> None:
    compare = published.comparison("veit2016", "lesion")
    label = "Veit et al. 2016, 110 layers"
    same = drawn(axes(figures.single_deletion(deep(), compare=compare)), label)
    np.testing.assert_allclose(same, compare[["block", "error_pct"]])
    half = single(np.full(27, 9.0), [9, 9, 9])
    found = drawn(axes(figures.single_deletion(half, compare=compare)), label)
    assert found[[0, -1], 0].tolist() == [0.75, 27.25]
    ax = axes(figures.single_deletion(half, compare=compare))
    np.testing.assert_allclose(drawn(ax, "its baseline")[:, 1], 6.032)
