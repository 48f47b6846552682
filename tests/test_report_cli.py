"""`report` as a user meets it: one page, runs used again, and what is broken said and remade."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from functools import partial

import pytest
from conftest import unrendered
from report_results import Page

from resnet_probe import report, results
from resnet_probe.cli import main
from resnet_probe.results import Result
from resnet_probe.runs import evidence
from resnet_probe.studies import lens as lens_study

STUDIES = ("lesion", "paths", "responses", "lens", "attribute")
SMALL = ["report", "--arch", "resnet20", "--limit", "6"]


def tiny(*, full, rows=None):
    """The asks of a report, or those in `rows` of them, on few images and with few draws."""
    few = {"paths": {"signs": 1, "samples": 2}, "lesion-counts": {"counts": (1, 3), "draws": 2},
           "lesion-permute-tau": {"edit": "permute", "tau": (0.9, 0.01), "draws": 2},
           "lesion-ranges": {"edit": "ranges"}, "gates": {"gates": (0, 0.5)},
           "attribute": {"permutations": 2}}  # fmt: skip
    return [
        replace(ask, images=4 if ask.row in ("paths", "attribute") else 1000,
                settings=few.get(ask.study, {}), recalibrate=ask.recalibrate and 20)
        for ask in evidence.report_asks(full=full)
        if rows is None or ask.row in rows
    ]  # fmt: skip


def patch_small(patch):
    """Few images and no drawings, which other tests look at."""
    patch.setattr("resnet_probe.report.make.report_asks", tiny)
    patch.setattr(report.folder, "draw", lambda *_: [])
    patch.setattr(results.result, "save_figure", unrendered)


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    patch_small(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a whole report and its runs; tests work on copies of it."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch_small(patch)
        assert main(SMALL) == 0
    return place / "runs"


@pytest.fixture
def copied(made, tmp_path):
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs" / "report-resnet20-digits"


def run_of(copied, study):
    named = "lesion-recalibrated" if study == "lesion" else study
    return copied.with_name(f"{named}-resnet20-digits")


def test_a_page_tables_and_a_run_folder_a_study(copied):
    assert {path.name for path in copied.iterdir()} == {
        "report.html", "report.json", "figures", "tables",
    }  # fmt: skip
    page = Page((copied / "report.html").read_text(encoding="utf-8"))
    for study in STUDIES:
        found = Result.load(run_of(copied, study))
        assert found.identity["study"] == study
        assert found.provenance["command"].startswith(f"python -m resnet_probe {study} --arch")
        assert page.numbers[study, "sentence"], study  # each section says a number of its own
    said = " ".join(page.text)
    for name in ("weights, SHA-256", "versions", "time to measure", "device"):
        assert name in said


def test_a_run_that_is_there_is_used_again(copied, capsys):
    assert main(SMALL) == 0
    said = capsys.readouterr()
    assert said.out.count("there already") == 6 and "measured in" not in said.out
    assert re.search(r"– \[(holds|fails|undecided)\] ", said.out) and str(copied) in said.out
    assert said.err == ""


@pytest.mark.parametrize("how", ["deleted", "cut short", "of another run"])
def test_a_broken_run_is_said_and_made_again(copied, capsys, how):
    place = run_of(copied, "lens")
    broken, before = place / "table.csv", (place / "table.csv").read_text()
    if how == "deleted":
        broken.unlink()
    elif how == "cut short":
        broken.write_text(before[:200])
    else:
        shutil.copy(run_of(copied, "responses") / "table.csv", broken)
    assert main(SMALL) == 0
    said = capsys.readouterr().out
    assert re.search(r"lens: .*(missing|is not what)", said) and "lens: measured in" in said
    assert said.count("there already") == 5
    assert broken.read_text() == before


def test_a_run_that_says_nothing_of_itself_is_left_alone(copied, capsys):
    place = run_of(copied, "lens")
    (place / "provenance.json").write_text("{")
    assert main(SMALL) == 0
    assert "lens: measured in" in capsys.readouterr().out
    assert (place / "provenance.json").read_text() == "{"
    assert len(list(copied.parent.glob("lens-resnet20-digits-*"))) == 1


def test_a_run_of_the_study_alone_is_taken(copied, capsys):
    shutil.rmtree(run_of(copied, "lens"))
    command = Result.load(run_of(copied, "responses")).provenance["command"]
    assert command == "python -m resnet_probe responses --arch resnet20 --limit 6"
    assert main(["lens", "--arch", "resnet20", "--limit", "6"]) == 0
    capsys.readouterr()
    assert main(SMALL) == 0
    assert capsys.readouterr().out.count("there already") == 6


@pytest.mark.parametrize("name", ["tables/lens.csv", "report.json"])
def test_a_lost_part_of_the_report_is_said_and_made_again(copied, capsys, name):
    (copied / name).unlink()
    assert main(SMALL) == 0
    said = capsys.readouterr().out
    assert re.search(rf"{name} is missing: (made again|written anew)", said)
    assert (copied / name).exists() and "measured" not in said


def test_a_changed_part_of_the_report_is_said_and_made_again(copied, capsys):
    before = (copied / "report.html").read_text(encoding="utf-8")
    (copied / "report.html").write_text("{")
    assert main(SMALL) == 0
    assert "report.html was changed: made again" in capsys.readouterr().out
    assert (copied / "report.html").read_text(encoding="utf-8") == before
    (copied / "report.json").write_text("{")
    assert main(SMALL) == 0
    assert "report.json cannot be read" in capsys.readouterr().out


def test_another_report_is_not_overwritten(copied, capsys, monkeypatch):
    before = (copied / "report.html").read_bytes()
    assert main([*SMALL[:-1], "5", "--out", str(copied)]) == 2
    refused = capsys.readouterr().err
    assert "holds another report: in lesion, images is 6 there and 5 was asked for" in refused
    monkeypatch.setattr("resnet_probe.report.make.report_asks", partial(tiny, rows=["lens"]))
    assert main([*SMALL[:-1], "5"]) == 0
    assert len(list(copied.parent.glob("report-*"))) == 2
    assert (copied / "report.html").read_bytes() == before
    (copied / "report.json").unlink()
    (copied / "thesis.tex").write_text("mine")
    assert main([*SMALL, "--out", str(copied)]) == 2
    assert "holds thesis.tex, which no report wrote" in capsys.readouterr().err


def test_an_interrupted_report_goes_on(copied, capsys, monkeypatch):
    for part in ("lens", "attribute"):
        shutil.rmtree(run_of(copied, part))
    whole = lens_study.STUDY

    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(lens_study, "STUDY", replace(whole, measure=interrupted))
    assert main(SMALL) == 130
    said = capsys.readouterr().err
    assert "finished: lesion, control, paths, responses; the same command" in said
    monkeypatch.setattr(lens_study, "STUDY", whole)
    assert main(SMALL) == 0
    said = capsys.readouterr().out
    assert said.count("there already") == 4 and said.count("measured in") == 2


def test_full_adds_random_deletions_and_orders(copied, capsys, tmp_path):
    assert main([*SMALL, "--full"]) == 0
    folder = tmp_path / "runs" / "report-full-resnet20-digits"
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.numbers["lesion-counts", "sentence"]["many"] == 3
    assert page.numbers["lesion-permute-tau", "sentence"]["far"] == pytest.approx(0.9, abs=0.03)
    assert page.numbers["lesion-ranges", "sentence"]["ranges"] == 45
    assert page.numbers["greedy", "sentence"]["chosen_on"] == 3
    assert page.numbers["gates", "sentence"]["far"] == 0
    assert page.numbers["influence", "sentence"]["blocks"] == 9
    assert page.numbers["interactions", "sentence"]["gates"] == 9
    record = Result.load(run_of(folder, "lesion-permute-tau"))
    assert record.provenance["command"].endswith("--limit 6 --edit permute --draws 2 --tau 0.9")
    assert len(record.table) == 1 + 2  # a τ of 0.01 is out of reach of three short stages
    assert capsys.readouterr().out.count("there already") == 6


def test_a_plain_network_has_no_paths_and_says_so(capsys, tmp_path, monkeypatch):
    rows = ["lesion", "paths"]
    monkeypatch.setattr("resnet_probe.report.make.report_asks", partial(tiny, rows=rows))
    assert main(["report", "--arch", "plain20", "--limit", "4"]) == 0
    assert (
        "– Not measured: plain20 is a plain network: without shortcuts" in capsys.readouterr().out
    )
    folder = tmp_path / "runs" / "report-plain20-digits"
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert "there is one path only" in " ".join(page.text)
    runs = {path.name for path in folder.parent.iterdir()}
    assert "lesion-recalibrated-plain20-digits" in runs and "paths-plain20-digits" not in runs


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--quick", "--full"], "not allowed with argument"),
        (["--limit", "1"], "at least 2 images"),
        (["--batch", "0"], "--batch 0: at least 1 is needed"),
        (["--memory", "much"], "much"),
        (["--limit", "8", "--memory", "1KiB"], "too small"),
    ],
)
def test_refusals_write_nothing(capsys, tmp_path, arguments, sentence):
    assert main(["report", "--arch", "resnet20", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*"))
