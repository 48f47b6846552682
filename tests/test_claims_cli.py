"""`claims` as a user meets it: the ledger, its folder, reuse, and refusals."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
import pytest
import torch
from claim_tables import lesion, paths, straight
from conftest import unrendered
from report_results import Page

from resnet_probe import models, zoo
from resnet_probe.claims import CLAIMS, FAILS, HOLDS, NOT_HERE, UNDECIDED, judge, lesions
from resnet_probe.claims.words import ledger_text, matrix_text, measured, number, rules_text
from resnet_probe.cli import claims, main, parser
from resnet_probe.errors import ProbeError
from resnet_probe.figures.claims import claim_intervals, claim_matrix, margins
from resnet_probe.loading.request import Request
from resnet_probe.report.ledger import render_ledger
from resnet_probe.results import Result, result
from resnet_probe.runs import kept, needed
from resnet_probe.runs.evidence import checkpoints
from resnet_probe.runs.job import Job
from resnet_probe.stats import bootstrap as intervals

PUBLISHED = Path(__file__).parents[2] / "shared" / "checkpoints"
OWN = ["claims", "--only", "--arch", "resnet:depth=8,width=4", "--weights", "mine.pt",
       "--data", "digits", "--normalize", "none", "--limit", "6"]  # fmt: skip
"""A network of one's own, of three blocks."""


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    few_resamples(monkeypatch)
    monkeypatch.chdir(tmp_path)


