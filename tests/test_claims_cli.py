"""`claims` as a user meets it: the ledger, its folder, reuse, and refusals."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest
from claim_tables import lesion, paths, straight

from resnet_probe import zoo
from resnet_probe.claims import CLAIMS, FAILS, HOLDS, NOT_HERE, UNDECIDED, judge, lesions
from resnet_probe.claims.words import ledger_text, matrix_text, measured, number, rules_text
from resnet_probe.cli import claims, main, parser
from resnet_probe.errors import ProbeError
from resnet_probe.figures.claims import claim_intervals, claim_matrix, margins
from resnet_probe.results import Result
from resnet_probe.runs import kept
from resnet_probe.runs.evidence import checkpoints
from resnet_probe.runs.job import Job
from resnet_probe.stats import bootstrap as intervals

PUBLISHED = Path(__file__).parents[2] / "shared" / "checkpoints"
SMALL = ["claims", "--only", "--arch", "resnet20", "--limit", "6"]


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(intervals, "TIMES", 500)
    monkeypatch.setattr(lesions, "MOST", 400)


@pytest.fixture
def ledger():
    errors = [42.0] + [6.2] * 53
    return judge([lesion(errors), lesion([9.0] * 9, arch="resnet20"), paths(straight(0.2))])


def test_a_ledger_is_made_kept_and_its_studies_found_again(tmp_path, capsys):
    assert main(SMALL) == 0
    first = capsys.readouterr()
    folder = tmp_path / "runs" / "claims-resnet20-digits"
    result = Result.load(folder)
    assert result.study == "claims" and len(result.table) >= len(CLAIMS)
    assert {path.suffix for path in folder.iterdir()} == {".csv", ".json", ".png", ".svg"}
    assert {"figure.png", "intervals.svg"} <= {path.name for path in folder.iterdir()}
    assert "[1 of 12] lesion of resnet20, 6 images: to runs/lesion-resnet20-digits" in first.out
    assert str(folder) in first.out and first.err == ""
    verdicts = result.table.set_index("claim")["verdict"]
    assert verdicts["he2015/parameters"] == verdicts["he2015/multiply-adds"] == HOLDS

    assert main(SMALL) == 0
    again = capsys.readouterr().out
    assert "found in runs/claims-resnet20-digits, from the same files" in again
    assert "[1 of" not in again and first.out.endswith(again.partition("rules\n\n")[2])


def test_a_damaged_study_is_made_again_and_the_others_are_found(tmp_path, capsys):
    assert main([*SMALL, "--claim", "he2016/no-cancellation", "chang2018/tiny"]) == 0
    assert "[1 of 4] paths of resnet20" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "runs" / "claims-resnet20-digits")
    (damaged,) = (tmp_path / "runs").glob("paths-resnet20-digits/table.csv")
    damaged.write_text(damaged.read_text()[:-40])
    assert main([*SMALL, "--claim", "he2016/no-cancellation", "chang2018/tiny"]) == 0
    again = capsys.readouterr().out
    assert "responses of resnet20, 6 images: found in" in again
    assert "paths of resnet20, 6 images: to runs/paths" in again


def test_a_study_that_is_refused_while_it_runs_is_said_and_the_others_are_judged(
    tmp_path, capsys, monkeypatch
):
    usual = Job.obtain

    def obtain(job, *args, **kwargs):
        if job.study == "paths":
            raise ProbeError("the logits are off")
        return usual(job, *args, **kwargs)

    monkeypatch.setattr(Job, "obtain", obtain)
    assert main([*SMALL, "--claim", "he2016/no-cancellation", "chang2018/tiny"]) == 0
    said = capsys.readouterr().out
    assert "Without paths of resnet20: the logits are off" in said
    table = Result.load(tmp_path / "runs" / "claims-resnet20-digits").table.set_index("claim")
    assert table["verdict"]["he2016/no-cancellation"] == NOT_HERE
    assert table["verdict"]["chang2018/tiny"] != NOT_HERE


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("veit2016/delete-on", "no claim 'veit2016/delete-on'*did you mean veit2016/delete-one?"),
        ("he2015/errors", "he2015/errors cannot be tested here: a claim about training"),
    ],
)
def test_a_claim_named_wrongly_is_refused(tmp_path, capsys, name, words):
    assert main(["claims", "--claim", name]) == 2
    said = capsys.readouterr().err
    assert fnmatch(said, f"error: *{words}*") and said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_ledger_is_another_where_a_file_or_a_rule_changed(tmp_path, monkeypatch):
    weights = tmp_path / "a.th"
    weights.write_bytes(b"1")
    options = {"arch": ["resnet20"], "weights": [str(weights)], "data": None}
    asked = kept.question(options)
    assert asked == kept.question(dict(options)) != kept.question({**options, "seed": 1})
    weights.write_bytes(b"12")
    assert kept.question(options) != asked
    asked = kept.question(options)
    monkeypatch.setattr(kept, "rules_sha256", lambda: "others")
    assert kept.question(options) != asked
    assert kept.question({**options, "model": "a:b"}) is None


def test_published_checkpoints_stand_beside_where_they_are_and_are_named_where_not(tmp_path):
    def named(folder):
        said: list[str] = []
        return [one.weights for one in checkpoints(folder, "digits", say=said.append)], said

    with pytest.raises(ProbeError, match=r"none of resnet20-12fca82f\.th, resnet56"):
        named(tmp_path)
    other = tmp_path / "resnet56-4bfd9763.th"
    other.write_bytes(b"another")
    with pytest.raises(ProbeError, match="another file: its SHA-256 begins"):
        named(tmp_path)
    if PUBLISHED.is_dir():
        (tmp_path / "one").mkdir()
        mine = tmp_path / "one" / other.name
        mine.symlink_to((PUBLISHED / other.name).resolve())
        found, said = named(tmp_path / "one")
        assert found == [str(mine)] and "Without the published resnet20" in said[0]


def test_the_rules_are_there_before_anything_is_run(tmp_path, capsys):
    assert main(["claims", "--rules"]) == 0
    said = capsys.readouterr().out
    assert all(claim.name in said for claim in CLAIMS)
    assert not (tmp_path / "runs").exists()


def asked(*words: str) -> list[tuple[str | None, str | None, str | None]]:
    requests = claims._requests(parser("claims").parse_args(["claims", *words]))
    return [(one.arch, one.zoo, one.weights) for one in requests]


def test_the_bundled_networks_stand_beside_ones_own(capsys):
    digits = [(card.arch, None, None) for card in zoo.cards() if card.data == "digits"]
    assert asked() == digits
    assert "Without the networks of cifar10-jpeg" in capsys.readouterr().out
    assert asked("--arch", "resnet56", "--weights", "a.th") == [("resnet56", None, "a.th"), *digits]
    assert asked("--only", "--arch", "resnet20") == [("resnet20", None, None)]
    first, *others = asked("--arch", "resnet20")
    assert first not in others and {first, *others} == set(digits)
    photographs = asked("--zoo", "cifar10-jpeg", "--data", "parquet:x")
    assert len(photographs) >= 5 and all("cifar10-jpeg" in str(z) for _, z, _ in photographs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arch", "resnet20", "resnet20"], "each network once"),
        (["--weights", "a.th"], "--weights needs --arch"),
        (["--arch", "resnet20", "plain20", "--weights", "a.th"], "2 architectures and 1 weights"),
        (["--data", "cifar100"], "no bundled weights for cifar100"),
        (["--arch", "resnet21"], "unknown architecture"),
        (["--only"], "--only leaves the bundled networks out: give --arch"),
    ],
)
def test_what_cannot_be_met_is_said(tmp_path, capsys, arguments, words):
    assert main(["claims", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_text_fits_its_width_and_names_every_claim(ledger):
    for width in (72, 100, 140):
        for shown in (ledger_text, matrix_text):
            assert max(map(len, shown(ledger, width=width).splitlines())) <= width
    text = ledger_text(ledger, width=140)
    for name in ledger["claim"]:
        assert name in text
    sampled = ledger[ledger["kind"] != "exact"]
    counts = sampled["verdict"].value_counts()
    assert f"{counts[HOLDS]} holding, {counts[FAILS]} failing" in text
    identities = text.partition("IDENTITIES")[2]
    assert "path-lengths/mean" in identities and "gradient/decays" not in identities


def test_the_matrix_has_a_line_a_claim_and_a_column_a_network(ledger):
    text = matrix_text(ledger, width=140)
    lines = text.splitlines()
    assert lines[:2] == ["  1  preresnet110 on digits", "  2  resnet20 on digits"]
    (line,) = (line for line in lines if line.startswith("veit2016/delete-one/relative"))
    assert line.split()[1:] == ["+", "−", "holds", "in", "1", "of", "2,", "fails", "in", "1"]
    (line,) = (line for line in lines if line.startswith("veit2016/gradient/decays"))
    assert line.split()[1:] == ["+", "holds", "in", "1", "of", "1"]
    for name in ledger["claim"]:
        assert name in text
    identities = text.partition("IDENTITIES")[2].partition("NOT TESTABLE")[0]
    assert "veit2016/path-lengths/sd: holds in 1 of 1" in identities


def test_the_rules_fit_too():
    assert max(map(len, rules_text(width=80).splitlines())) <= 80


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (54.0, "54"), (0.01234, "0.0123"), (-1.5, "−1.50"), (269_722.0, "269,722"),
     (90.31, "90.3"), (float("nan"), "–"), (1e-9, "0")],
)  # fmt: skip
def test_numbers_have_three_digits_that_say_something(value, text):
    assert number(value) == text


def test_a_measured_number_has_its_interval(ledger):
    rows = ledger.set_index("claim", drop=False)
    found = rows.loc["veit2016/gradient/decays"]
    assert measured(found).startswith("0.200 (0.") and measured(found).endswith(") a block")
    assert measured(rows.loc["veit2016/path-lengths/mean"]) == "27 blocks, exact"


def test_the_figure_has_a_row_for_each_sampled_verdict(ledger):
    figure = claim_intervals(ledger)
    judged = ledger[ledger["verdict"].isin([HOLDS, FAILS, UNDECIDED]) & (ledger["kind"] != "exact")]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [label.partition(":")[0] for label in labels] == list(judged["claim"])
    assert len(set(labels)) == len(labels)
    drawn = claim_matrix(ledger).axes[0]
    ticks = [label.get_text() for label in drawn.get_yticklabels()]
    assert ticks == list(dict.fromkeys(judged["claim"]))
    assert len(drawn.get_xticks()) == 2
    marks = sum(len(line.get_xdata()) for line in drawn.get_lines() if line.get_marker() != "None")
    assert marks == len(judged)
    place = margins(judged)
    held = (judged["verdict"] == HOLDS).to_numpy()
    undecided = (judged["verdict"] == UNDECIDED).to_numpy()
    assert (place[held] >= 1).all() and (abs(place[undecided]) <= 1.001).all()
