"""Stopping between two steps, by a signal or by force, and going on from there to the same bits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from trainings import RECIPE, UNIT, Interrupted, digits, network, run, same, with_blocks

from resnet_probe import training
from resnet_probe.errors import ProbeError
from resnet_probe.training import team

STEPS = 4  # an epoch has: 50 images, 16 at most a step
PATHS = replace(RECIPE, effective_paths=2)


def after(steps: int) -> Callable[[], bool]:
    """True from the end of that step on."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= steps


@pytest.mark.parametrize("steps", [1, 6, 11])
@pytest.mark.parametrize(
    ("model", "recipe"),
    [(network(), RECIPE), (with_blocks(), PATHS), (network(), replace(RECIPE, low_start=True))],
)
def test_a_stopped_run_goes_on_within_the_epoch_to_the_same_bits(
    steps: int, model: nn.Module, recipe: training.Recipe, tmp_path: Path
) -> None:
    whole, path = run(model, recipe=recipe), tmp_path / "c.pt"
    within = f"after {steps // STEPS} epochs and {steps % STEPS} steps; .*c.pt holds its state"
    with pytest.raises(KeyboardInterrupt, match=within):
        run(model, recipe=recipe, checkpoint=path, stop=after(steps + steps // STEPS))
    resumed = run(model, recipe=recipe, checkpoint=path, resume=True)
    assert same(resumed.model, whole.model)
    timeless = [each.history.drop(columns=["seconds", "images_per_s"]) for each in (whole, resumed)]
    assert timeless[1].equals(timeless[0])


@pytest.mark.parametrize("killed", [3, 6, 9])
def test_a_run_that_is_killed_has_its_last_minutes_in_the_checkpoint(
    killed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_probe.training.checkpoint.SAVE_EVERY", 0.0)
    whole, path = run(), tmp_path / "c.pt"

    def kill(done: int, total: int) -> None:
        if done == killed:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(checkpoint=path, watch=kill)
    kept = torch.load(path, weights_only=True)
    done = len(kept["history"]) * STEPS + (kept["epoch"]["steps"] if kept["epoch"] else 0)
    assert done == killed - 1
    assert same(run(checkpoint=path, resume=True).model, whole.model)


def test_a_stop_between_epochs_keeps_the_whole_epoch(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt, match=r"stopped after 1 epochs; .*c.pt holds its state"):
        run(checkpoint=path, stop=after(STEPS))
    assert torch.load(path, weights_only=True)["epoch"] is None
    assert same(run(checkpoint=path, resume=True).model, run().model)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after 0 epochs and 1 steps$"):
        run(stop=after(1))
    assert len(run(stop=after(3 * STEPS + 2)).history) == 3  # all is done then


# ---- which run a checkpoint belongs to


def test_images_are_known_by_what_they_hold(tmp_path: Path) -> None:
    path, options = tmp_path / "c.pt", {"normalization": UNIT, "recipe": RECIPE, "seed": 1}
    train_set, test_set = digits("train"), digits("test", 20)
    with pytest.raises(KeyboardInterrupt):
        training.train(network(), train_set, test_set, **options, checkpoint=path, stop=after(6))
    options |= {"checkpoint": path, "resume": True}
    moved = [replace(each, name="parquet:/elsewhere/x.parquet") for each in (train_set, test_set)]
    assert same(training.train(network(), *moved, **options).model, run().model)
    other = replace(train_set, labels=train_set.labels.flip(0))
    with pytest.raises(ProbeError, match=r"made with training images [0-9a-f]{64}, not"):
        training.train(network(), other, test_set, **options)


def test_a_choice_that_an_older_run_did_not_know_counts_as_its_default(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=path, stop=after(STEPS))
    old = torch.load(path, weights_only=True)
    del old["options"]["resolution"], old["epoch"]
    torch.save(old, path)
    assert same(run(checkpoint=path, resume=True).model, run().model)
    torch.save(old, path)
    with pytest.raises(ProbeError, match=r"made with resolution None, not \[8, 16\]"):
        run(nn.Sequential(nn.AdaptiveAvgPool2d(16), network()), checkpoint=path, resume=True,
            recipe=replace(RECIPE, resolution=(8, 16)))  # fmt: skip


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with training.asked_to_stop() as asked:
        assert not asked()
        signal.raise_signal(number)
        signal.raise_signal(number)  # from a second sender
        assert asked()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "AT_ONCE", -1.0)
    with training.asked_to_stop() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_threads_are_not_asked() -> None:
    said: list[bool] = []

    def ask() -> None:
        with training.asked_to_stop() as asked:
            said.append(asked())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert said == [False]