def few_resamples(patch):
    patch.setattr(intervals, "TIMES", 500)
    patch.setattr(lesions, "MOST", 400)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(a folder with the weights of one's own network and its ledger, what was said)."""
    folder, said = tmp_path_factory.mktemp("made"), io.StringIO()
    weights = models.architecture(OWN[3]).build(seed=0).state_dict()
    torch.save(weights, folder / "mine.pt")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        few_resamples(patch)
        patch.chdir(folder)
        patch.setattr(result, "save_figure", unrendered)
        assert main(OWN) == 0
    return folder, said.getvalue()


@pytest.fixture
def own(made, monkeypatch):
    """The same folder, as the working one."""
    monkeypatch.chdir(made[0])
    return made[0] / "runs"


@pytest.fixture
def no_network(monkeypatch):
    """Whatever is found is found without loading a network."""

    def prepared(request, **_):
        raise AssertionError(f"{request.spec} was loaded")

    monkeypatch.setattr(Request, "prepared", prepared)


@pytest.fixture
def ledger():
    errors = [42.0] + [6.2] * 53
    return judge([lesion(errors), lesion([9.0] * 9, arch="resnet20"), paths(straight(0.2))])


def test_a_ledger_of_ones_own_network_is_made(made):
    folder = made[0] / "runs" / "claims-resnet-depth-8-width-4-digits"
    ledger = Result.load(folder)
    assert ledger.study == "claims" and len(ledger.table) >= len(CLAIMS)
    assert {path.suffix for path in folder.iterdir()} == {".csv", ".json", ".png", ".svg"}
    assert {"figure.png", "intervals.svg"} <= {path.name for path in folder.iterdir()}
    title = "lesion of resnet:depth=8,width=4, 6 images"
    assert f"[1 of 12] {title}: to runs/lesion-resnet-depth-8-width-4-digits" in made[1]
    assert "  1  resnet:depth=8,width=4 (mine.pt) on digits" in made[1].splitlines()
    verdicts = ledger.table.set_index("claim")["verdict"]
    assert verdicts["he2016/sum"] == HOLDS
    commands = "\n".join(ledger.table["command"])
    assert "lesion --arch resnet:depth=8,width=4 --weights mine.pt --data digits" in commands
    page = folder.with_suffix(".html").read_text()
    assert "resnet:depth=8,width=4 (mine.pt) on digits" in page


def test_a_ledger_is_found_again(own, made, capsys, no_network):
    assert main(OWN) == 0
    again = capsys.readouterr().out
    assert "from the same files" in again and "[1 of" not in again
    assert made[1].endswith(again.partition("rules\n\n")[2])


def test_other_claims_on_studies_that_lie_there_load_no_network(own, capsys, no_network):
    assert main([*OWN, "--claim", "chang2018", "he2016/gradient", "--saved"]) == 0
    said = capsys.readouterr().out
    assert "[1 of" in said and ": to runs/" not in said
    whole, some = (Result.load(path).table for path in sorted(own.glob("claims-*[!l]"))[:2])
    names = set(some["claim"])
    assert len(names) < 12 and some["value"].notna().any()
    same = whole[whole["claim"].isin(names)].reset_index(drop=True)
    columns = ["claim", "value", "ci_low", "ci_high", "verdict", "twin", "twin_value"]
    pd.testing.assert_frame_equal(same[columns], some[columns])


def test_a_network_without_a_twin_is_judged_without_and_its_studies_are_known_again(
    own, monkeypatch
):
    def untrained(ready, **_):
        raise ProbeError("its scale cannot be initialised again")

    monkeypatch.setattr(needed, "untrained", untrained)
    shared = {"weights": "mine.pt", "data": "digits", "normalize": "none"}
    request, said = Request(arch=OWN[3], limit=5, **shared), []
    first = needed.needed_studies([request], say=said.append)
    assert {each.exhibit.study for each in first} >= {"lesion", "control", "paths", "responses"}
    assert not any(each.exhibit.is_twin for each in first)
    again = needed.needed_studies([request], saved=True, say=said.append)
    assert said == ["Without an untrained twin: its scale cannot be initialised again"] * 2
    assert [each.identity for each in again] == [each.identity for each in first]
    assert all(each.job is None and each.found is None for each in again)


def test_a_damaged_study_is_made_again_and_one_that_is_refused_is_said(own, capsys, monkeypatch):
    given = [*OWN, "--claim", "he2016/no-cancellation", "he2016/gradient"]
    (damaged,) = own.glob("paths-resnet-depth-8-width-4-digits/table.csv")
    whole = damaged.read_text()
    damaged.write_text(whole[:-40])
    assert main([*given, "--saved", "--out", "saved"]) == 0
    said = capsys.readouterr().out
    assert "Without paths of resnet:depth=8,width=4: it is not in runs/paths-resnet" in said
    usual = Job.obtain
    with monkeypatch.context() as patch:
        patch.setattr(Job, "obtain", refusing("paths"))
        assert main([*given, "--out", "refused"]) == 0
    said = capsys.readouterr().out
    assert "Without paths of resnet:depth=8,width=4: the logits are off" in said
    table = Result.load("refused").table.set_index("claim")
    assert table["verdict"]["he2016/no-cancellation"] == NOT_HERE
    assert table["verdict"]["he2016/gradient/kept"] != NOT_HERE

    assert main([*given, "--out", "refused"]) == 0
    again = capsys.readouterr().out
    assert "flow of resnet:depth=8,width=4, 6 images: found in" in again
    assert "paths of resnet:depth=8,width=4, 6 images: to runs/paths" in again
    assert damaged.read_text() == whole and Job.obtain is usual


def refusing(study):
    """In the place of `Job.obtain`."""
    usual = Job.obtain

    def obtain(job, *args, **kwargs):
        if job.study == study:
            raise ProbeError("the logits are off")
        return usual(job, *args, **kwargs)

    return obtain


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
    only = parser("claims").parse_args(["claims", "--only", "--arch", "resnet20"])
    assert [each.identity["arch"] for each in claims._counted(only)] == ["resnet20"]
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
        (
            [
                "--only",
                "--arch",
                "resnet:depth=8,width=4",
                "resnet20",
                "--weights",
                "initial:0",
                "none.th",
                "--data",
                "digits",
                "--normalize",
                "none",
                "--limit",
                "4",
            ],
            "there is no file none.th",
        ),  # refused after the first network was prepared
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
    assert len(figure.axes[0].get_yticklabels()) == len(judged)
    said = list(dict.fromkeys(judged["statement"]))
    assert [text.get_text().replace("\n", " ") for text in figure.axes[0].texts] == said
    drawn = claim_matrix(ledger).axes[0]
    ticks = [label.get_text().replace("\n", " ") for label in drawn.get_yticklabels()]
    assert ticks == said
    assert len(drawn.get_xticks()) == 2
    marks = sum(len(line.get_xdata()) for line in drawn.get_lines() if line.get_marker() != "None")
    assert marks == len(judged)
    place = margins(judged)
    held = (judged["verdict"] == HOLDS).to_numpy()
    undecided = (judged["verdict"] == UNDECIDED).to_numpy()
    assert (place[held] >= 1).all() and (abs(place[undecided]) <= 1.001).all()


def test_the_page_has_the_matrix_and_a_section_a_claim(ledger):
    page = Page(render_ledger(ledger, title="Claims", command="python -m resnet_probe claims"))
    judged = ledger[(ledger["verdict"] != NOT_HERE) & (ledger["kind"] != "exact")]
    links = [a["href"] for a in page.all("a") if "/" in a["href"]]
    assert links == [f"#{claim}" for claim in dict.fromkeys(judged["claim"])]
    assert {f"#{section['id']}" for section in page.all("section") if "id" in section} == {*links}
    signs = [span["aria-label"] for span in page.all("span") if "aria-label" in span]
    assert signs == list(judged["verdict"])  # in the order of claims, then of networks
    assert [th["title"] for th in page.all("th") if "title" in th] == [
        "preresnet110 on digits",
        "resnet20 on digits",
    ]


def test_results_without_images_named_have_a_column_by_their_network(ledger):
    bare = ledger.assign(on="")
    names = set(ledger["networks"])
    drawn = claim_matrix(bare).axes[0]
    assert {text.get_text() for text in drawn.get_xticklabels()} <= names
