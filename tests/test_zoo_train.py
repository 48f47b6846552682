"""`zoo train`: networks one after the other, resumable as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet_probe import zoo
from resnet_probe.cli import main
from resnet_probe.cli import train as command
from resnet_probe.zoo import adding

SMALL = ["--data", "digits", "--recipe", "digits", "--resolution", "16", "--batch", "300"]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    tiny = {
        "one": {"arch": "resnet20:width=4", "seed": 0},
        "two": {"arch": "plain20:width=4", "seed": 3, "lr": 0.03},
        "bad": {"arch": "resnet20:width=4", "seed": 0, "batch": 1000},
    }
    monkeypatch.setattr(adding, "WANTED", tiny)
    return [*SMALL, "--epochs", "1", "--out", str(tmp_path)]


def test_what_is_not_done_is_trained_and_what_is_done_is_left(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "train", "--list", *given]) == 0
    assert capsys.readouterr().out.split() == ["one", "two", "bad"]
    assert main(["zoo", "train", "one", *given]) == 0
    assert "one  epoch   1/1" in capsys.readouterr().out
    assert main(["zoo", "train", "one", "two", *given]) == 0
    said = capsys.readouterr().out
    assert "one: done, " in said and "one  epoch" not in said and "two  epoch   1/1" in said
    card = zoo.Card.read(next((tmp_path / "two").glob("*.json")))
    assert (card.arch, card.seed) == ("plain20:width=4", 3)
    assert "--lr 0.03" in card.command
    assert main(["zoo", "train", "--list", *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:2] for line in lines] == [["done,"], ["done,"], []]


def test_one_that_cannot_be_trained_does_not_stop_the_others(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word for word in given if word not in ("--batch", "300")]
    assert main(["zoo", "train", "bad", "two", *given]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: bad: a batch of 1000 does not fit digits")
    assert "two  epoch   1/1" in said.out


def test_an_interruption_ends_all_and_the_same_command_goes_on(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command.OneTraining, "save", interrupted)
        assert main(["zoo", "train", "one", "two", *given]) == 130
    assert "one holds the state; the same command goes on" in capsys.readouterr().err
    assert main(["zoo", "train", "--list", *given]) == 0
    assert "stopped after 1 of 1 epochs" in capsys.readouterr().out
    assert main(["zoo", "train", "one", *given]) == 0
    assert "test error" in capsys.readouterr().out


@pytest.mark.parametrize(("rank", "mine"), [(0, ["one", "bad"]), (1, ["two"])])
def test_processes_of_torchrun_share_the_networks(
    rank: int, mine: list[str], given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")

    def run(self: command.OneTraining, out: Path, *, resume: bool) -> int:
        assert self.team.size == 1 and resume
        trained.append(out.name)
        return 0

    monkeypatch.setattr(command.OneTraining, "run", run)
    assert main(["zoo", "train", "one", "two", "bad", *given]) == 0
    assert trained == mine


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["three"], "there is no network 'three' to train: one, two, bad"),
        ([], "which networks? name some"),
        (["one", "--epochs", "2"], "holds a training with epochs 1, not 2: give another --out"),
    ],
)
def test_nonsense_is_refused(
    names: list[str], message: str, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if "--epochs" in names:
        assert main(["zoo", "train", "one", *given]) == 0
        assert main(["zoo", "train", *given, *names]) == 1
    else:
        assert main(["zoo", "train", *names, *given]) == 2
    assert message in capsys.readouterr().err
