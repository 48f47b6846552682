"""Resuming: to the same bits, from a whole checkpoint of the same run, or not at all."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trainings import RECIPE, Interrupted, interrupt_after, network, run, same

from resnet_probe import data
from resnet_probe.errors import ProbeError


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_run_ends_with_the_same_bits(epoch: int, tmp_path: Path) -> None:
    whole, path = run(), tmp_path / "new" / "run.pt"
    with pytest.raises(Interrupted):
        run(checkpoint=path, progress=interrupt_after(epoch))
    rows: list[dict[str, float]] = []
    resumed = run(network(seed=5), checkpoint=path, resume=True, progress=rows.append)
    assert [row["epoch"] for row in rows] == list(range(epoch + 1, 4))
    assert same(resumed.model, whole.model)
    without_time = whole.history.drop(columns=["seconds", "images_per_s"])
    assert resumed.history.drop(columns=["seconds", "images_per_s"]).equals(without_time)
    again = run(checkpoint=path, resume=True)
    assert same(again.model, whole.model) and len(again.history) == 3
    assert [file.name for file in path.parent.iterdir()] == ["run.pt"]


def test_resuming_without_a_file_starts_at_the_beginning(tmp_path: Path) -> None:
    resumed = run(checkpoint=tmp_path / "run.pt", resume=True)
    assert same(resumed.model, run().model)


def test_a_run_that_stopped_before_its_first_epoch_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr("resnet_probe.training.trainer.one_pass", stopped)
        run(checkpoint=tmp_path / "run.pt")
    assert same(run(checkpoint=tmp_path / "run.pt", resume=True).model, run().model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": replace(RECIPE, lr=0.1)}, r"made with lr 0\.05, not 0\.1"),
        ({"seed": 2}, "made with seed 1, not 2"),
        ({"name": "plain20"}, "made with arch , not plain20"),
        (
            {"recipe": replace(RECIPE, batch=8, epochs=4)},
            "made with epochs 3, not 4; batch 16, not",
        ),
        ({"normalization": data.normalization("cifar10")}, "normalization none, not cifar10"),
    ],
)
def test_other_options_are_not_resumed(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    run(checkpoint=tmp_path / "run.pt")
    with pytest.raises(ProbeError, match=message):
        run(checkpoint=tmp_path / "run.pt", resume=True, **options)


def test_another_network_or_a_damaged_file_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(checkpoint=path)
    with pytest.raises(ProbeError, match="is of another network"):
        run(network(classes=11), checkpoint=path, resume=True)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ProbeError, match="is damaged"):
        run(checkpoint=path, resume=True)
    torch.save(network().state_dict(), path)
    with pytest.raises(ProbeError, match="is not a checkpoint of a training run"):
        run(checkpoint=path, resume=True)


def test_a_checkpoint_of_other_types_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(checkpoint=path)
    whole = torch.load(path, weights_only=True)
    for part, other in (
        ("options", [1]), ("options", {**whole["options"], "epochs": torch.ones(2)}), ("model", 3),
        ("optimizer", {}), ("generator", "x"), ("history", 5),
    ):  # fmt: skip
        torch.save(whole | {part: other}, path)
        with pytest.raises(ProbeError, match=r"is not a checkpoint|cannot be resumed|of another"):
            run(checkpoint=path, resume=True)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ProbeError, match="is a named pipe"):
        run(checkpoint=path, resume=True)


def test_a_checkpoint_is_neither_overwritten_nor_left_half_written(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(Interrupted):
        run(checkpoint=path, progress=interrupt_after(1))
    before = path.read_bytes()
    with pytest.raises(ProbeError, match="holds an earlier training run"):
        run(checkpoint=path)

    with file_size_limit(len(before) // 2), pytest.raises(ProbeError, match="cannot be written"):
        run(checkpoint=path, resume=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    assert same(run(checkpoint=path, resume=True).model, run().model)


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Files cannot grow beyond so many bytes: a write fails midway, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProbeError, match=r"run\.pt cannot be written"):
        run(checkpoint=tmp_path / "file" / "run.pt")
