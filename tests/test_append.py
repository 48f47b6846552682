"""Layers appended to a network: nothing at first, and never a change of the network itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import images

from resnet_probe import ProbeError, append, chain_of, figures, models
from resnet_probe.figures.append import PANELS
from resnet_probe.findings.append import loss_change, steps_to_identity, summarize_append
from resnet_probe.results import Result
from resnet_probe.studies.append import AppendSettings, layers, run_layers


@pytest.fixture(scope="module")
def net():
    model = models.architecture("preresnet20:width=4").build(4, seed=0).eval()
    x = images(8, 3, 8, 8)
    return model, chain_of(model, x[:2]), x, torch.arange(8) % 4


@pytest.fixture(scope="module")
def found(net):
    model, chain, x, y = net
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    result = append(chain, x, y, steps=12, draws=2, blocks=2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    return result


def values(table, kind: str, quantity: str, step: int | None = None) -> np.ndarray:
    rows = table[(table["kind"] == kind) & (table["quantity"] == quantity)]
    return rows["value"][slice(None) if step is None else rows["step"] == step].to_numpy()


def test_a_branch_that_begins_at_zero_is_no_change_and_the_plain_layers_are_one(net, found):
    _, chain, x, y = net
    table = found.table
    assert (values(table, "residual", "logit_change") == 0).all()
    assert (values(table, "plain", "logit_change") > 0.01).all()
    loss = float(torch.nn.functional.cross_entropy(chain(x).detach(), y))
    assert values(table, "whole", "loss")[0] == pytest.approx(loss, rel=1e-5)
    assert values(table, "residual", "loss", 0) == pytest.approx(loss, rel=1e-5)
    assert (steps_to_identity(table, "residual") == 0).all()
    assert (steps_to_identity(table, "plain") == 13).all()  # not fitted: one more than were made


def test_training_lowers_the_loss_and_the_change_is_that_of_the_last_step(found):
    table = found.table
    ends = values(table, "residual", "loss", 12)
    assert (ends < values(table, "residual", "loss", 0)).all()
    change = float(ends.mean() - values(table, "whole", "loss")[0])
    assert loss_change(table, "residual").value == pytest.approx(change)
    assert "more than 12" in summarize_append(found)
    assert len(figures.draw(found).axes) == len(PANELS)


def test_the_layers_are_convolution_norm_relu_convolution_norm(net):
    h = images(8, 4, 5, 5)
    parts = layers(AppendSettings(blocks=1), 1, "plain", h)
    norms = [torch.nn.BatchNorm2d(4).train() for _ in range(2)]
    with torch.no_grad():
        out = torch.nn.functional.conv2d(h, parts[0], padding=1)
        out = torch.nn.functional.conv2d(norms[0](out).relu(), parts[3], padding=1)
        assert torch.allclose(run_layers(h, parts, "plain"), norms[1](out), atol=1e-6)
        assert torch.allclose(run_layers(h, parts, "residual"), h + norms[1](out), atol=1e-6)


class Pixels(torch.nn.Module):
    """Two residual blocks, and a long skip from the stem to a head that says a class a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.first, self.second = (torch.nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.head = torch.nn.Conv2d(8, 3, 1)

    def forward(self, x):
        long = self.stem(x)
        h = long + self.first(long).relu()
        h = h + self.second(h.relu())
        return self.head(torch.cat([h, long], dim=1))


def test_of_pixels_and_with_a_long_skip_behind_the_layers_they_begin_as_nothing_too():
    x = images(4, 3, 6, 6)
    y = torch.arange(4 * 36).view(4, 6, 6) % 3
    y[0, 0] = -100
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Pixels().eval()
    table = append(chain_of(model, x[:2]), x, y, steps=2, draws=1, blocks=1).table
    with torch.no_grad():
        each = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
        known = (y != -100).flatten(1)
        right = ((model(x).argmax(1) == y).flatten(1) & known).sum(1) / known.sum(1)
    loss = float((each.flatten(1).sum(1) / known.sum(1)).mean())
    assert values(table, "whole", "loss")[0] == pytest.approx(loss, rel=1e-5)
    assert values(table, "whole", "error_pct")[0] == pytest.approx(100 * (1 - float(right.mean())))
    assert values(table, "residual", "logit_change") == 0 < values(table, "plain", "logit_change")
    losses = values(table, "residual", "loss")
    assert losses[0] == pytest.approx(loss, rel=1e-5) and losses[-1] < losses[0]


def test_what_is_no_image_is_refused():
    with torch.random.fork_rng():
        model = torch.nn.Sequential(torch.nn.Flatten(), Wide())
    chain = chain_of(model.eval(), images(2, 1, 2, 2))
    with pytest.raises(ProbeError, match="append puts 3×3 convolutions behind the last block"):
        append(chain, images(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64))


class Wide(torch.nn.Module):
    """A residual block of one linear layer, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.last((x + self.first(x)).relu())


def test_a_table_of_something_else_is_refused(found):
    other = Result("append", found.table.assign(quantity="x"), {})
    with pytest.raises(ProbeError, match="is it the table of append"):
        figures.draw(other)


def test_more_images_than_the_memory_holds_are_refused(net):
    _, chain, x, y = net
    with pytest.raises(
        ProbeError, match=r"^append trains on all images at once, and 8 of .* take "
    ):
        append(chain, x, y, memory=100_000)
