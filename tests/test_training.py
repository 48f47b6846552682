"""The trainer: one step against a formula, resumption bit for bit, and what it refuses."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from resnet_probe import data, training
from resnet_probe.data import ImageSet
from resnet_probe.errors import ProbeError
from resnet_probe.training import Recipe, learning_rate
from resnet_probe.training.batches import Batches

UNIT = data.normalization("none")
RECIPE = Recipe(epochs=3, batch=16, lr=0.05, pad=1)


def digits(split: str, images: int = 50) -> ImageSet:
    return data.load("digits", split=split, limit=images)


def network(seed: int = 0, classes: int = 10) -> nn.Module:
    """Everything with a state: batch norm has statistics, dropout draws, SGD has momentum."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(4 * 7 * 7, classes),
        )


def linear(inputs: int = 768, *, bias: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 10, bias=bias))


def run(model: nn.Module | None = None, **options: object) -> training.TrainingRun:
    chosen = {"normalization": UNIT, "recipe": RECIPE, "seed": 1, **options}
    return training.train(model or network(), digits("train"), digits("test", 20), **chosen)


def same(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


# ---- the recipe


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    recipe = Recipe(epochs=1, batch=1, lr=0.4, warmup=0.2)
    rates = [learning_rate(recipe, step, 10) for step in range(10)]
    falling = [0.2 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates == pytest.approx([0.2, 0.4, *falling])


@pytest.mark.parametrize("warmup", [0.0, 0.001, 1.0])
def test_the_rate_is_defined_without_warmup_and_with_nothing_else(warmup: float) -> None:
    recipe = Recipe(epochs=1, batch=1, lr=0.4, warmup=warmup)
    rates = [learning_rate(recipe, step, 7) for step in range(7)]
    assert max(rates) == pytest.approx(0.4)
    assert rates == sorted(rates, reverse=warmup < 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch": 0},
        {"lr": 0.0},
        {"lr": math.nan},
        {"lr": math.inf},
        {"warmup": 1.1},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"label_smoothing": 1.0},
        {"pad": -1},
    ],
)
def test_senseless_recipes_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ProbeError, match=f"a recipe with {name} .* cannot be trained: {name} must"):
        replace(RECIPE, **wrong)


def test_digits_are_never_mirrored() -> None:
    assert not training.recipe("digits").flip
    with pytest.raises(ProbeError, match="digits cannot be trained with flip"):
        run(recipe=replace(RECIPE, flip=True))


# ---- the batches


def batches_of(recipe: Recipe, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    # The label is the image's number, so that each can be told apart.
    batches = Batches.of(images, torch.arange(len(images)), recipe)
    return list(batches.epoch(Generator().manual_seed(3)))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 33, 899])
def test_an_epoch_has_every_image_once_in_steps_of_equal_size(count: int) -> None:
    recipe = replace(RECIPE, pad=0)
    images = torch.arange(count).remainder(256).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 2, 2)
    parts = batches_of(recipe, images)
    labels = torch.cat([part for _, part in parts])
    assert sorted(labels.tolist()) == list(range(count))
    assert labels.tolist() != list(range(count)) or count == 1
    assert torch.equal(torch.cat([part for part, _ in parts]), images[labels])
    sizes = [len(part) for _, part in parts]
    assert len(sizes) == math.ceil(count / 16) and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("flip", [False, True])
