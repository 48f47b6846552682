"""What cannot be trained is refused in one sentence, and a diverged run at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trainings import RECIPE, UNIT, digits, linear, network, run

from resnet_probe import training
from resnet_probe.errors import ProbeError
from resnet_probe.loading.trained import TrainingRequest


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    path, recipe = tmp_path / "a/b/run.pt", replace(RECIPE, lr=1e30, warmup=0)
    with pytest.raises(ProbeError, match=r"diverged in epoch 1: the loss is (nan|inf) at learning"):
        run(linear(), recipe=recipe, checkpoint=path)
    assert not list(tmp_path.iterdir())  # what it held leads there again
    (tmp_path / "a").mkdir()
    with pytest.raises(ProbeError, match="diverged"):
        run(linear(), recipe=recipe, checkpoint=path)
    assert [each.name for each in tmp_path.rglob("*")] == ["a"]


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


def test_a_batch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(
        ProbeError, match=r"a batch of 51 does not fit digits \(train\).* 50 images"
    ):
        run(recipe=replace(RECIPE, batch=51))
    with pytest.raises(ProbeError, match="leaves steps of 1 images, and batch norm needs two"):
        run(recipe=replace(RECIPE, batch=1))
    assert len(run(linear(), recipe=replace(RECIPE, batch=1, epochs=1)).history) == 1


def test_too_little_memory_is_said_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("resnet_probe.training.steps.one_step", full)
    with pytest.raises(ProbeError, match="steps of 16 images do not fit the memory of cpu"):
        run()


def test_sets_of_other_classes_are_refused() -> None:
    train_set, test_set = digits("train"), digits("test")
    animals = replace(test_set, class_names=("cat", *test_set.class_names[1:]))
    named = replace(train_set, class_names=("airplane", *train_set.class_names[1:]))
    options = {"normalization": UNIT, "recipe": replace(RECIPE, epochs=1)}
    with pytest.raises(ProbeError, match="class 0 is 'airplane' in digits and 'cat' in digits"):
        training.train(network(), named, animals, **options)
    training.train(network(), named, test_set, **options)  # numbers are no names


def test_labels_of_the_test_images_count_too() -> None:
    test_set = digits("test")
    beyond = replace(test_set, labels=test_set.labels + 1)
    with pytest.raises(ProbeError, match=r"labels of digits \(test\) are 1–10"):
        training.train(network(), digits("train"), beyond, normalization=UNIT, recipe=RECIPE)


def test_a_recipe_is_refused_before_images_are_looked_for() -> None:
    for given, said in (
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 10**9}, "at most 100,000"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"recipe": "slow"}, "no recipe 'slow'"),
        ({"normalize": "best"}, "is not a normalization"),
    ):
        asked = TrainingRequest(arch="resnet20", data="parquet:none", test_data="none", **given)
        with pytest.raises(ProbeError, match=said):
            asked.ready(torch.device("cpu"))
