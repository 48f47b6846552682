"""Figures of responses, lens, attribution, agreement and recalibration: what is drawn where."""

from __future__ import annotations

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from lesion_tables import STAGES, deep, drawn, several
from matplotlib.figure import Figure

from resnet_probe import figures
from resnet_probe.errors import ProbeError
from resnet_probe.figures.agreement import votes
from resnet_probe.figures.attribution import interactions
from resnet_probe.figures.lens import depth_of_answer
from resnet_probe.figures.responses import PANELS
from resnet_probe.results import FORMATS, Result, save_figure

BLOCKS = 9


def all_of(study: str, table: pd.DataFrame) -> dict[str, Figure]:
    return figures.draw_all(Result(study, table, {}))


STAGE = np.repeat(["1", "2", "3"], 3)


def estimates(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"value": values, "ci_low": values - 0.1, "ci_high": values + 0.1}


def responses_of(arch: str = "resnet20") -> pd.DataFrame:
    layers = pd.DataFrame({
        "place": "layer", "number": np.arange(1, 20), "block": [0, *np.repeat(range(1, 10), 2)],
        "stage": ["", *np.repeat(STAGE, 2)], "quantity": "response_std",
        **estimates(np.linspace(0.5, 2, 19)[::-1] + np.tile([0, 0.3], 10)[:19]),
    })  # fmt: skip
    blocks = [
        pd.DataFrame({
            "place": "block", "number": range(1, 10), "block": range(1, 10), "stage": STAGE,
            "quantity": name, **estimates(np.linspace(1, 2, BLOCKS)), "q05": 0.5, "q95": 2.5,
        })
        for name in (*(quantity for quantity, _, _ in PANELS.values()), "dead_pct")
    ]  # fmt: skip
    return pd.concat([layers, *blocks], ignore_index=True).assign(arch=arch, images=64)


def lens_of(renewed: bool = True) -> pd.DataFrame:
    share = np.linspace(10, 100, BLOCKS + 1)
    table = pd.DataFrame({"block": range(BLOCKS + 1), "stage": ["", *STAGE], "images": 50})
    for kind in ("", "recalibrated_"):
        for name, unit in (("accuracy", "pct"), ("agreement", "pct"), ("entropy", "nats")):
            for end, shift in (("", 0), ("low_", -3), ("high_", 3)):
                values = share + shift if kind == "" or renewed else np.nan
                table[f"{kind}{name}_{end}{unit}"] = values
    return table


