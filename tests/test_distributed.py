"""Two processes train together: as one would, and with the same blocks left out."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from teams import TRAINING, Forked, by_torchrun, trained
from trainings import RECIPE, digits, linear, run, same, with_blocks

from resnet_probe import training, zoo
from resnet_probe.cli import main
from resnet_probe.errors import ProbeError
from resnet_probe.results import Result
from resnet_probe.training import Team
from resnet_probe.training.batches import Batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both processes have left, and what they have said."""
    folder = tmp_path_factory.mktemp("team")
    by_torchrun(trained, folder)
    return folder


def said(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("said-*"))


@pytest.fixture
def found(folder: Path) -> list[dict]:
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_processes_give_what_one_gives(found: list[dict]) -> None:
    alone, model = run(linear()), linear()
    model.load_state_dict(found[0]["state"])
    for key, value in alone.model.state_dict().items():
        assert torch.allclose(found[0]["state"][key], value, atol=1e-6), key
    for row, expected in zip(found[0]["history"], alone.history.to_dict("records"), strict=True):
        for column in ("epoch", "lr", "train_loss", "train_error_pct", "test_error_pct"):
            assert row[column] == pytest.approx(expected[column], abs=1e-5)


def test_all_end_with_the_same_weights_and_the_first_reports(found: list[dict]) -> None:
    for kind in ("state", "blocks"):
        first, second = (each[kind] for each in found)
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert [each["rows"] for each in found] == [3, 0]


def test_the_same_blocks_are_left_out_everywhere(found: list[dict]) -> None:
    first, second = (torch.tensor(each["ran"])[:, :4] for each in found)  # before the first test
    assert torch.equal(first, second)
    assert first.any() and not first.all()


def test_one_stops_all_and_they_go_on_to_the_same_bits(folder: Path) -> None:
    found = [torch.load(folder / f"s{rank}.pt", weights_only=True) for rank in (0, 1)]
    for each in found:
        assert "stopped after 1 epochs and 1 steps" in each["said"]
        for key, value in each["resumed"].items():
            assert torch.equal(value, found[0]["whole"][key]), key


def test_the_command_trains_in_two_processes_and_speaks_once(folder: Path) -> None:
    assert said(folder).count("epoch   1/1") == 1 and said(folder).count("test error") == 2
    card = zoo.Card.read(folder / "t" / "resnet20-width-4-digits.json")
    assert card.command.startswith("python -m resnet_probe train --arch resnet20:width=4")
    assert card.command.endswith("--processes 2")
    assert card.machine.startswith("2 processes, each on")
    assert Result.load(folder / "t" / "history").study == "train"


def test_the_command_starts_two_processes_by_itself_to_the_same_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("resnet_probe.training.team.subprocess", SimpleNamespace(Popen=Forked))
    small = [*TRAINING, "--processes", "2", "--batch", "300", "--out", "u"]
    assert main(small) == 0
    assert said(tmp_path).count("epoch   1/1") == 1
    first, second = (
        zoo.Card.read(next(place.glob("*.json"))) for place in (folder / "t", tmp_path / "u")
    )
    assert first.weights_sha256 == second.weights_sha256
    assert first.command == second.command


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("", 0, ""),
        ("import time; time.sleep(60) if rank == 0 else print('worse', file=sys.stderr); "
         "sys.exit(3)", 9, "worse\n"),
        ("print('bad', file=sys.stderr); sys.exit(2)", 2, "bad\n"),
        ("import signal; os.kill(os.getppid(), signal.SIGTERM); import time; time.sleep(60)",
         15, ""),
    ],
)  # fmt: skip
def test_one_that_fails_ends_all_and_is_heard(
    code: str, status: int, said: str, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("resnet_probe.training.team.GRACE", 0.2)
    program = f"import os, sys; rank = int(os.environ['RANK']); {code}"
    assert training.launched([sys.executable, "-c", program], 2) == status
    assert capfd.readouterr().err == said


@pytest.mark.parametrize("count", [10**4, 2**70])
def test_more_processes_than_a_machine_carries_are_not_started(count: int) -> None:
    with pytest.raises(ProbeError, match=rf"processes={count}: this machine has \d+ processors"):
        training.launched(["false"], count)


# ---- without other processes


@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_are_the_batch_in_parts_whose_losses_add_up(size: int) -> None:
    images, labels = digits("train").images, torch.arange(50)
    whole = list(Batches.of(images, labels, RECIPE).epoch(torch.Generator().manual_seed(0)))
    parts = [
        list(Batches.of(images, labels, RECIPE, Team(rank, size)).epoch(generator))
        for rank in range(size)
        for generator in [torch.Generator().manual_seed(0)]
    ]
    for number, step in enumerate(whole):
        shares = [part[number] for part in parts]
        assert sorted(torch.cat([share.labels for share in shares]).tolist()) == sorted(
            step.labels.tolist()
        )
        means = [share.weight * share.labels.double().mean() for share in shares]
        assert float(sum(means) / size) == pytest.approx(step.labels.double().mean().item())
    assert all(step.weight == 1 for step in whole)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ProbeError, match="steps of 0 images for each of 20 processes"):
        run(linear(), team=Team(0, 20))


def test_a_team_of_one_changes_nothing() -> None:
    assert same(run(with_blocks(), team=Team()).model, run(with_blocks()).model)


def test_only_the_first_process_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for rank in (0, 1):
        monkeypatch.setattr(
            training, "joined", lambda device, rank=rank: nullcontext((Team(rank, 2), device))
        )
        out = ["--out", str(tmp_path / "t")]
        assert main(["train", "--arch", "resnet20:width=4", "--batch", "1", *out]) == 2
        said = capsys.readouterr().err
        assert ("error: a batch of 1 leaves steps of 0 images" in said) == (rank == 0)
        assert not (tmp_path / "t").exists()
