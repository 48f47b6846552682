"""The trainer: its recipe, its batches, one step against a formula, a run."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from trainings import RECIPE, UNIT, digits, linear, network, run, same

from resnet_probe import data, training
from resnet_probe.data import ImageSet
from resnet_probe.data.image_set import on_demand
from resnet_probe.errors import ProbeError
from resnet_probe.training import Recipe, learning_rate
from resnet_probe.training.batches import Batches

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
    return [step[:2] for step in batches.epoch(Generator().manual_seed(3))]


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
        "images_per_s",
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


def test_images_that_are_read_when_needed_train_the_same_and_are_read_once() -> None:
    reads: list[tuple[int, int]] = []

    def reading(images: ImageSet) -> ImageSet:
        def read(start: int, stop: int) -> Tensor:
            reads.append((start, stop))
            return images.images[start:stop]

        return replace(images, images=on_demand(read, images.shape))

    streamed, tested = reading(digits("train")), digits("test", 20)
    options = {"normalization": UNIT, "seed": 1}
    streamed.fingerprint()  # once, and kept
    count = []
    for epochs in (1, 3):
        reads.clear()
        recipe = replace(RECIPE, epochs=epochs)
        found = training.train(network(), streamed, tested, recipe=recipe, **options)
        count.append(len(reads))
    assert count[0] == count[1]  # what an epoch looks at lies in memory
    assert same(found.model, run().model)
    found = training.train(network(), streamed, reading(tested), recipe=RECIPE, **options)
    assert same(found.model, run().model)
    assert found.history["test_error_pct"].equals(run().history["test_error_pct"])


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
