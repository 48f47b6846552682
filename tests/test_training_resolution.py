"""Training on small images first: which sizes when, how they are made, and what is tested."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trainings import (
    RECIPE,
    UNIT,
    Interrupted,
    any_size,
    digits,
    interrupt_after,
    linear,
    run,
    same,
)

from resnet_probe import training
from resnet_probe.errors import ProbeError
from resnet_probe.training.batches import Batches, averaged

GROWING = replace(RECIPE, pad=2, resolution=(8, 12, 16))


@pytest.mark.parametrize(
    ("epochs", "sizes", "expected"),
    [
        (24, (16, 24, 32), [8, 8, 8]),
        (16, (16, 24, 32), [6, 5, 5]),
        (3, (16, 24, 32), [1, 1, 1]),
        (9, (16, 32), [6, 3]),
        (9, (12, 16, 20, 32), [2, 2, 2, 3]),
        (2, (32,), [2]),
    ],
)
def test_the_smaller_sizes_share_two_thirds_of_the_epochs(
    epochs: int, sizes: tuple[int, ...], expected: list[int]
) -> None:
    recipe = replace(RECIPE, epochs=epochs, resolution=sizes)
    heights = [recipe.height_in(epoch) for epoch in range(1, epochs + 1)]
    assert heights == sorted(heights)
    assert Counter(heights) == dict(zip(sizes, expected, strict=True))
    assert replace(recipe, resolution=None).height_in(1) is None


@pytest.mark.parametrize("sizes", [(), (0, 16), (16, 12), (8, 8, 16), (4, 8, 12, 16)])
def test_senseless_schedules_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ProbeError, match=r"with resolution .* must be growing heights"):
        replace(RECIPE, resolution=sizes)


def test_what_the_network_or_the_images_do_not_fit_is_refused() -> None:
    with pytest.raises(ProbeError, match=r"ends at 12 does not fit digits: .* are 16 pixels high"):
        run(any_size(), recipe=replace(RECIPE, resolution=(8, 12)))
    with pytest.raises(ProbeError, match="does not take images of 3×8×8"):
        run(linear(), recipe=GROWING)


def test_images_are_averaged_over_areas() -> None:
    images = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6).remainder(250).byte()
    blocks = images.double().view(2, 3, 2, 2, 3, 2).mean(dim=(3, 5))
    assert torch.equal(averaged(images, 2), blocks.round().byte())
    assert averaged(images, 3).shape == (2, 3, 3, 4)  # the width goes along, 4.5 rounded to even


def test_batches_are_padded_in_proportion_and_have_the_same_labels() -> None:
    images, labels = digits("train").images, torch.arange(50)
    whole = Batches.of(images, labels, GROWING)
    half = whole.at(8)
    assert (half.height, half.pad, tuple(half.padded.shape)) == (8, 1, (50, 3, 10, 10))
    assert torch.equal(half.padded[:, :, 1:-1, 1:-1], averaged(images, 8))
    assert whole.at(16) is whole and whole.at(None) is whole
    for step in half.epoch(torch.Generator().manual_seed(0)):
        assert step.images.shape[2:] == (8, 8)
    assert torch.equal(half.some(50), averaged(images, 8))


def test_a_run_sees_growing_images_and_is_tested_at_full_size() -> None:
    found = run(any_size(), recipe=GROWING)
    steps = [height for height in found.model[0].heights if height != 16]
    assert steps == [8] * 4 + [12] * 4
    images = UNIT.apply(digits("train").images)
    seen = found.model[1](images).detach()
    # The statistics are means over batches of 16, 16, 16 and 2 images.
    means = torch.stack([part.mean((0, 2, 3)) for part in seen.split(16)]).mean(0)
    assert torch.allclose(found.model[2].running_mean, means, atol=1e-6)
    correct = training.count_correct(found.model, digits("test", 20), normalization=UNIT)
    assert found.history["test_error_pct"].iloc[-1] == 100 * (1 - correct / 20)
    assert found.identity["resolution"] == [8, 12, 16]


def test_it_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, path = run(any_size(), recipe=GROWING), tmp_path / "c.pt"
    with pytest.raises(Interrupted):
        run(any_size(), recipe=GROWING, checkpoint=path, progress=interrupt_after(2))
    resumed = run(any_size(), recipe=GROWING, checkpoint=path, resume=True)
    assert same(resumed.model, whole.model)
    with pytest.raises(ProbeError, match=r"made with resolution \[8, 12, 16\], not None"):
        run(any_size(), recipe=replace(RECIPE, pad=2), checkpoint=path, resume=True)
