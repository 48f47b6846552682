"""`report` as a user meets it: one page, runs used again, and what is broken said and remade."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import pytest
from report_results import Page

from resnet_probe import report
from resnet_probe.cli import main, parser, report_studies
from resnet_probe.results import Result

STUDIES = ("lesion", "paths", "responses", "lens", "attribute")
SMALL = ["report", "--arch", "resnet20", "--limit", "6"]
TINY = report_studies.Size(images=1000, paths=4, signs=1, samples=2, attribute=4)


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    """Few images and no drawings, which other tests look at; a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report_studies, "QUICK", TINY)
    monkeypatch.setattr(report_studies, "FULL", TINY)
    monkeypatch.setattr(report_studies, "COUNTS", (1, 3))
    monkeypatch.setattr(report_studies, "TAUS", (0.9, 0.01))
    monkeypatch.setattr(report_studies, "DRAWS", 2)
    monkeypatch.setattr(report.folder, "draw", lambda *_: [])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a whole report; tests work on copies of it."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(report_studies, "QUICK", TINY)
        patch.setattr(report.folder, "draw", lambda *_: [])
        assert main(SMALL) == 0
    return place / "runs" / "report-resnet20-digits"


@pytest.fixture
def copied(made, tmp_path):
    folder = tmp_path / "runs" / made.name
    shutil.copytree(made, folder)
    return folder


def test_a_page_tables_and_a_run_folder_a_study(copied):
    assert {path.name for path in copied.iterdir()} == {
        *STUDIES, "report.html", "report.json", "figures", "tables",
    }  # fmt: skip
    page = Page((copied / "report.html").read_text(encoding="utf-8"))
    for study in STUDIES:
        found = Result.load(copied / study)
        assert found.identity["study"] == study
        assert found.provenance["command"].startswith(f"python -m resnet_probe {study} --arch")
        assert ("paths", "sentence") in page.numbers
    said = " ".join(page.text)
    for name in ("weights, SHA-256", "versions", "time to measure", "device"):
        assert name in said


def test_a_run_that_is_there_is_used_again(copied, capsys):
    assert main(SMALL) == 0
    said = capsys.readouterr()
    assert said.out.count("there already") == 5 and "measured in" not in said.out
    assert re.search(r"– \[(holds|fails|undecided)\] ", said.out) and str(copied) in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("table.csv", "deleted"),
        ("provenance.json", "deleted"),
        ("table.csv", "cut short"),
        ("provenance.json", "cut short"),
        ("table.csv", "of another run"),
        ("provenance.json", "of another run"),
    ],
)
def test_a_broken_run_is_said_and_made_again(copied, capsys, name, how):
    broken = copied / "lens" / name
    before = (copied / "lens" / "table.csv").read_text()
    if how == "deleted":
        broken.unlink()
    elif how == "cut short":
        broken.write_text(broken.read_text()[:200])
    else:
        shutil.copy(copied / "responses" / name, broken)
    assert main(SMALL) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"lens: .*(missing|cannot be read|is not what|another run|no provenance)", said
    )
    assert "lens: set aside as lens.aside-1" in said and "lens: measured in" in said
    assert said.count("there already") == 4
    assert (copied / "lens" / "table.csv").read_text() == before
    assert Result.load(copied / "lens").study == "lens"


def test_a_whole_run_of_other_images_is_not_mixed_in(copied, capsys):
    assert main(["lens", "--arch", "resnet20", "--limit", "5", "--out", "other"]) == 0
    shutil.rmtree(copied / "lens")
    shutil.copytree("other", copied / "lens")
    assert main(SMALL) == 0
    said = capsys.readouterr().out
    assert "lens holds another run: images is 5 there and 6 was asked for" in said
    assert Result.load(copied / "lens").identity["images"] == 6


def test_a_run_of_the_study_alone_is_taken(copied, capsys):
    shutil.rmtree(copied / "lens")
    command = json.loads((copied / "responses" / "provenance.json").read_text())["command"]
    assert command == "python -m resnet_probe responses --arch resnet20 --limit 6"
    assert main(["lens", "--arch", "resnet20", "--limit", "6"]) == 0
    capsys.readouterr()
    assert main(SMALL) == 0
    assert capsys.readouterr().out.count("there already") == 5


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


def test_another_report_is_not_overwritten(copied, capsys):
    before = (copied / "report.html").read_bytes()
    assert main([*SMALL[:-1], "5"]) == 2
    refused = capsys.readouterr().err
    assert "holds another report: in lesion, images is 6 there and 5 was asked for" in refused
    assert (copied / "report.html").read_bytes() == before
    (copied / "report.json").unlink()
    (copied / "thesis.tex").write_text("mine")
    assert main(SMALL) == 2
    assert "holds thesis.tex, which no report wrote" in capsys.readouterr().err


def test_an_interrupted_report_goes_on(copied, capsys, monkeypatch):
    from resnet_probe.studies import lens as study

    for part in ("lens", "attribute"):
        shutil.rmtree(copied / part)
    whole = study.lens

    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "lens", interrupted)
    assert main(SMALL) == 130
    assert "finished: lesion, paths, responses; the same command" in capsys.readouterr().err
    monkeypatch.setattr(study, "lens", whole)
    assert main(SMALL) == 0
    said = capsys.readouterr().out
    assert said.count("there already") == 3 and said.count("measured in") == 2


def test_the_commands_of_a_page_are_commands(copied):
    for study in STUDIES:
        record = Result.load(copied / study)
        options = parser().parse_args(shlex.split(record.provenance["command"])[3:])
        assert options.arch in ("resnet20", ["resnet20"])
        assert options.limit == record.identity["images"]


def test_full_adds_random_deletions_and_orders(copied, capsys, tmp_path):
    folder = tmp_path / "runs" / "report-full-resnet20-digits"
    for study in STUDIES:  # the same identity: what is measured already need not be again
        shutil.copytree(copied / study, folder / study)
    assert main([*SMALL, "--full"]) == 0
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.numbers["lesion-counts", "sentence"]["many"] == 3
    assert page.numbers["lesion-permute-tau", "sentence"]["far"] == pytest.approx(0.9, abs=0.03)
    record = Result.load(folder / "lesion-permute-tau")
    assert record.provenance["command"].endswith("--limit 6 --edit permute --tau 0.9 --draws 2")
    assert len(record.table) == 1 + 2  # a τ of 0.01 is out of reach of three short stages
    assert capsys.readouterr().out.count("there already") == 5


def test_a_plain_network_has_no_paths_and_says_so(capsys, tmp_path):
    assert main(["report", "--arch", "plain20", "--limit", "4"]) == 0
    assert (
        "– Not measured: plain20 is a plain network: without shortcuts" in capsys.readouterr().out
    )
    folder = tmp_path / "runs" / "report-plain20-digits"
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert "there is one path only" in " ".join(page.text)
    assert not (folder / "paths").exists() and (folder / "lesion").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--quick", "--full"], "not allowed with argument"),
        (["--limit", "1"], "at least 2 images"),
        (["--batch", "0"], "at least 1 image"),
        (["--memory", "much"], "much"),
    ],
)
def test_refusals_write_nothing(capsys, tmp_path, arguments, sentence):
    assert main(["report", "--arch", "resnet20", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
