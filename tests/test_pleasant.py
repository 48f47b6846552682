"""What a user meets first: how things are shown, what a command says, and the pages."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import shlex
import subprocess

import pytest
import torch
from conftest import ROOT

import resnet_probe as rp
from resnet_probe.cli import main, parser
from resnet_probe.guide import kind_of, refusals
from resnet_probe.guide.build import (
    CODE,
    FIRST,
    REFUSALS,
    Page,
    _html,
    _messages,
    llms,
    shown,
    written,
)
from resnet_probe.runs import rehearsal
from resnet_probe.runs.progress import Log, progress_bar

SMALL = ["--arch", "resnet20", "--limit", "12"]


@pytest.fixture(scope="module")
def ready():
    return rp.prepare("resnet20", limit=12)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_everything_is_shown_in_a_line(ready):
    shown = [repr(each) for each in (
        ready, ready.chain, ready.chain.block(4), ready.network, ready.image_set,
        rp.Sweep(ready.chain), rp.Explorer(ready), rp.lens(ready),
    )]  # fmt: skip
    assert max(map(len, shown)) < 160 and not any("\n" in each for each in shown)
    assert shown[2] == ("ResidualBlock(4, layer2.0: parameter-free shortcut, 16×16×16 to 32×8×8)")
    assert shown[4] == "ImageSet(digits, test: 12 images of 3×16×16, 10 classes)"


def test_one_object_arrays_and_lists_give_the_same(ready):
    whole = rp.lesion(ready).table
    given = rp.lesion(ready.chain, ready.images.numpy(), ready.labels.tolist()).table
    assert given.equals(whole)
    assert rp.Explorer(ready).code.count("rp.Explorer(ready)") == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("resnet20",), "chain= is str, not a chain: prepare"),
        ((None, [1], [2]), "chain= is NoneType"),
    ],
)
def test_what_is_no_chain_is_refused(given, message):
    with pytest.raises(rp.ProbeError, match=message):
        rp.lesion(*given)


def test_a_chain_alone_needs_images(ready):
    with pytest.raises(rp.ProbeError, match="give images= and labels= too"):
        rp.lens(ready.chain)
    with pytest.raises(rp.ProbeError, match="give labels= too"):
        rp.lens(ready.chain, ready.images)


def test_a_notebook_shows_figure_and_rows_and_a_folder_gives_the_same(ready, tmp_path):
    result = rp.lens(ready)
    html = result._repr_html_()
    assert "data:image/png;base64," in html and html.count("<tr") >= 6
    result.save(tmp_path / "kept")
    assert rp.load(tmp_path / "kept").table.equals(result.table)


def test_a_mistyped_name_has_a_suggestion(capsys):
    with pytest.raises(AttributeError, match="did you mean lesion"):
        rp.lesoin  # noqa: B018
    for words, near in ((["lesion", "--arhc", "x"], "--arch"), (["lesion", "--edit", "delte"], "")):
        assert main(words) == 2
        assert f"did you mean {near}" in capsys.readouterr().err


def test_json_and_quiet_say_where_and_nothing_else(capsys, tmp_path):
    assert main(["lens", *SMALL, "--json", "--format", "pdf", "--columns", "1"]) == 0
    said = json.loads(capsys.readouterr().out)
    folder = tmp_path / "runs" / "lens-resnet20-digits"
    assert said["folder"] == str(folder) and said["study"] == "lens" and said["summary"]
    names = {"table.csv", "provenance.json", "figure.pdf"}
    assert set(said["files"]) == {str(folder / name) for name in names}
    assert main(["lens", *SMALL, "--quiet"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert main(["lens", *SMALL, "--format", "svg,png"]) == 0  # drawn again, not measured
    assert "measured before" in capsys.readouterr().out
    assert (folder / "figure.svg").is_file() and not (folder / "figure.pdf").exists()


def test_a_dry_run_measures_its_pace_and_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "SECONDS", 0.0)
    assert main(["lesion", *SMALL, "--dry-run", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["edits"] == 10 and found["branch_runs"] == 45  # 9·8/2 + 9
    assert 0 < found["seconds"] < 60 and found["found"] is False
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("portion", [["--part", "1/2"], ["--processes", "2"]])
def test_a_dry_run_is_of_one_process(portion, capsys, tmp_path):
    assert main(["lesion", *SMALL, "--dry-run", *portion]) == 2
    assert "a dry run tries all images in one process" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_pace_leaves_out_what_is_done_once(monkeypatch):
    clock = iter([10.0, 11.0, 12.0])
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(rehearsal, "SECONDS", 11.5)
    pace = rehearsal.Pace(began=0.0)
    pace(1, 101)
    pace(2, 101)
    with pytest.raises(rehearsal.Enough):
        pace(3, 101)
    assert pace.seconds == pytest.approx(10 + 100 * 1.0)


def test_a_log_has_a_line_a_minute(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("resnet_probe.runs.progress.time.monotonic", lambda: now[0])
    log = Log("paths", began=0.0, said=0.0)
    for done in range(0, 101, 5):
        log(done, 100)
        now[0] += 12.0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "paths: 25 of 100 (25 %), 60 s gone, 3 min left" and len(lines) == 3
    with progress_bar("quiet", quiet=True) as update:
        now[0] += 600
        update(1, 2)
    assert capsys.readouterr().err == ""


def test_every_refusal_has_its_page():
    found = refusals()
    kinds = {kind_of(each.module) for each in found}
    pages = {page.name: page for page in written() if page.part == REFUSALS}
    assert len(found) > 300 and kinds <= set(pages)
    said = _messages("options")
    assert "not a chain: prepare" in said and "‹name›" in said


def test_every_page_says_what_it_does_not_show():
    for page in written():
        if page.part != REFUSALS:
            assert "## What it does not show" in page.text and page.about
    index = llms([Page("questions", "a", "# A\n\nWhat it is.\n")])
    assert "[A](questions/a.html): What it is." in index
    assert all(f"rp.{name}" in index for name in rp.__all__)


def test_pages_lead_to_pages():
    written_in = ROOT / "resnet_probe" / "guide"
    for file in written_in.glob("*_pages/*.md"):
        links = re.findall(r"\]\((?!http)([^)]+)\)", file.read_text(encoding="utf-8"))
        assert [each for each in links if not (file.parent / each).is_file()] == [], file.name
    pytest.importorskip("markdown2", reason="markdown2 is not installed")
    html = _html("[a](../question_pages/19_found.md), [b](../refusal_pages/cutting.md)")
    assert 'href="../questions/found.html"' in html and 'href="../refusals/cutting.html"' in html


@pytest.mark.parametrize(
    "page", [p for p in written() if CODE.search(p.text)], ids=lambda p: p.name
)
def test_code_of_a_page_runs_and_draws(page):
    found = CODE.search(page.text)
    with torch.random.fork_rng():
        drawn = shown(re.sub(r"(limit|signs|samples|permutations)=\d+", _few, found[1]))
    assert drawn.get_axes()


def _few(found: re.Match[str]) -> str:
    return f"{found[1]}={8 if found[1] == 'limit' else 2}"


def test_the_readme_is_short_and_leads_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    links = re.findall(r'(?:\]\(|src="|href=")(?!http)([^)"]+)', text)
    assert len(links) > 20 and [each for each in links if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("marker", ["main", "tests"])
def test_a_command_of_the_readme_is_cut_off_nowhere_and_is_one(marker):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"<!-- {marker} -->\n```sh\n(.*?)\n```", text, re.DOTALL)
    *first, last = block.splitlines()
    assert max(map(len, block.splitlines())) < 80
    assert all(line.endswith(" \\") for line in first) and not last.endswith("\\")
    words = shlex.split(block.replace("\\\n", ""))
    assert words[:4] == ["python3", "-m", "venv", ".venv"] and words.count("&&") == 2


def test_every_help_screen_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    screens = list(_screens(parser(every=True)))
    assert len(screens) > 20
    for screen in screens:
        assert max(map(len, screen.splitlines())) <= 80, screen[:60]
    (claims,) = [each for each in screens if "resnet_probe claims [" in each]
    copied = claims.partition("examples:")[2].replace(" \\\n", "")
    assert "--data parquet:test.parquet --data-is cifar10" in " ".join(copied.split())


def _screens(of):
    yield of.format_help()
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _screens(inner)


def test_completion_is_a_script_that_bash_can_read(capsys):
    pytest.importorskip("shtab", reason="shtab is not installed")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert "--dry-run" in script and "lesion" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_help_on_the_judge_has_no_claims_in_its_signature():
    assert str(inspect.signature(rp.judge)).count("Claim(") == 0
    assert "lesion" in vars(rp) or rp.lesion is vars(rp)["lesion"]


@pytest.mark.parametrize("name", ["thesis.tex", "llms.txt", ".git"])
def test_pages_never_take_the_place_of_what_is_not_theirs(tmp_path, capsys, name):
    for own, text in (("index.html", ""), ("llms.txt", FIRST), (name, "mine")):
        (tmp_path / own).write_text(text)
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    for folder in (".", "", str(tmp_path)):
        assert main(["docs", "--no-open", "--again", "--out", folder]) == 2
        assert "no page of these: choose another (--out)" in capsys.readouterr().err
    assert before == {path: path.read_text() for path in tmp_path.iterdir()}
    (tmp_path / "loop").symlink_to("loop")
    for place in (tmp_path / "loop", tmp_path / name):
        assert main(["docs", "--no-open", "--out", str(place)]) == 2
        assert f"{place} is no folder" in capsys.readouterr().err
