"""An atlas: a list of networks, one table, one page; parts, a bad row, and going on."""

from __future__ import annotations

import functools
import math
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import unrendered

from resnet_probe import ProbeError, models
from resnet_probe.cli import main
from resnet_probe.findings import atlas as findings
from resnet_probe.findings.interactions import additive
from resnet_probe.findings.responses import score_of_cost, small_residuals
from resnet_probe.loading.request import Request
from resnet_probe.report import atlas as pages
from resnet_probe.report.page import compact
from resnet_probe.results import Result
from resnet_probe.runs import atlas as runs
from resnet_probe.runs.atlas import Atlas
from resnet_probe.runs.job import Job
from resnet_probe.stats import Estimate, rank_correlation, wilson

LIST = """\
name,family,arch,weights,twin,data,limit,normalize,studies
first,ours,"resnet:depth=14,width=4",tiny.pt,,digits,24,none,lesion responses
control,ours,"resnet:depth=8,width=4",initial:0,untrained,digits,24,none,"responses,interactions"
wrong,,resnet19,,,,,,
plain,,"plain:depth=8,width=4",initial:1,,digits,24,none,responses paths
"""
PREPARED = functools.cache(Request.prepared)
"""Each network is cut once, for all tests."""
EMPTY = '<svg viewBox="0 0 9 9"></svg>'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The list, with all runs and the atlas that the command has made of it."""
    folder = tmp_path_factory.mktemp("atlas")
    (folder / "networks.csv").write_text(LIST)
    torch.save(
        models.architecture("resnet:depth=14,width=4").build(seed=3).state_dict(),
        folder / "tiny.pt",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        asks = [
            each if each.study != "lesion" else runs.Ask("lesion", "lesion") for each in runs.ASKS
        ]
        patch.setattr(runs, "ASKS", tuple(asks))
        patch.setattr("resnet_probe.results.result.save_figure", unrendered)
        patch.setattr(pages, "svg_text", lambda figure: EMPTY)
        patch.setattr(Request, "prepared", lambda self: PREPARED(self))
        assert main(["atlas", "networks.csv", "--out", "whole"]) == 0
        yield folder


@pytest.fixture
def inside(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(pages, "svg_text", lambda figure: EMPTY)
    monkeypatch.setattr(Request, "prepared", lambda self: PREPARED(self))
    return place


def value(table, network, quantity):
    rows = table[(table["network"] == network) & (table["quantity"] == quantity)]
    assert len(rows) == 1
    return Estimate(*rows[["value", "low", "high"]].iloc[0])


def same(one, other):
    np.testing.assert_array_equal(np.array(one, float), np.array(other, float))


def test_its_numbers_are_those_of_the_single_studies(place):
    table = Result.load(place / "whole").table
    lesion = Result.load(place / "runs" / "lesion-resnet-depth-14-width-4-digits")
    responses = Result.load(place / "runs" / "responses-resnet-depth-14-width-4-digits")
    base, edited = lesion.table.iloc[0], lesion.table.iloc[1:]
    same(value(table, "first", "error"), base[["error_pct", "ci_low_pct", "ci_high_pct"]])
    same(value(table, "first", "ratio"), small_residuals(responses).estimate)
    same(value(table, "first", "influence"), score_of_cost(responses).estimate)
    worst = edited.sort_values("error_pct", kind="stable", ascending=False).iloc[0]
    assert value(table, "first", "worst").value == int(worst["blocks"])
    assert value(table, "first", "worst_stage").value == int(worst["stage"])
    few = sum(abs(change) <= 0.5 for change in edited["delta_pct"])
    assert value(table, "first", "harmless").value == pytest.approx(100 * few / 6)
    by_block = table[(table["network"] == "first") & (table["quantity"] == "block_change")]
    same(by_block["value"], edited["delta_pct"])
    drawn = Result.load(place / "runs" / "interactions-resnet-depth-8-width-4-digits")
    same(value(table, "control", "additive"), additive(drawn).estimate)
    assert value(table, "first", "blocks").value == 6 and value(table, "first", "width").value == 8
    whole = ~table["quantity"].isin(["block_change", "block_ratio"])
    assert (table.loc[whole, ["block", "stage"]] == 0).all(axis=None)
    same(by_block[["block", "stage"]], edited[["blocks", "stage"]])


def test_what_has_no_meaning_is_blank_with_its_reason(place):
    table = Result.load(place / "whole").table.set_index(["network", "quantity"]).sort_index()
    blank, why = table[table["value"].isna()], table["why"]
    assert (blank["why"] != "").all() and (table.loc[table["value"].notna(), "why"] == "").all()
    assert why["control", "error"] == findings.UNTRAINED
    assert why["first", "additive"] == "not asked for"
    assert "plain network" in why["plain", "short"]
    assert not table.loc["control", "trained"].any() and table.loc["first", "trained"].all()


def test_a_wrong_row_is_named_and_the_others_are_measured(inside, capsys):
    assert main(["atlas", "networks.csv", "--out", "whole"]) == 0
    said = capsys.readouterr().out
    assert "wrong is left out: row" not in said
    assert "wrong is left out: unknown architecture" in said
    assert said.count("there already") == 5 and "measured in" not in said
    rows = Result.load("whole").table.query("network == 'wrong'")
    assert len(rows) == 1 and "resnet19" in rows["why"].item()


@pytest.mark.parametrize(
    ("text", "asked", "says"),
    [
        ("arhc\nresnet20\n", True, "did you mean arch?"),
        ("name,limit\na,3\n", True, "no column arch"),
        ("arch\n", True, "lists no network: it has a header"),
        ("", True, "lists no network: it is empty"),
        ("\n", True, "lists no network: it is empty"),
        ("arch,limit,arch\nresnet20,3,resnet32\n", True, "has two columns 'arch'"),
        ("arch\n" + "a" * 200_000, True, "list of networks (field larger than"),
        ("arch,limit\nresnet20,few\n", False, "row 1: 'few' is no whole number"),
        ("arch,studies\nresnet20,lesions\n", False, "no study 'lesions'"),
        ("arch\nresnet20\nresnet20\n", False, "row 1 is called 'resnet20' too"),
        ("arch,limit\nresnet20,3,4\n", False, "more cells than there are columns"),
        ("arch,stream\nresnet20,perhaps\n", False, "neither yes nor no"),
    ],
)
def test_lists_that_are_none(tmp_path, text, asked, says):
    path = tmp_path / "list.csv"
    path.write_text(text)
    if asked:
        with pytest.raises(ProbeError, match=re.escape(says)):
            Atlas.read(path)
    else:
        assert says in Atlas.read(path).listed[-1].reason


def test_a_list_that_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    kinds = {"pipe.csv": "a named pipe", "/dev/zero": "a device", ".": "a folder",
             "no.csv": "there is no file"}  # fmt: skip
    for name, says in kinds.items():
        with pytest.raises(ProbeError, match=says):
            Atlas.read(tmp_path / name)


def test_a_part_without_a_network_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text("arch\nresnet20\n")
    assert main(["atlas", "one.csv", "--part", "2/2"]) == 2
    assert capsys.readouterr().err == "error: --part 2/2: the list has only 1 networks\n"
    assert [path.name for path in tmp_path.iterdir()] == ["one.csv"]


def test_an_atlas_without_a_network_is_refused(inside, capsys):
    Path("none.csv").write_text("arch\nresnet19\nresnet21\n")
    assert main(["atlas", "none.csv", "--out", "none"]) == 2
    assert "no network of the list could be measured" in capsys.readouterr().err
    assert not Path("none").exists() and not Path("none.html").exists()


def test_parts_put_together_are_the_one_run(inside, capsys):
    for part in ("1/2", "2/2"):
        assert main(["atlas", "networks.csv", "--part", part]) == 0
    parts = [f"runs/atlas-networks-part-{part}-of-2" for part in (1, 2)]
    names = [set(Result.load(folder).table["network"]) for folder in parts]
    assert names == [{"first", "wrong"}, {"control", "plain"}]
    assert main(["merge", parts[0], "--out", "merged"]) == 2
    assert "1 of 2 parts are missing: 2" in capsys.readouterr().err
    assert main(["merge", *reversed(parts), "--out", "merged"]) == 0
    for name in ("merged/table.csv", "merged.html"):
        assert Path(name).read_bytes() == Path(name.replace("merged", "whole")).read_bytes()
    whole, merged = (Result.load(folder) for folder in ("whole", "merged"))
    assert merged.identity == whole.identity
    assert merged.provenance["command"] == whole.provenance["command"]
    assert sorted(map(str, merged.provenance["runs"])) == sorted(map(str, whole.provenance["runs"]))


def test_a_killed_atlas_goes_on_where_it_was(inside, monkeypatch, tmp_path, capsys):
    obtain, begun = Job.obtain, []

    def killed(self, *given, **more):
        begun.append(self.study)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return obtain(self, *given, **more)

    for name in ("lesion", "responses"):
        folder = f"{name}-resnet-depth-14-width-4-digits"
        (tmp_path / "runs" / folder).parent.mkdir(exist_ok=True)
        (tmp_path / "runs" / folder).symlink_to(inside / "runs" / folder)
    for name in ("networks.csv", "tiny.pt"):
        (tmp_path / name).write_bytes((inside / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Job, "obtain", killed)
    assert main(["atlas", "networks.csv", "--out", "again"]) == 130
    assert not Path("again").exists()
    monkeypatch.setattr(Job, "obtain", obtain)
    assert main(["atlas", "networks.csv", "--out", "again"]) == 0
    assert capsys.readouterr().out.count("there already") == 4
    assert Path("again/table.csv").read_bytes() == (inside / "whole/table.csv").read_bytes()


def test_the_numbers_of_the_page_are_those_of_the_table(place):
    text, table = (place / "whole.html").read_text(), Result.load(place / "whole").table
    assert not re.findall(r'(?:src|href)="(?!#)[^"]', text)
    rows = re.findall(r'<th scope="row" data-sort="([^"]*)">(.*?)</tr>', text, re.DOTALL)
    assert [name for name, _ in rows] == ["first", "control", "plain"]
    for name, row in rows:
        cells = re.findall(r'<td data-sort="([^"]*)">([^<]*)(?:<small>([^<]*))?', row)
        assert len(cells) == 2 + len(pages.SHOWN)
        for (sort, shown, ends), column in zip(cells[2:], pages.SHOWN, strict=True):
            found = value(table, name, column.quantity)
            assert sort == ("" if math.isnan(found.value) else repr(float(found.value)))
            assert shown.startswith(compact(found.value))
            if not math.isnan(found.low):
                assert ends == f"{compact(found.low)} to {compact(found.high)}"


def networks_of(**columns):
    """A table of trained residual networks with these quantities."""
    rows = [
        {"network": f"n{place}", "trained": True, "residual": True, "data": data, "family": "",
         "arch": "", "weights": "", **findings.row(name, Estimate(number, number, number), "")}
        for name, numbers in columns.items() if name != "data"
        for place, (number, data) in enumerate(zip(numbers, columns["data"], strict=True))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_questions_are_answered_within_each_set_of_images():
    data = ["a"] * 8 + ["b"] * 8
    blocks = [3, 5, 9, 18, 27, 54, 60, 70] * 2
    rising = [1, 5, 4, 20, 18, 30, 33, 32, 61, 64, 63, 80, 78, 90, 95, 92]
    table = networks_of(data=data, blocks=blocks, width=[32.0] * 16, harmless=rising)
    depth, width = findings.with_depth(table), findings.with_width(table)
    assert depth.verdict == "holds" and depth.estimate.low > 0
    same(depth.estimate, rank_correlation(blocks, rising, groups=data))
    assert width.verdict == "undecided" and "all of them have 32 channels" in str(width.sentence)
    falling = networks_of(data=data, blocks=blocks, width=blocks, harmless=[-h for h in rising])
    assert findings.with_depth(falling).verdict == "fails"
    few = findings.with_depth(table[table["network"].isin(["n0", "n1", "n8", "n9"])])
    assert few.verdict == "undecided" and few.estimate.low < 0 < few.estimate.value
    # Between the sets alone there is a trend: it is no answer.
    apart = networks_of(data=data, blocks=[3] * 8 + [54] * 8, width=[1] * 16, harmless=rising)
    assert findings.with_depth(apart).verdict == "undecided"


def test_the_stage_of_the_worst_block_is_counted():
    data, first = ["a"] * 12, [1.0] * 10 + [2.0, 3.0]
    table = networks_of(data=data, blocks=[9] * 12, stages=[3] * 12, worst_stage=first)
    blocks = [
        {**row, "quantity": "block_change", "block": block, "stage": 1 + (block > 3) + (block > 6)}
        for row in table[table["quantity"] == "blocks"].to_dict("records") for block in range(1, 10)
    ]  # fmt: skip
    found = findings.stage_of_worst(pd.concat([table, pd.DataFrame(blocks)]))
    assert found.verdict == "holds"
    shown = found.sentence.numbers
    assert (shown["first"], shown["between"], shown["last"]) == (10, 1, 1)
    assert shown["share"] == pytest.approx(1000 / 12) and shown["sure"] == 12
    same([shown["share_low"], shown["share_high"]], 100 * np.array(wilson(10, 12)))
    assert shown["expected"] == pytest.approx(100 / 3)
    assert "cannot be said" in str(findings.stage_of_worst(table.iloc[:0]).sentence)


def test_ranks_within_groups_ignore_what_differs_between_them():
    random = np.random.default_rng(0)
    groups = np.repeat([0, 1], [12, 10])
    x, y = random.standard_normal((2, 22))
    found = rank_correlation(x + 100 * groups, y - 100 * groups, groups=groups)
    same(found, rank_correlation(x, y, groups=groups))
    one = rank_correlation(x, y)
    same(one, rank_correlation(x, y, groups=np.zeros(22)))
    missed = 0
    for _ in range(150):
        x, noise = random.standard_normal((2, 22))
        y = 0.4 * x + math.sqrt(1 - 0.4**2) * noise
        ends = rank_correlation(x + 5 * groups, y - 3 * groups, groups=groups)
        missed += not ends.low <= 6 / math.pi * math.asin(0.2) <= ends.high
    assert missed <= 0.05 * 150 + 3 * math.sqrt(0.05 * 0.95 * 150)