def test_crops_and_mirrors_are_those_of_a_plain_loop(flip: bool) -> None:
    pad, height, width = 2, 5, 4
    images = torch.from_numpy(
        np.random.default_rng(0).integers(1, 256, (400, 3, height, width), dtype=np.uint8)
    )
    recipe = replace(RECIPE, pad=pad, flip=flip)
    parts = batches_of(recipe, images)
    seen = set()
    found = torch.cat([part for part, _ in parts]).numpy()
    for image, label in zip(found, torch.cat([part for _, part in parts]), strict=True):
        padded = np.pad(images[label].numpy(), [(0, 0), (pad, pad), (pad, pad)])
        matches = [
            (down, right, mirrored)
            for down, right in itertools.product(range(2 * pad + 1), repeat=2)
            for mirrored in (False, True)
            if np.array_equal(
                padded[:, down : down + height, right : right + width][:, :, :: 1 - 2 * mirrored],
                image,
            )
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert {match[:2] for match in seen} == set(itertools.product(range(5), repeat=2))
    assert {match[2] for match in seen} == ({False, True} if flip else {False})


# ---- one step


def test_one_step_is_nesterov_momentum_on_smoothed_cross_entropy() -> None:
    train_set = digits("train", 12)
    model = linear(bias=False)
    recipe = Recipe(
        epochs=1,
        batch=12,
        lr=0.1,
        warmup=0,
        momentum=0.8,
        weight_decay=0.01,
        label_smoothing=0.3,
    )
    done = training.train(model, train_set, train_set, normalization=UNIT, recipe=recipe)
    inputs = train_set.images.flatten(1).numpy() / 255
    weight = model[1].weight.detach().numpy().astype(np.float64)
    logits = inputs @ weight.T
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = 0.7 * np.eye(10)[train_set.labels] + 0.3 / 10
    gradient = (probabilities - targets).T @ inputs / 12 + 0.01 * weight
    # Nesterov's first step: the gradient, and the momentum times that gradient once more.
    expected = weight - 0.1 * 1.8 * gradient
    np.testing.assert_allclose(done.model[1].weight.detach().numpy(), expected, atol=1e-6)
    row = done.history.iloc[0]
    assert row["train_loss"] == pytest.approx(-(targets * np.log(probabilities)).sum(1).mean())
    wrong = (logits.argmax(1) != train_set.labels.numpy()).mean()
    assert row["train_error_pct"] == pytest.approx(100 * wrong)
    found = (inputs @ expected.T).argmax(1) != train_set.labels.numpy()
    assert row["test_error_pct"] == pytest.approx(100 * found.mean())


# ---- a run


def test_the_history_has_a_row_an_epoch() -> None:
    rows: list[dict[str, float]] = []
    found = run(progress=rows.append).history
    assert list(found.columns) == [
        "epoch",
        "lr",
        "train_loss",
        "train_error_pct",
        "test_error_pct",
        "seconds",
    ]
    assert found["epoch"].tolist() == [1, 2, 3]
    assert found.to_dict("records") == rows
    steps = 4  # 50 images in steps of at most 16
    last = [learning_rate(RECIPE, epoch * steps - 1, 3 * steps) for epoch in (1, 2, 3)]
    assert found["lr"].tolist() == last


def test_the_model_and_the_global_random_state_stay_as_they_are() -> None:
    model = network()
    before, state = copy.deepcopy(model), torch.random.get_rng_state()
    found = run(model)
    assert same(model, before) and model.training
    assert not same(found.model, before) and not found.model.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_seed_decides_the_weights_whatever_the_global_state() -> None:
    first = run().model
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert same(run().model, first)
    assert not same(run(seed=2).model, first)


def test_a_model_in_eval_mode_is_trained_all_the_same() -> None:
    assert same(run(network().eval()).model, run().model)


def test_it_learns() -> None:
    model = linear()
    halves = data.load("digits", split="train"), data.load("digits")
    recipe = Recipe(epochs=5, batch=64, lr=0.02)
    found = training.train(model, *halves, normalization=UNIT, recipe=recipe)
    correct = training.count_correct(found.model, halves[1], normalization=UNIT)
    assert found.history["test_error_pct"].iloc[-1] == 100 * (1 - correct / 898) < 10


def test_count_correct_is_a_plain_loop_and_leaves_the_modes() -> None:
    model, images = network(), digits("test", 30)
    model[3].eval()
    found = training.count_correct(model, images, normalization=UNIT, batch=7)
    assert [layer.training for layer in model] == [True, True, True, False, True, True]
    evaluated = copy.deepcopy(model).eval()
    with torch.inference_mode():
        expected = sum(
            int(evaluated(image[None] / 255).argmax()) == label
            for image, label in zip(images.images, images.labels.tolist(), strict=True)
        )
    assert found == expected


# ---- resuming


class Interrupted(Exception):
    pass


def interrupt_after(epoch: int) -> object:
    def progress(row: dict[str, float]) -> None:
        if row["epoch"] == epoch:
            raise Interrupted

    return progress


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_run_ends_with_the_same_bits(epoch: int, tmp_path: Path) -> None:
    whole, path = run(), tmp_path / "new" / "run.pt"
    with pytest.raises(Interrupted):
        run(checkpoint=path, progress=interrupt_after(epoch))
    rows: list[dict[str, float]] = []
    resumed = run(network(seed=5), checkpoint=path, resume=True, progress=rows.append)
    assert [row["epoch"] for row in rows] == list(range(epoch + 1, 4))
    assert same(resumed.model, whole.model)
    without_time = whole.history.drop(columns="seconds")
    assert resumed.history.drop(columns="seconds").equals(without_time)
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


def test_a_checkpoint_is_neither_overwritten_nor_left_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(Interrupted):
        run(checkpoint=path, progress=interrupt_after(1))
    before = path.read_bytes()
    with pytest.raises(ProbeError, match="holds an earlier training run"):
        run(checkpoint=path)

    def full(state: object, place: Path) -> None:
        place.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ProbeError, match=r"cannot be written \(No space left"):
        run(checkpoint=path, resume=True)
    assert path.read_bytes() == before


def test_a_checkpoint_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProbeError, match=r"run\.pt cannot be written"):
        run(checkpoint=tmp_path / "file" / "run.pt")


# ---- refusals


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    path, recipe = tmp_path / "run.pt", replace(RECIPE, lr=1e30, warmup=0)
    with pytest.raises(ProbeError, match=r"diverged in epoch 1: the loss is (nan|inf) at learning"):
        run(linear(), recipe=recipe, checkpoint=path)
    kept = torch.load(path, weights_only=True)
    assert all(torch.isfinite(value).all() for value in kept["model"].values())


def test_labels_beyond_the_head_are_refused() -> None:
    with pytest.raises(ProbeError, match=r"labels of digits \(train\) are 0–9: .* 9 classes .*0–8"):
        run(network(classes=9))


def test_sets_that_cannot_be_trained_on_are_refused() -> None:
    with pytest.raises(ProbeError, match="does not take images of 3×16×16"):
        run(linear(inputs=5))
    empty = digits("train")
    empty = replace(empty, images=empty.images[:0], labels=empty.labels[:0])
    with pytest.raises(ProbeError, match=r"digits \(train\) holds no images"):
        training.train(network(), empty, empty, normalization=UNIT, recipe=RECIPE)
