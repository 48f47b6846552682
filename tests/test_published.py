"""The published tables against the raw results that they come from."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import SHARED
from scipy.stats import kendalltau

from resnet_probe import published
from resnet_probe.claims import CLAIMS
from resnet_probe.errors import ProbeError

RAW = SHARED / "reference" / "veit2016"
needs_raw = pytest.mark.skipif(not RAW.exists(), reason="../shared/reference/veit2016 is not here")
STUDIES = ("lesion", "lesion-counts", "lesion-permute", "lesion-permute-tau", "lesion-duplicate")


def cells(kind: str, by: str = "edits") -> pd.DataFrame:
    table = published.load("veit2016_multi_edit")
    return table[(table["kind"] == kind) & (table["by"] == by)].set_index("edits")


@pytest.mark.parametrize("name", published.names())
def test_each_row_says_where_it_comes_from(name: str) -> None:
    table = published.load(name)
    assert table["source"].str.contains(r"arXiv \d{4}\.\d{5}|torchvision").all()
    text = table.select_dtypes(exclude="number")
    assert not text.isna().any().any()


def test_claims_are_named_once_and_have_numbers() -> None:
    claims = published.load("claims")
    assert claims["claim"].is_unique
    assert claims["value"].notna().all()
    assert set(claims["basis"]) == {"published", "derived"}


@pytest.mark.parametrize(
    ("kind", "medians"),
    [
        ("delete", {1: 6.5, 5: 9.6, 10: 25.1, 15: 57.8, 20: 73.9}),
        ("permute", {1: 6.9, 5: 19.8, 10: 46.2}),
        ("duplicate", {1: 6.3, 5: 7.5, 10: 9.6}),
    ],
)
def test_medians_by_number_of_edits(kind: str, medians: dict[int, float]) -> None:
    found = cells(kind)["median_pct"]
    for edits, median in medians.items():
        assert found[edits] == pytest.approx(median, abs=0.05)


def test_medians_by_tau() -> None:
    table = cells("permute", "tau").set_index("tau_low")["median_pct"]
    expected = {0.98: 6.6, 0.94: 12.8, 0.90: 30.4, 0.86: 53.4}
    assert {low: round(table[low], 1) for low in expected} == expected


def test_quantiles_are_in_order() -> None:
    for name in ("veit2016_multi_edit", "veit2016_depths"):
        table = published.load(name)
        columns = ["least_pct", "q1_pct", "median_pct", "q3_pct", "worst_pct"]
        assert (table[columns].diff(axis=1).iloc[:, 1:] >= 0).all().all()


def claims() -> pd.Series:
    return published.load("claims").set_index("claim")["value"]


@needs_raw
def test_medians_of_single_deletions_among_the_claims_are_the_raw_ones() -> None:
    raw = pd.read_csv(RAW / "single_deletion.csv").groupby("model")["top1_error"]
    table = claims()
    found = [name for name in table.index if name.endswith("/delete/median")]
    assert len(found) == 11
    for name in found:
        arch = name.split("/")[1]
        errors = raw.get_group(arch)  # of ResNet-152 the four projection blocks are not in it
        assert table[name] == pytest.approx(errors.median(), abs=0.006), name
    worst = table["veit2016/stochastic-depth-110/delete/worst"]
    assert worst == raw.get_group("stochastic-depth-110").max()


@needs_raw
@pytest.mark.parametrize(
    ("kind", "name"), [("delete", "delete-k"), ("permute", "permute"), ("duplicate", "duplicate-k")]
)
def test_medians_of_several_edits_among_the_claims_are_the_raw_ones(kind: str, name: str) -> None:
    raw = pd.read_csv(RAW / "multi_edit.csv").query("model == 'preresnet110' and kind == @kind")
    by_count, table = raw.groupby("edits")["top1_error"], claims()
    prefix = f"veit2016/preresnet110/{name}/"
    counts = [key.removeprefix(prefix) for key in table.index if key.startswith(prefix)]
    counts = [key for key in counts if key.isdecimal()]
    assert len(counts) >= 3
    for count in counts:
        errors = by_count.get_group(int(count))
        assert table[prefix + count] == pytest.approx(errors.median(), abs=1e-4)
    if kind == "delete":
        ends = {"p10": 0.1, "q1": 0.25, "q3": 0.75, "p90": 0.9}
        found = table[[f"{prefix}10/{end}" for end in ends]].tolist()
        assert found == pytest.approx(by_count.get_group(10).quantile(list(ends.values())).tolist())


def test_medians_by_tau_among_the_claims_are_those_of_their_table() -> None:
    bins = published.comparison("veit2016", "lesion-permute-tau").set_index("tau_low")["median_pct"]
    for name, value in claims().filter(like="/permute/tau-").items():
        assert value == bins[float(str(name).rpartition("-")[2])]


def test_the_rule_on_ten_deletions_asks_for_the_published_percentiles() -> None:
    (rule,) = (claim for claim in CLAIMS if claim.name == "veit2016/delete-10")
    prefix = "veit2016/preresnet110/delete-k/10"
    assert [rule.bound.low, rule.bound.high] == claims()[
        [f"{prefix}/p10", f"{prefix}/p90"]
    ].tolist()


@needs_raw
def test_single_deletions_are_the_raw_ones() -> None:
    raw = pd.read_csv(RAW / "single_deletion.csv").set_index("block").sort_index()
    for depth in (20, 32, 44, 56, 110):
        theirs, blocks = raw[raw["model"] == f"preresnet{depth}"], (depth - 2) // 2
        table = published.comparison("veit2016", "lesion", blocks).set_index("block")
        assert table.index.tolist() == list(range(1, blocks + 1))
        assert table["error_pct"].tolist() == theirs["top1_error"].tolist()
        assert set(table["baseline_pct"]) == set(theirs["baseline_top1_error"])
        assert table.groupby("stage").size().tolist() == [blocks // 3] * 3
        assert set(table["label"]) == {f"Veit et al. 2016, {depth} layers"}


def test_the_curve_beside_ours_is_that_of_the_same_depth_or_none() -> None:
    for blocks in (9, 15, 21, 27, 54):
        assert published.compared("veit2016", "lesion", blocks)
        assert published.compared("veit2016", "lesion-counts", blocks) == (blocks == 54)
    assert not published.compared("veit2016", "lesion", 12)
    with pytest.raises(ProbeError, match=r"of 9, 15, 21, 27 and 54 blocks, not of 12$"):
        published.comparison("veit2016", "lesion", 12)


@needs_raw
def test_depths_are_quantiles_of_the_raw_results() -> None:
    raw = pd.read_csv(RAW / "single_deletion.csv")
    for row in published.load("veit2016_depths").itertuples():
        errors = raw[raw["model"] == row.arch].set_index("block")["top1_error"]
        quartiles = errors.quantile([0, 0.25, 0.5, 0.75, 1]).tolist()
        found = [row.least_pct, row.q1_pct, row.median_pct, row.q3_pct, row.worst_pct]
        assert found == pytest.approx(quartiles, abs=1e-4)
        assert (row.n, row.worst_block) == (len(errors), errors.idxmax())


@needs_raw
def test_multi_edits_are_quantiles_of_the_raw_results() -> None:
    raw = pd.read_csv(RAW / "multi_edit.csv").query("model == 'preresnet110'")
    for kind, runs in raw.groupby("kind"):
        expected = runs.groupby("edits")["top1_error"].describe()
        found = cells(str(kind))
        assert found["n"].tolist() == expected["count"].tolist()
        for ours, theirs in (("q1_pct", "25%"), ("median_pct", "50%"), ("q3_pct", "75%")):
            assert found[ours].tolist() == pytest.approx(expected[theirs].tolist(), abs=1e-4)


@needs_raw
def test_tau_bins_are_quantiles_of_the_raw_results() -> None:
    raw = pd.read_csv(RAW / "multi_edit.csv").query("model == 'preresnet110'")
    runs = raw[raw["kind"] == "permute"]
    tau = runs["detail"].map(tau_of_swaps)
    for row in published.comparison("veit2016", "lesion-permute-tau").itertuples():
        inside = runs["top1_error"][(tau >= row.tau_low) & (tau < row.tau_high)]
        assert row.n == len(inside)
        expected = inside.quantile([0.25, 0.5, 0.75]).tolist()
        assert [row.q1_pct, row.median_pct, row.q3_pct] == pytest.approx(expected, abs=1e-4)


def tau_of_swaps(detail: str) -> float:
    order = list(range(54))
    for swap in detail.split():
        first, second = (int(block) - 1 for block in swap.split("-"))
        order[first], order[second] = order[second], order[first]
    return kendalltau(range(54), order).statistic


@pytest.mark.parametrize("study", STUDIES)
def test_every_lesion_study_has_something_to_compare_with(study: str) -> None:
    table = published.comparison("veit2016", study)
    rows = {"lesion": 54, "lesion-counts": 20, "lesion-permute-tau": 11}
    assert len(table) == rows.get(study, 10)
    assert set(table["label"]) == {"Veit et al. 2016, 110 layers"}


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ProbeError, match=r"'viet2016': there are .*did you mean veit2016"):
        published.comparison("viet2016", "lesion")
    with pytest.raises(ProbeError, match="did you mean veit2016_depths"):
        published.load("depths")
    with pytest.raises(ProbeError, match="no numbers for the study 'paths'"):
        published.comparison("veit2016", "paths")
