"""Running moments against two passes over everything at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from resnet_probe.stats.moments import Moments


def activations(n: int = 60, offset: float = 1e4) -> torch.Tensor:
    """Far from zero, so that a sum of squares would lose what a sum of deviations keeps."""
    generator = torch.Generator().manual_seed(0)
    return offset + torch.randn(n, 3, 5, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_any_batches_give_the_two_pass_moments(batch):
    x = activations()
    found = Moments.none((3,))
    for part in x.split(batch):
        found = found.merge(Moments.of(part, (2, 3)).pooled())
    numpy = x.transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(found.mean, numpy.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.variance, numpy.var(1), rtol=1e-9)
    np.testing.assert_allclose(found.std, numpy.std(1), rtol=1e-9)
    assert (found.count == 60 * 20).all()


def test_float32_is_added_up_in_float64():
    x = activations(offset=1e3).float()
    found = Moments.of(x, (0, 2, 3))
    two_pass = x.double().transpose(0, 1).flatten(1).numpy().var(1)
    np.testing.assert_allclose(found.variance, two_pass, rtol=1e-12)


def test_the_order_and_the_grouping_do_not_matter():
    x = activations()
    rows = Moments.of(x, (1, 2, 3))
    groups = np.arange(60) % 7
    grouped = rows.in_groups(groups, 7)
    for group in range(7):
        part = x[groups == group].numpy()
        np.testing.assert_allclose(grouped.variance[group], part.var(), rtol=1e-9)
    np.testing.assert_allclose(grouped.pooled().variance, x.numpy().var(), rtol=1e-9)
    backwards = Moments.none(()).merge(rows[40:].pooled()).merge(rows[:40].pooled())
    np.testing.assert_allclose(backwards.variance, x.numpy().var(), rtol=1e-9)
    for group, without in enumerate(grouped.left_out().variance):
        np.testing.assert_allclose(without, x[groups != group].numpy().var(), rtol=1e-9)


def test_means_over_images_and_their_standard_error():
    values = np.random.default_rng(0).normal(size=(40, 3))
    values[5, 1] = np.nan
    found = Moments.over(values)
    assert found.count.tolist() == [40, 39, 40]
    np.testing.assert_allclose(found.mean, np.nanmean(values, axis=0))
    expected = np.nanstd(values, axis=0, ddof=1) / np.sqrt([40, 39, 40])
    np.testing.assert_allclose(found.error, expected)


def test_too_little_has_no_spread():
    assert np.isnan(Moments.none((2,)).variance).all()
    one = Moments.over([3.0])
    assert one.variance == 0 and np.isnan(one.error)


def test_through_json_and_back_to_the_last_digit():
    found = Moments.of(activations(), (0, 2))
    again = Moments.from_json(json.loads(json.dumps(found.to_json())))
    for name in ("count", "mean", "m2"):
        assert np.array_equal(getattr(found, name), getattr(again, name))
