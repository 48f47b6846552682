"""`bench train`: the plain loop trains as ours does, and both are timed on the same steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from trainings import RECIPE, UNIT, any_size, digits, linear, same

from resnet_probe import data, training
from resnet_probe.benchmarks import train as bench
from resnet_probe.benchmarks.train import PLAIN, Pictures, PlainLoop, benchmark, transforms_of
from resnet_probe.cli import main
from resnet_probe.training.team import ALONE

CPU = torch.device("cpu")
WHOLE = replace(RECIPE, batch=50, pad=0, epochs=3)


def plain(model: nn.Module, **options: object) -> PlainLoop:
    given = {"device": CPU, "workers": 0, "seed": 0, **options}
    recipe = given.pop("recipe", WHOLE)
    return PlainLoop(digits("train"), UNIT, model, recipe, **given)


def test_the_plain_loop_ends_where_the_trainer_does() -> None:
    """One step an epoch with all images, and no crops: nothing is left to chance."""
    model, loop = linear(), plain(linear())
    for epoch in (1, 2, 3):
        loop.one_pass(epoch)
    ours = training.train(model, *[digits("train")] * 2, normalization=UNIT, recipe=WHOLE).model
    for key, value in ours.state_dict().items():
        assert torch.allclose(loop.model.state_dict()[key], value, atol=1e-5)
    assert not same(model, ours)


def test_its_images_are_those_of_the_recipe() -> None:
    images = digits("train")
    scale = data.normalization("mean=0.3,0.4,0.5,std=0.2,0.1,0.3")
    found = Pictures(images, transforms_of(replace(RECIPE, pad=0), scale, images))
    assert len(found) == 50
    shown, label = found[7]
    assert label == images.labels[7]
    assert torch.allclose(shown, scale.apply(images.images[7:8])[0], atol=1e-6)
    with torch.random.fork_rng():
        cropped = [Pictures(images, transforms_of(RECIPE, UNIT, images))[7][0] for _ in range(30)]
    padded = np.pad(images.images[7].numpy(), [(0, 0), (1, 1), (1, 1)])
    crops = [padded[:, i : i + 16, j : j + 16] for i in range(3) for j in range(3)]
    seen = {
        next(place for place, crop in enumerate(crops) if np.array_equal(crop, np.round(one * 255)))
        for one in (each.numpy() for each in cropped)
    }
    assert len(seen) > 4
    flip = replace(RECIPE, flip=True)
    assert "RandomHorizontalFlip" in str(transforms_of(flip, UNIT, images))
    assert "Flip" not in str(transforms_of(RECIPE, UNIT, images))


def test_every_way_is_timed_and_tested() -> None:
    model = linear()
    found = benchmark(
        [model, linear()],
        digits("train"),
        digits("test", 20),
        recipe=RECIPE,
        normalization=UNIT,
        precisions=("float32", "bfloat16"),
        device=CPU,
        rounds=2,
        workers=0,
        epochs=1,
    )
    ways = [PLAIN, "trainer, float32", "trainer, bfloat16"]
    assert list(found.images_per_s) == ways == list(found.test_error_pct)
    assert all(speed > 0 for speed in found.images_per_s.values())
    own = training.train(
        model,
        digits("train"),
        digits("test", 20),
        normalization=UNIT,
        recipe=replace(RECIPE, epochs=1),
    )
    expected = own.history["test_error_pct"].iloc[-1]
    assert found.test_error_pct["trainer, float32"][0] == expected
    assert {len(errors) for errors in found.test_error_pct.values()} == {2}


def test_growing_images_are_timed_in_the_shares_of_their_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def timed(call: Callable[[], None], device: torch.device) -> tuple[float, None]:
        call()
        return {8: 1.0, 12: 2.0, 16: 10.0}[way.state.sized.height], None

    monkeypatch.setattr(bench, "timed", timed)
    way = bench.Trainer(
        digits("train"), UNIT, any_size(), replace(RECIPE, epochs=16), device=CPU, seed=0,
        precision="float32", resolution=(8, 12, 16), compiled=False, team=ALONE,
    )  # fmt: skip
    speeds = bench._speeds({"way": way}, digits("train"), CPU, 2, ALONE)
    seconds = (6 * 1.0 + 5 * 2.0 + 5 * 10.0) / 16
    assert speeds == {"way": pytest.approx(50 / seconds)}


def test_workers_read_ahead() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more workers than processors, where there are few
        ahead = plain(linear(), workers=2, recipe=replace(WHOLE, batch=16))
        here = plain(linear(), workers=0, recipe=replace(WHOLE, batch=16))
        for loop in (ahead, here):
            loop.one_pass(1)
    assert ahead.loader.num_workers == 2 and here.loader.num_workers == 0


def test_the_command_says_how_much_faster(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--arch", "resnet20:width=4", "--size", "8", "--batch", "8", "--limit", "16"]
    given = ["bench", "train", *small, "--rounds", "1", "--workers", "0", "--precision", "float32"]
    given += ["--processes", "1"]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "16 images of 3×8×8 (random), batch 8" in said
    lines = [line for line in said.splitlines() if "images/s" in line]
    assert len(lines) == 3 and lines[0].endswith("1.00x")
    assert lines[2].startswith("trainer, float32, 4,6,8 pixels")
    assert all(float(line.split("x")[-2].split()[-1]) > 0 for line in lines)
    assert main([*given, "--epochs", "1"]) == 2
    assert "--epochs trains and tests: give the images" in capsys.readouterr().err
    assert main([*given, "--rounds", "0"]) == 2
