"""Training on a CUDA device: as on a CPU up to rounding, and to the same bits when resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trainings import RECIPE, Interrupted, digits, interrupt_after, linear, network, run, same

from resnet_probe import data, models, training

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no CUDA device is here, or -m cuda was not asked for"
    ),
    # PyTorch's compiler uses what PyTorch calls deprecated, and begins with a graph of nothing.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore:The CUDA Graph is empty"),
]


def test_the_same_weights_as_on_a_cpu() -> None:
    found, expected = run(linear(), device="cuda").model, run(linear()).model
    for key, value in expected.state_dict().items():
        assert torch.allclose(found.state_dict()[key].cpu(), value, atol=1e-3)


def test_the_streams_of_the_device_stay_as_they_are(tmp_path: Path) -> None:
    state = torch.cuda.get_rng_state()
    run(network(), device="cuda", checkpoint=tmp_path / "c.pt")
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_a_run_of_the_cpu_goes_on_there(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(linear(), checkpoint=tmp_path / "c.pt", progress=interrupt_after(1))
    resumed = run(linear(), checkpoint=tmp_path / "c.pt", resume=True, device="cuda")
    assert len(resumed.history) == 3 and not same(resumed.model.cpu(), linear())


@pytest.mark.parametrize("compiled", [False, True])
def test_it_learns_in_half_precision(compiled: bool) -> None:
    train_set = digits("train", 899)
    found = training.train(
        models.architecture("resnet20:width=8").build(10, seed=0),
        train_set,
        digits("test", 200),
        normalization=data.measure(train_set),
        recipe=replace(RECIPE, epochs=15, batch=64, lr=0.1, precision="bfloat16"),
        device="cuda",
        compiled=compiled,
    )
    assert found.history["test_error_pct"].iloc[-1] < 15
