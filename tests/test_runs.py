"""The catalogue and its one runner: what holds for every study, because it is written once."""

from __future__ import annotations

import shlex

import pytest

from resnet_probe import ProbeError, prepare
from resnet_probe.cli import main, parser
from resnet_probe.cli.study import StudyCommand
from resnet_probe.loading.request import Request
from resnet_probe.report.make import Report
from resnet_probe.results import Journal, Result, provenance
from resnet_probe.runs.catalogue import ROWS, row
from resnet_probe.runs.job import Job, obtained, place_apart
from resnet_probe.runs.needed import needed_studies
from resnet_probe.studies.study import Resources

SMALL = ["--arch", "resnet20", "--limit", "12", "--batch", "4"]
TINY = ["--arch", "resnet:depth=8,width=4", "--weights", "initial:0", "--data", "digits",
        "--normalize", "none", "--limit", "12", "--batch", "4"]  # fmt: skip
FEW = {
    "control": ["--limit", "40"],  # its batches hold 16 images at least
    "lesion": ["--recalibrate", "16", "--recalibrate-data", "digits"],
    "paths": ["--signs", "2", "--samples", "3", "--images-per-path", "2"],
    "attribute": ["--permutations", "2"],
    "agreement": ["--counts", "1-2", "--draws", "2"],
    "append": ["--steps", "2", "--draws", "2"],
    "interactions": ["--blocks", "1-3"],
}
NAMES = [each.name for each in ROWS]


PREPARED: dict[tuple[object, ...], object] = {}
"""Networks with their images, each loaded and cut once for all tests here."""


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    usual = Request.prepared

    def prepared(request, *, limit=None):
        if (request, limit) not in PREPARED:
            PREPARED[request, limit] = usual(request, limit=limit)
        return PREPARED[request, limit]

    monkeypatch.setattr(Request, "prepared", prepared)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("resnet_probe.studies.outcomes.KEEP_EVERY", 4)
    monkeypatch.setattr("resnet_probe.studies.responses.KEEP_EVERY", 4)
    monkeypatch.setattr("resnet_probe.studies.attribution.study.CHUNK", 4)


def job_of(command: str) -> Job:
    """What a printed command asks for."""
    words = shlex.split(command)[3:]
    return StudyCommand(row(words[0])).jobs(parser(words[0]).parse_args(words))[0]


def check_command(result: Result, name: str) -> None:
    """The printed command has the identity of the result."""
    command = result.provenance["command"]
    assert command.startswith(f"python -m resnet_probe {name} --arch resnet:depth=8,width=4 ")
    assert " --limit " in command
    assert provenance.difference(job_of(command).identity, result.identity) == ""


@pytest.mark.many(3)
@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_command_goes_on_to_the_same_bytes(tmp_path, capsys, monkeypatch, name):
    given = [name, *TINY, *FEW.get(name, [])]
    assert main([*given, "--out", "whole"]) == 0
    check_command(Result.load("whole"), name)
    whole = (tmp_path / "whole" / "table.csv").read_bytes()
    put, kept = Journal.put, []

    def interrupted(self, key, arrays):
        put(self, key, arrays)
        kept.append(key)
        if len(kept) in (1, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "put", interrupted)
    for _ in range(2):
        assert main([*given, "--out", "again"]) == 130
        said = capsys.readouterr().err
        assert "what was finished lies in" in said and "the same command goes on" in said
        assert not (tmp_path / "again").exists()
    assert main([*given, "--out", "again"]) == 0
    assert len(kept) >= 3
    assert (tmp_path / "again" / "table.csv").read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "again"}


@pytest.mark.parametrize("full", [False, True])
def test_the_commands_of_a_report_have_the_identities_of_its_studies(full):
    report = Report.of(Request(arch="resnet20", limit=4), full=full, seed=3)
    assert len(report.jobs) == (13 if full else 6) and not report.absent
    for ask, job in report.jobs.items():
        again = job_of(job.command)
        assert provenance.difference(again.identity, job.identity) == "", ask.study
        assert again.folder() == job.folder()


def test_claims_and_reports_ask_for_the_same():
    request = Request(arch="resnet20", limit=2)
    asked = [study.identity for study in needed_studies([request])]
    report = {job.study: job.identity for job in Report.of(request).jobs.values()}
    assert {"lesion", "control", "paths", "responses"} <= report.keys()
    for study in report.keys() & {identity["study"] for identity in asked}:
        assert provenance.plain(report[study]) in asked


