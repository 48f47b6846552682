"""Training on part of the blocks: which are there in a step, and what is tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator, nn
from trainings import (
    RECIPE,
    UNIT,
    Interrupted,
    Leaving,
    digits,
    interrupt_after,
    network,
    run,
    same,
    with_blocks,
)

from resnet_probe import training
from resnet_probe.errors import ProbeError
from resnet_probe.training import Team, regime
from resnet_probe.training.regime import Subsets, with_statistics_of

PATHS = replace(RECIPE, effective_paths=2)


def test_a_step_changes_the_blocks_it_keeps_and_no_others() -> None:
    model = with_blocks()
    one_step = replace(PATHS, epochs=1, batch=50, pad=0)
    changed = [
        not torch.equal(before.branch.weight, after.branch.weight)
        for before, after in zip(model[2:-1], run(model, recipe=one_step).model[2:-1], strict=True)
    ]
    assert sum(changed) == 2


def test_every_step_keeps_as_many_blocks_and_the_test_has_all() -> None:
    trained = run(with_blocks(), recipe=PATHS).model
    ran = torch.tensor([block.ran for block in trained[2:-1]])
    assert ran.sum(0).tolist() == [2] * 12  # 3 epochs of 4 steps
    patterns = {tuple(column) for column in ran.T.tolist()}
    assert len(patterns) > 5 and ran.any(1).all()
    trained(UNIT.apply(digits("test", 1).images))
    assert all(block.ran[-1] for block in trained[2:-1])


def test_all_blocks_are_back_after_a_failure() -> None:
    model = with_blocks()
    subsets = Subsets.of(model, 1)
    with pytest.raises(Interrupted), subsets.in_turn(Generator().manual_seed(0)) as draw:
        draw()
        assert [block.skipped for block in model[2:-1]].count(True) == 4
        raise Interrupted
    assert not any(block.skipped for block in model[2:-1])


def test_without_the_regime_nothing_is_drawn() -> None:
    generator = Generator().manual_seed(0)
    before = generator.get_state()
    with Subsets.of(with_blocks(), None).in_turn(generator) as draw:
        draw()
    assert torch.equal(generator.get_state(), before)
    everything = replace(RECIPE, effective_paths=5)
    assert not any(block.skipped for block in run(with_blocks(), recipe=everything).model[2:-1])


def test_such_a_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole = run(with_blocks(), recipe=PATHS)
    with pytest.raises(Interrupted):
        run(with_blocks(), recipe=PATHS, checkpoint=tmp_path / "c.pt", progress=interrupt_after(2))
    resumed = run(with_blocks(), recipe=PATHS, checkpoint=tmp_path / "c.pt", resume=True)
    assert same(resumed.model, whole.model)
    with pytest.raises(ProbeError, match="made with effective_paths 2, not 3"):
        other = replace(PATHS, effective_paths=3)
        run(with_blocks(), recipe=other, checkpoint=tmp_path / "c.pt", resume=True)


def test_the_tested_network_has_the_statistics_of_all_blocks() -> None:
    model = nn.Sequential(nn.Flatten(), Leaving8(), nn.BatchNorm1d(8), nn.Dropout(0.5))
    inputs = torch.linspace(-1, 2, 64 * 8).view(64, 8).square()
    state = torch.random.get_rng_state()
    found = with_statistics_of(model.train(), inputs.split(16), Team())
    assert torch.equal(torch.random.get_rng_state(), state)
    seen = model[1](inputs)
    assert torch.allclose(found[2].running_mean, seen.mean(0), atol=1e-6)
    each = torch.stack([part.var(0) for part in seen.split(16)]).mean(0)
    assert torch.allclose(found[2].running_var, each, atol=1e-5)
    assert model[2].running_mean.eq(0).all()


class Leaving8(Leaving):
    """With fixed weights."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            super().__init__()


def test_its_error_is_that_of_the_renewed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_probe.training.state.RENEWED_ON", 32)
    model = nn.Sequential(*with_blocks()[:-1], nn.BatchNorm1d(8), with_blocks()[-1])
    found = run(model, recipe=PATHS)
    correct = training.count_correct(found.model, digits("test", 20), normalization=UNIT)
    assert found.history["test_error_pct"].iloc[-1] == 100 * (1 - correct / 20)
    rows = torch.linspace(0, 49, 32).long()
    seen = found.model[:-2](UNIT.apply(digits("train").images[rows])).detach()
    expected = torch.stack([part.mean(0) for part in seen.split(16)]).mean(0)
    assert torch.allclose(found.model[-2].running_mean, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "kept", "message"),
    [
        (with_blocks(), 6, r"6 blocks a mini-batch .* has 5 residual blocks \(1–5\)"),
        (network(), 2, "this network has none"),
        (with_blocks(survival=0.5), 2, "effective paths and stochastic depth both choose"),
    ],
)
def test_nonsense_is_refused(model: nn.Module, kept: int, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        run(model, recipe=replace(RECIPE, effective_paths=kept))


def test_layers_without_a_shortcut_and_deleted_blocks_cannot_be_left_out() -> None:
    model = with_blocks()
    model[2].shortcut, model[3].deleted = None, True
    assert regime.droppable(model) == [model[4], model[5], model[6]]


def test_changing_networks_are_not_compiled() -> None:
    with pytest.raises(ProbeError, match=r"whose blocks come and go .* leave out compile="):
        run(with_blocks(), recipe=PATHS, compiled=True)
    with pytest.raises(ProbeError, match="cannot be compiled"):
        run(with_blocks(survival=0.5), compiled=True)
