"""The figures of path lengths: what is drawn, on which scale, and that it can be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_figures_style import shown_texts

from resnet_probe import figures
from resnet_probe.errors import ProbeError
from resnet_probe.findings import summarize_paths
from resnet_probe.results import Result
from resnet_probe.stats import path_lengths

COLUMNS = ["value", "ci_low", "ci_high", "relative", "relative_low", "relative_high"]
TITLE = "preresnet110 on cifar10-lossless/test-00000-of-00001.parquet, 10,000 images"


def rows(method: str, quantity: str, block: int, norms, blocks: int, spread=1.2) -> pd.DataFrame:
    value = np.asarray(norms, dtype=float)
    k = np.arange(len(value))
    ends = {"ci_low": value / spread, "ci_high": value * spread}
    relative = {"relative": value / 2, "relative_low": value / 2 / spread}
    return pd.DataFrame(
        {
            "method": method, "quantity": quantity, "block": block, "length": k,
            "paths_log10": path_lengths.log10_paths(blocks)[k],
            "paths_share": path_lengths.share_of_paths(blocks)[k],
            "value": value, **ends, **relative, "relative_high": value / 2 * spread,
        }
    )  # fmt: skip


def one(quantity: str, block: int, value: float) -> pd.DataFrame:
    return rows("exact", quantity, block, [value], 1).assign(length=pd.NA, paths_log10=np.nan)


def table_of(blocks: int = 54, stages: int = 3, factor: float = 0.2) -> pd.DataFrame:
    """As a study gives it, with norms that fall by `factor` with every block."""
    parts = []
    for block in range(blocks + 1):
        n = blocks if block == 0 else blocks + 1 - block
        k = np.arange(n + 1)
        sums = 10 ** path_lengths.log10_paths(n) * factor**k
        parts.append(rows("exact", "norm_of_sum", block, 2 * sums / sums.sum(), n))
        for quantity in ("gradient_norm", "rest_norm", "cosine", "near_cancellation"):
            parts.append(one(quantity, block, 0.3))
        if block == 0:
            parts.append(rows("exact", "share", 0, sums / sums.sum(), n))
            parts.append(rows("all", "rms_norm", 0, factor**k, n))
            parts.append(rows("sample", "mean_norm", 0, 0.9 * factor**k, n))
            parts.append(one("cancellation", 0, 1.4))
    table = pd.concat(parts, ignore_index=True)
    stage = (table["block"] - 1) // (blocks // stages) + 1
    stage = stage.clip(upper=stages).astype(int).astype(str)
    return table.assign(
        length=table["length"].astype("Int64"),
        name=[f"block{b}" if b else "input" for b in table["block"]],
        stage=np.where(table["block"] > 0, stage, ""),
        images=10_000,
        draws=0,
    )


def result_of(table: pd.DataFrame) -> Result:
    blocks = int(table["block"].max())
    identity = {"arch": "resnet110", "data": "digits"}
    return Result("paths", table, {"identity": identity, "blocks": blocks, "longest": blocks})


def curve(ax, label: str) -> np.ndarray:
    handles, labels = ax.get_legend_handles_labels()
    handle = handles[labels.index(label)]
    return np.asarray((handle[0] if isinstance(handle, tuple) else handle).get_xydata())


def test_the_four_panels_hold_what_they_say() -> None:
    table = table_of()
    figure = figures.path_lengths(table, title="a title")
    counts, norms, products, shares = figure.axes
    heights = [bar.get_height() for bar in counts.patches[-55:]]
    np.testing.assert_allclose(heights, 100 * path_lengths.share_of_paths(54))
    assert "2^{54}" in counts.get_title(loc="left")
    assert norms.get_yscale() == "log"
    k = np.arange(55)
    label = "single paths, all: root mean square (95 % CI)"
    np.testing.assert_allclose(curve(norms, label), np.stack([k, 0.2**k / 2], 1))
    found = curve(norms, "sum over all paths of a length (95 % CI)")
    sums = path_lengths.by_length(table, "exact", "norm_of_sum")["relative"]
    np.testing.assert_allclose(found[:, 1], sums)
    expected = 100 * path_lengths.carried(0.2**k, 54)
    np.testing.assert_allclose(curve(products, label)[:, 1], expected)
    share = path_lengths.by_length(table, "exact", "share")["value"]
    np.testing.assert_allclose(
        curve(shares, "sum over all paths of a length (95 % CI)")[:, 1], 100 * share
    )
    for ax in figure.axes:
        band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
        assert (band.x0, band.x1) == pytest.approx((4.5, 17.5))
        assert ax.get_xlim() == (-0.5, 54.5)


def test_only_what_was_measured_is_drawn() -> None:
    table = table_of(9)
    single = figures.path_lengths(table[table["method"] == "sample"])
    assert [ax.get_ylabel() for ax in single.axes] == [
        "share of all paths (%)", "norm / whole gradient", "share (%)",
    ]  # fmt: skip
    assert set(figures.draw_all(result_of(table[table["method"] == "all"]))) == {"figure"}
    assert set(figures.draw_all(result_of(table))) == {"figure", "depth", "terms"}
    with pytest.raises(ProbeError, match="no norm by path length"):
        figures.path_lengths(table.iloc[:0].assign(method="none"))
    with pytest.raises(ProbeError, match="no exact 'norm_of_sum'"):
        figures.path_depth(table[table["method"] == "all"])
    with pytest.raises(ProbeError, match="is it the table of paths"):
        figures.path_lengths(pd.DataFrame({"kind": ["delete"]}))


def test_a_truncated_table_knows_how_many_blocks_there_are() -> None:
    table = table_of()
    short = table[table["length"].isna() | (table["length"] <= 12)]
    assert figures.path_lengths(short).axes[0].get_xlim() == (-0.5, 54.5)


def test_the_picture_of_depth_holds_the_norms_of_every_block() -> None:
    table = table_of(27)
    figure = figures.path_depth(table, title="a title")
    mesh = figure.axes[0].collections[0]
    cells = np.ma.filled(mesh.get_array().astype(float), np.nan).reshape(28, 28)
    sums = table[(table["quantity"] == "norm_of_sum") & (table["block"] == 20)]
    np.testing.assert_allclose(cells[:9, 20], sums["relative"])
    assert np.isnan(cells[9:, 20]).all()
    line = figure.axes[0].get_lines()[0].get_xydata()
    np.testing.assert_array_equal(line[:, 0], np.arange(28))
    assert (np.diff(line[:, 1]) <= 0).all() and line[-1, 1] == 0
    assert figure.axes[0].get_xlim() == (-0.5, 27.5)


@pytest.mark.parametrize(("factor", "cut"), [(0.01, True), (3.0, False)])
def test_lengths_that_nobody_can_see_are_cut_off(factor: float, cut: bool) -> None:
    table = table_of(27, factor=factor)
    sums = table[table["quantity"] == "norm_of_sum"]
    visible = sums[sums["relative"] >= 1e-4]["length"].max()
    top = figures.path_depth(table).axes[0].get_ylim()[1]
    assert visible < top and (top < 27) == cut


def test_the_two_terms_by_block() -> None:
    figure = figures.path_terms(table_of(9))
    norms, cosine, near = figure.axes
    identity = table_of(9).query("quantity == 'norm_of_sum' and length == 0")["relative"]
    np.testing.assert_allclose(curve(norms, "identity term (no branch)")[:, 1], identity)
    assert curve(norms, "the rest (1 branch or more)")[:, 1] == pytest.approx(0.15)
    assert curve(cosine, "cosine between the two")[:, 1] == pytest.approx(0.3)
    assert near.get_lines()[0].get_ydata() == pytest.approx(30)


def test_images_without_gradient_do_not_stop_the_figure() -> None:
    table = table_of(9).assign(relative=np.nan, relative_low=np.nan, relative_high=np.nan)
    assert set(figures.draw_all(result_of(table))) == {"figure"}


@pytest.mark.parametrize(("blocks", "columns"), [(9, 1), (333, 2)])
def test_no_text_is_cut_off_or_covers_another(columns: int, blocks: int) -> None:
    table = table_of(blocks)
    drawn = (figures.path_lengths, figures.path_depth, figures.path_terms)
    for draw in drawn:
        figure = draw(table, title=TITLE, columns=columns)
        boxes = list(shown_texts(figure).items())
        for index, (text, box) in enumerate(boxes):
            said = f"{draw.__name__}: {text.get_text()!r}"
            assert box.x0 >= 0 and box.y0 >= 0, f"{said} is cut off"
            assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, f"{said} is cut off"
            for other, there in boxes[index + 1 :]:
                apart = not box.padded(-1).overlaps(there.padded(-1))
                assert apart, f"{said} covers {other.get_text()!r}"


def test_the_summary_says_what_the_table_holds() -> None:
    said = summarize_paths(result_of(table_of()))
    assert "54 blocks, 2^54 paths, of 27 blocks on average (standard deviation 3.67)" in said
    assert said.count("times 0.2 with every block (log-linear, R² 1.000)") == 2
    peak = path_lengths.carried(0.2 ** np.arange(55), 54).argmax()
    assert said.count(f"count × norm peaks at {peak} blocks; 90 % in ") == 2
    window = path_lengths.window(path_lengths.carried(0.2 ** np.arange(55), 54), 0.95)
    assert f"95 % in {window.first}–{window.last}" in said
    assert "lies in the published window of 5–17" in said
    assert "add up to 1.4 times the gradient's" in said
    assert "near −1 times the identity term (within 0.5) for at most 30.0 %" in said
    few = summarize_paths(result_of(table_of(9)))
    assert "published" not in few