def test_settings_are_the_arguments_the_options_and_the_identity():
    ready = prepare("resnet20", limit=4)
    for each in ROWS:
        names = [option.name for option in each.study.settings.options()]
        options = vars(parser(each.name).parse_args([each.name, "--arch", "resnet20"]))
        assert set(names) <= options.keys()
        job = Job.of(each, each.study.settings(), [Request(arch="resnet20")], networks=[ready])
        assert set(names) <= job.identity.keys()
        assert job.command == f"python -m resnet_probe {each.name} --arch resnet20" + (
            "" if each.study.limit is None else " --limit 4"
        )


def test_what_has_another_identity_lies_apart(tmp_path):
    for seed in ("0", "1", "2"):
        assert main(["agreement", *SMALL, "--counts", "2", "--draws", "2", "--seed", seed]) == 0
    found = sorted((tmp_path / "runs").iterdir())
    assert {Result.load(path).identity["seed"] for path in found} == {0, 1, 2}
    assert found[0].name == "agreement-resnet20-digits" and len(found) == 3
    assert all(path.name.startswith("agreement-resnet20-digits-") for path in found[1:])


def test_what_is_there_is_found_and_what_is_broken_is_made_again(tmp_path, capsys):
    given = ["lens", *SMALL]
    assert main(given) == 0
    place = tmp_path / "runs" / "lens-resnet20-digits"
    first = capsys.readouterr().out
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "measured before" in said and said.splitlines()[:8] == first.splitlines()[:8]
    table = (place / "table.csv").read_bytes()
    (place / "table.csv").write_bytes(table[:-9])
    assert main(given) == 0
    assert "is not what this run wrote" in capsys.readouterr().out
    assert (place / "table.csv").read_bytes() == table


def test_two_processes_do_not_write_one_run(tmp_path, capsys):
    job = job_of("python -m resnet_probe lens --arch resnet20 --limit 12")
    with Journal(job.folder(), job.identity):
        assert main(["lens", *SMALL]) == 2
    assert "another process is writing" in capsys.readouterr().err
    assert main(["lens", *SMALL]) == 0


def test_a_refusal_leaves_the_folder_as_it_was(tmp_path, capsys):
    for given in (["--tau", "0.9"], ["--counts", "99"], ["--draws", "0", "--counts", "1"],
                  ["--memory", "1KiB"], ["--memory", "1KiB", "--out", "a/b/c"]):  # fmt: skip
        assert main(["lesion", *SMALL, *given]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "=" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_there_is_not_is_refused_with_the_nearest():
    ready = prepare("resnet20", limit=4)
    for each in ROWS:
        function = each.study.function("")
        with pytest.raises(
            ProbeError, match=r"no argument memry=: there are .*did you mean memory=\?"
        ):
            function(ready, memry=3)
    with pytest.raises(ProbeError, match=r"there is no study 'lesions': .*did you mean lesion"):
        row("lesions")


@pytest.mark.parametrize("value", [0, -3, 2.5, float("nan"), 2**70, "many"])
def test_a_batch_is_a_whole_number_of_images(value):
    with pytest.raises(ProbeError, match="batch="):
        Resources(batch=value)


def test_a_place_apart_is_the_one_that_holds_the_identity(tmp_path):
    usual = tmp_path / "x"
    held = {}

    def at(path):
        return held.get(path.name)

    assert place_apart(usual, {"seed": 0}, at) == usual
    held["x"] = {"seed": 0}
    apart = place_apart(usual, {"seed": 1}, at)
    assert apart.name.startswith("x-") and place_apart(usual, {"seed": 0}, at) == usual
    held[apart.name] = {"seed": 1}
    del held["x"]
    assert place_apart(usual, {"seed": 1}, at) == apart


def test_a_script_finds_what_the_command_measured_and_the_command_what_it_did(tmp_path, capsys):
    small = Request(arch="resnet:depth=8,width=4", weights="initial:0", data="digits", limit=12)
    words = [*small.words(), "--limit", "12"]
    assert main(["lesion", *words]) == 0
    found = obtained("lesion", small)
    assert found.found and found.folder.parent == tmp_path / "runs"
    own = obtained("lesion", small, folder=tmp_path / "own", margin=2.0)
    assert not own.found and own.result.identity["margin"] == 2
    assert main(["lesion", *words, "--margin", "2", "--out", "own"]) == 0
    assert "measured before" in capsys.readouterr().out
    with pytest.raises(ProbeError, match="there is no study 'lesions'"):
        obtained("lesions", small)
