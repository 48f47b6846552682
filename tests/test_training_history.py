"""The history of a training: a run folder like any other, its figure, and what is said."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch
from trainings import RECIPE, linear, run

from resnet_probe import figures
from resnet_probe.cli import main
from resnet_probe.cli.train import TrainProgress, announce, command, duration, work_of
from resnet_probe.errors import ProbeError
from resnet_probe.figures.history import OTHERS
from resnet_probe.loading.trained import TrainingRequest
from resnet_probe.results import Result

SMALL = ["train", "--arch", "resnet20:width=4", "--epochs", "2", "--batch", "300"]


def history(**columns: list[float]) -> pd.DataFrame:
    epochs = len(columns["test_error_pct"])
    return pd.DataFrame({"epoch": range(1, epochs + 1), "lr": [0.1] * epochs, **columns})


def test_the_history_is_a_result(tmp_path: Path) -> None:
    found = run(name="a network")
    saved = found.result(command="train").save(tmp_path / "history")
    loaded = Result.load(saved)
    assert loaded.study == "train"
    pd.testing.assert_frame_equal(loaded.table, found.history, check_exact=True)
    identity = loaded.identity
    assert (identity["arch"], identity["data"], identity["seed"]) == ("a network", "digits", 1)
    assert identity["effective_paths"] is None and identity["lr"] == 0.05


def test_the_figure_shows_both_errors_and_the_rate() -> None:
    table = history(train_error_pct=[50.0, 20.0, 10.0], test_error_pct=[60.0, 30.0, 25.0])
    drawn = figures.draw_all(Result("train", table, {"identity": {"arch": "n", "data": "d"}}))
    errors, rates = drawn["figure"].axes
    assert drawn["figure"].get_suptitle() == "n on d"
    assert [list(line.get_ydata()) for line in errors.lines] == [
        [60.0, 30.0, 25.0],
        [50.0, 20.0, 10.0],
    ]
    assert list(rates.lines[0].get_ydata()) == [0.1] * 3
    assert rates.get_xlabel() == "epoch" and "log" not in errors.get_ylabel()


def test_networks_together_have_a_panel_each_beside_the_others_in_grey() -> None:
    tables = [
        history(train_error_pct=[90.0, 0.0], test_error_pct=[90.0, last]).assign(arch=name)
        for name, last in (("plain56", 9.0), ("resnet56", 1.0))
    ]
    panels = figures.error_by_epoch(pd.concat(tables)).axes
    assert [ax.get_title(loc="left") for ax in panels] == ["(a) plain56", "(b) resnet56"]
    last = [[line.get_ydata()[-1] for line in ax.lines] for ax in panels]
    assert last == [[1.0, 9.0, 0.0], [9.0, 1.0, 0.0]]  # the other's test, its own, its training
    assert panels[0].lines[0].get_color() == OTHERS != panels[0].lines[1].get_color()


def test_another_table_is_refused() -> None:
    with pytest.raises(ProbeError, match="is it the history of a training"):
        figures.error_by_epoch(pd.DataFrame({"epoch": [1]}))


def test_the_command_leaves_a_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--out", str(tmp_path / "t")]) == 0
    said = capsys.readouterr().out
    assert "epoch   1/2" in said and "images/s" in said and "left" in said
    found = Result.load(tmp_path / "t" / "history")
    names = {path.name for path in (tmp_path / "t" / "history").iterdir()}
    assert names == {"table.csv", "provenance.json", "figure.png", "figure.svg"}
    assert found.provenance["command"].startswith(
        "python -m resnet_probe train --arch resnet20:width=4 --epochs 2 --batch 300 --precision "
    )
    assert found.provenance["command"].endswith("--processes 1")
    assert main([*SMALL, "--lr", "0.3", "--out", str(tmp_path / "t")]) == 2
    assert "lr is 0.1 there and 0.3 was asked for" in capsys.readouterr().err
    assert Result.load(tmp_path / "t" / "history").table.equals(found.table)


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        (["--stochastic-depth", "0.5"], "resnet20:width=4,stochastic_depth=0.5"),
        (["--deleted-blocks", "7,3"], "resnet20:width=4,deleted=3+7"),
    ],
)
def test_regimes_are_in_the_spec(
    given: list[str], spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = main([*SMALL, "--epochs", "1", *given, "--out", str(tmp_path / "t")])
    assert done == 0, capsys.readouterr().err
    (weights,) = (tmp_path / "t").glob("*.safetensors")
    given = ["--arch", spec, "--weights", str(weights), "--limit", "20"]
    assert main(["lesion", *given, "--out", str(tmp_path / "l")]) == 0
    assert Result.load(tmp_path / "l").identity["arch"] == spec


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--effective-paths", "10"], r"10 blocks a mini-batch cannot be kept: .* has 9 residual"),
        (["--effective-paths", "0"], "effective_paths must be at least 1"),
        (["--deleted-blocks", "12"], "block 12 is out of range: resnet20.* has 9 blocks"),
        (["--stochastic-depth", "1.5"], "stochastic_depth"),
        (["--arch", "plain20:width=4", "--effective-paths", "3"], "this network has none"),
        (
            ["--arch", "plain20:width=4", "--stochastic-depth", "0.5"],
            'no option "stochastic_depth"',
        ),
        (["--batch", "1000"], r"a batch of 1000 does not fit digits \(train\)"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert main([*SMALL, *given, "--out", str(tmp_path / "t")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert re.search(message, said)
    assert not (tmp_path / "t").exists()


# ---- what is said meanwhile


def test_the_time_left_is_reckoned_from_recent_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainProgress([1] * 100, lambda done, total: None)
    row = dict.fromkeys(("lr", "train_loss", "train_error_pct", "test_error_pct"), 0.5)
    for epoch, seconds in enumerate([500.0, 10.0, 10.0, 10.0, 10.0, 10.0], start=1):
        progress({**row, "epoch": epoch, "seconds": seconds, "images_per_s": 1234.5})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("1,234 images/s  13 h 45 min left")
    assert lines[5].startswith("epoch   6/100") and lines[5].endswith("16 min left")


def test_the_bar_is_about_the_steps_of_this_run() -> None:
    seen: list[tuple[int, int]] = []
    run(
        recipe=replace(RECIPE, epochs=2, batch=1), model=linear(), watch=lambda *at: seen.append(at)
    )
    assert seen == [(step, 100) for step in range(1, 101)]
    moved: list[tuple[int, int]] = []
    resumed = TrainProgress([1, 1], lambda *at: moved.append(at))
    for done, total in seen[50:]:
        resumed.step(done, total)
    assert moved == [(step, 50) for step in range(1, 51)]


def test_the_time_left_is_reckoned_by_the_pixels_of_the_epochs_to_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_of(replace(RECIPE, epochs=3, resolution=(8, 12, 16)))
    assert work == [64, 144, 256]
    assert work_of(RECIPE) == [1, 1, 1]
    moved: list[tuple[int, int]] = []
    progress = TrainProgress(work, lambda *at: moved.append(at), "a network")
    row = dict.fromkeys(("lr", "train_loss", "train_error_pct", "test_error_pct"), 0.5)
    progress.step(10, 30)
    progress({**row, "epoch": 1, "seconds": 64.0, "images_per_s": 1.0})
    assert capsys.readouterr().out.endswith(" 7 min left\n")  # 400 s
    monkeypatch.setattr("resnet_probe.cli.train.A_LINE_EVERY", 0.0)
    progress.step(15, 30)
    said = capsys.readouterr().out  # half of the second epoch: 72 + 256 s
    assert said == "a network  epoch   2/3  step 5/10  5 min left\n"
    assert moved[-1] == (round(10 / 256 * (6.4 + 72)), round(10 / 256 * (464 - 57.6)))


@pytest.mark.parametrize(
    ("words", "expected"),
    [("flags : fpu avx2 avx512f", "float32"), ("flags : fpu avx512_bf16 avx2", "bfloat16"),
     ("flags : amx_bf16", "bfloat16"), ("Features : asimd bf16", "bfloat16")],
)  # fmt: skip
def test_bfloat16_is_chosen_where_the_processor_multiplies_in_it(
    words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "cpuinfo").write_text(words)
    module = import_module("resnet_probe.training.recipe")  # a function has that name too
    monkeypatch.setattr(module, "PROCESSOR", tmp_path / "cpuinfo")
    cpu = torch.device("cpu")
    ready = TrainingRequest(arch="resnet20:width=4").ready(cpu)
    assert ready.recipe.precision == expected
    asked = TrainingRequest(arch="resnet20:width=4", precision="bfloat16").ready(cpu)
    announce(asked, "digits", tmp_path / "t")
    assert ("float32 is much faster" in capsys.readouterr().err) == (expected == "float32")
    assert "--precision bfloat16 --processes 2" in command(TrainingRequest(arch="x"), asked, 2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (99.4, "99 s"),
        (99.5, "2 min"),
        (5900, "98 min"),
        (6000, "1 h 40 min"),
        (36300, "10 h 05 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