def attribution_of() -> pd.DataFrame:
    parts = []
    for metric, unit in (("accuracy", "percentage points"), ("loss", "nats"), ("margin", "logits")):
        place = {"metric": metric, "unit": unit, "images": 50}
        for method in ("ablation", "shapley", "gradients"):
            parts.append(pd.DataFrame({
                "method": method, "block": range(1, 10), "stage": STAGE,
                **estimates(np.arange(9.0)), **place,
            }))  # fmt: skip
        pairs = np.array(list(combinations(range(1, 10), 2)))
        parts.append(pd.DataFrame({
            "method": "interactions", "block": pairs[:, 0], "other": pairs[:, 1], "stage": "1",
            **estimates(np.where(pairs[:, 0] == 1, 4.0, np.where(pairs[:, 0] == 2, -2.0, 0.0))),
            **place,
        }))  # fmt: skip
        for label in range(3):
            parts.append(pd.DataFrame({
                "method": "ablation", "block": range(1, 10), "stage": STAGE, "class": label,
                **estimates(np.arange(9.0) + label), **place,
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def agreement_of() -> pd.DataFrame:
    rows = [{"kind": "whole", "edits": 0, "quantity": "error_pct", "value": 6, "ci_low": 5,
             "ci_high": 7}]  # fmt: skip
    for k in range(1, 6):
        for name in ("error_pct", "averaged_error_pct", "error_correlation", "disagreement_pct"):
            value = {"kind": "lesioned", "edits": k, "quantity": name}
            rows.append({**value, "value": k, "ci_low": k - 0.2, "ci_high": k + 0.2})
    for i, j in combinations(range(1, 10), 2):
        rows.append({"kind": "pair", "edits": 1, "block": i, "other": j,
                     "quantity": "error_correlation", "value": 1 / j})  # fmt: skip
    return pd.DataFrame(rows).assign(images=50)


def recalibrated() -> pd.DataFrame:
    table = deep()
    return table.assign(**{f"recalibrated_{c}": table[c] / 2
                           for c in ("error_pct", "ci_low_pct", "ci_high_pct")})  # fmt: skip


TABLES = {
    "responses": responses_of,
    "lens": lens_of,
    "attribute": attribution_of,
    "agreement": agreement_of,
    "lesion": recalibrated,
}
NAMES = {
    "responses": {"figure", "blocks"},
    "lens": {"figure"},
    "attribute": {"figure", "classes", "interactions"},
    "agreement": {"figure", "pairs"},
    "lesion": {"figure", "recalibrated"},
}


@pytest.mark.many(2)
@pytest.mark.parametrize("study", TABLES)
@pytest.mark.parametrize("columns", [1, 2])
def test_every_study_draws_and_saves_its_figures(study, columns, tmp_path):
    identity = {"identity": {"arch": "resnet20", "data": "digits"}}
    before = dict(mpl.rcParams)
    found = figures.draw_all(Result(study, TABLES[study](), identity), columns=columns)
    assert set(found) == NAMES[study]
    assert dict(mpl.rcParams) == before
    for name, figure in found.items():
        assert figure.get_figwidth() == (3.3 if columns == 1 else 7.0)
        for suffix in FORMATS[:columns]:
            save_figure(figure, tmp_path / f"{name}.{suffix}")
            assert (tmp_path / f"{name}.{suffix}").stat().st_size > 5_000
        for ax in figure.axes:
            assert ax.get_xlabel() or ax.get_label() == "<colorbar>"
            assert ax.get_ylabel()
    assert figures.draw(Result(study, TABLES[study](), identity)) is not None


def test_layers_in_order_and_sorted():
    table = responses_of()
    order, ranked = all_of("responses", table)["figure"].axes
    values = table[table["place"] == "layer"]["value"].to_numpy()
    np.testing.assert_allclose(drawn(order, "resnet20")[:, 1], values)
    line = next(line for line in ranked.lines if len(line.get_xdata()) == 19)
    np.testing.assert_allclose(line.get_ydata(), np.sort(values)[::-1])
    marks = next(line for line in order.lines if line.get_marker() == "D")
    assert list(marks.get_xdata()) == [2, 8, 14]
    assert order.get_ylabel() == "std of the response (95 % CI)"


def test_several_networks_are_told_apart_without_colour():
    both = pd.concat([responses_of("resnet20"), responses_of("plain20").assign(value=3.0)])
    order = all_of("responses", both)["figure"].axes[0]
    handles, labels = order.get_legend_handles_labels()
    assert labels == ["resnet20", "plain20", "first layer of a stage"]
    looks = {(handle.get_linestyle(), handle.get_marker()) for handle in handles}
    assert len(looks) == 3
    blocks = all_of("responses", both)["blocks"].axes
    assert {ax.get_xlabel() for ax in blocks} == {"depth (share of the blocks)"}


def test_panels_without_values_are_left_out():
    table = responses_of()
    plain = table.assign(value=table["value"].where(~table["quantity"].isin(["ratio"])))
    assert len(all_of("responses", table)["blocks"].axes) == len(PANELS)
    assert len(all_of("responses", plain)["blocks"].axes) == len(PANELS) - 1


def test_the_lens_over_all_depths():
    share, entropy = all_of("lens", lens_of())["figure"].axes
    np.testing.assert_allclose(drawn(share, "answers right")[:, 1], np.linspace(10, 100, 10))
    assert drawn(share, "answers as the whole network")[0].tolist() == [0, 10]
    assert "answers right, statistics re-estimated" in share.get_legend_handles_labels()[1]
    assert entropy.get_ylabel() == "entropy (nats)"
    bare = all_of("lens", lens_of(renewed=False))["figure"].axes[0]
    assert len(bare.get_legend_handles_labels()[1]) == 2


def test_shares_classes_and_pairs():
    found = all_of("attribute", attribution_of())
    accuracy, loss, margin = found["figure"].axes
    assert [ax.get_ylabel() for ax in (accuracy, loss, margin)] == [
        "percentage points", "nats", "logits",
    ]  # fmt: skip
    assert drawn(accuracy, "Shapley value").tolist() == [[b, b - 1] for b in range(1, 10)]
    image = found["classes"].axes[0].images[0]
    assert np.asarray(image.get_array()).shape == (3, 9)
    assert image.get_array()[2, 8] == 10
    ax = found["interactions"].axes[0]
    filled = [c for c in ax.collections if len(c.get_offsets()) == 8]
    assert len(filled) == 2  # block 1 with the eight others, above and below the diagonal
    above = {tuple(p) for p in filled[0].get_offsets().tolist()}
    assert above == {(float(b), 1.0) for b in range(2, 10)}
    assert "largest 4 percentage points" in ax.get_title(loc="left")


def test_a_few_large_interactions_do_not_hide_the_others():
    pairs = np.array(list(combinations(range(1, 13), 2)))
    values = np.where(pairs[:, 0] == 1, 100.0, 1.0 + pairs[:, 1] / 100)
    rows = pd.DataFrame({
        "method": "interactions", "metric": "accuracy", "unit": "points", "images": 50,
        "block": pairs[:, 0], "other": pairs[:, 1], "stage": "1", **estimates(values),
    })  # fmt: skip
    table = pd.concat([rows, rows.assign(metric="margin")], ignore_index=True)
    ax = interactions(table).axes[0]
    sizes = next(c for c in ax.collections if len(c.get_offsets()) == len(pairs)).get_sizes()
    full = np.quantile(values, 0.9)
    np.testing.assert_allclose(sizes / sizes.max(), np.minimum(values / full, 1))
    assert f"accuracy, full from {full:.3g} points on" in ax.get_title(loc="left")


def test_votes_and_pairs():
    found = all_of("agreement", agreement_of())
    error = found["figure"].axes[0]
    points = [[k, k] for k in range(1, 6)]
    assert drawn(error, "average of their outputs").tolist() == points
    assert "whole network, 6.00 %" in error.get_legend_handles_labels()[1]
    grid = found["pairs"].axes[0].images[0].get_array()
    assert grid[2, 8] == grid[8, 2] == pytest.approx(1 / 9)
    assert np.ma.getmaskarray(grid).diagonal().all() or np.isnan(np.asarray(grid).diagonal()).all()


def test_recalibrated_beside_trained():
    ax = figures.recalibrated_errors(recalibrated()).axes[0]
    stale = drawn(ax, "statistics of the whole network (95 % CI)")
    own = drawn(ax, "statistics re-estimated after the lesion (95 % CI)")
    assert len(stale) == len(own) == sum(STAGES)
    np.testing.assert_allclose(own[:, 1], stale[:, 1] / 2)
    labels = ax.get_legend_handles_labels()[1]
    assert "baseline, 6.00 %" in labels and "baseline, re-estimated, 3.00 %" in labels


@pytest.mark.parametrize("tau", [np.nan, np.repeat(np.linspace(1, 0.7, 5), 30)])
def test_recalibrated_draws_are_medians(tau):
    table = several("permute" if not np.isscalar(tau) else "delete", range(1, 6), tau=tau)
    table["recalibrated_error_pct"] = table["error_pct"] / 2
    ax = figures.recalibrated_errors(table).axes[0]
    found = drawn(ax, "statistics of the whole network, median")
    by = "edits" if np.isscalar(tau) else "tau"
    expected = table.iloc[1:].groupby(by)["error_pct"].median()
    np.testing.assert_allclose(found[:, 1], expected)
    assert ax.xaxis_inverted() == (by == "tau")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (figures.layer_responses, "no rows of weight layers"),
        (figures.block_responses, "no rows of blocks"),
    ],
)
def test_tables_of_something_else_are_refused(function, message):
    other = pd.DataFrame({"place": ["network"], "stage": [""]})
    with pytest.raises(ProbeError, match=message):
        function(other)
    with pytest.raises(ProbeError, match="is it the table of a lens"):
        depth_of_answer(pd.DataFrame({"block": [0]}))
    with pytest.raises(ProbeError, match="no re-estimated statistics"):
        figures.recalibrated_errors(deep())
    with pytest.raises(ProbeError, match="no lesioned networks"):
        votes(pd.DataFrame({"kind": ["whole"], "edits": [0]}))


@pytest.mark.parametrize("study", TABLES)
def test_a_study_is_drawn_into_axes_of_the_users_own(study):
    result = Result(study, TABLES[study](), {})
    panels = sum(bool(ax.get_subplotspec()) for ax in figures.draw(result).axes)
    with mpl.rc_context({"axes.linewidth": 5, "font.size": 13}):
        theirs = Figure()
        axes = theirs.subplots(2, panels, squeeze=False)[0]
        given = axes[0] if panels == 1 else axes
        before = dict(mpl.rcParams)
        assert figures.draw(result, ax=given) is given
        assert dict(mpl.rcParams) == before
        theirs.draw_without_rendering()
    assert all(ax.has_data() for ax in axes) and not theirs.legends
    assert not any(ax.has_data() for ax in theirs.axes[panels : 2 * panels])
    with pytest.raises(ProbeError, match=rf"ax= has {panels + 1} axes: the figure of this table"):
        figures.draw(result, ax=list(theirs.axes[: panels + 1]))
