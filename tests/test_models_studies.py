"""Every architecture: discovery's proof, a training step, and the studies."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from small_networks import LAYERS, SMALL, images, seeded, side, small_net

from resnet_probe import lesion, models, paths, responses
from resnet_probe.chain import ResidualChain
from resnet_probe.errors import ProbeError
from resnet_probe.loading import cut

LABELS = torch.tensor([0, 1, 2, 3])


def inputs(spec: str) -> torch.Tensor:
    return images(4, 3, side(spec), side(spec))


@cache
def chain(spec: str) -> ResidualChain:
    return cut(models.architecture(spec), small_net(spec, classes=4), inputs(spec))


@pytest.mark.many(3)
@pytest.mark.parametrize(("spec", "blocks"), SMALL.items())
def test_discovery_proves_every_architecture(spec: str, blocks: int) -> None:
    found, x = chain(spec), inputs(spec)
    assert (len(found), found.residue, found.uncut) == (blocks, 0, ())
    assert found.unit == ("layer" if models.architecture(spec).family in LAYERS else "block")
    with torch.no_grad():
        assert torch.equal(found(x), small_net(spec, classes=4)(x))


@pytest.mark.many(3)
@pytest.mark.parametrize("spec", SMALL)
def test_a_training_step_lowers_the_loss(spec: str) -> None:
    model = models.architecture(spec).build(4, seed=0).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002)
    pixels = 64 if side(spec) == 32 else 8  # enough for batch norm in the last stage
    x, losses = images(8, 3, pixels, pixels), []
    for _ in range(2):
        with seeded(5):  # the same draws for dropout and stochastic depth
            loss = F.cross_entropy(model(x), LABELS.repeat(2))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[1] < losses[0]


@pytest.mark.many(3)
@pytest.mark.parametrize("spec", SMALL)
def test_lesion_runs_on_every_architecture(spec: str) -> None:
    """Each row of the table is the network with that block skipped."""
    found, x = chain(spec), inputs(spec)
    table = lesion(found, x, LABELS, exact=True).table
    assert len(table) == SMALL[spec] + 1
    for number in (1, SMALL[spec]):
        steps = [(block.number, float(block.number != number)) for block in found.blocks]
        with torch.no_grad():
            correct = (found.run(x, steps).argmax(1) == LABELS).sum().item()
        assert table["correct"].iloc[number] == correct


@pytest.mark.many(3)
@pytest.mark.parametrize("spec", SMALL)
def test_paths_add_up_to_the_gradient_or_say_why_there_are_none(spec: str) -> None:
    found, x = chain(spec), inputs(spec)[:1]
    if not found.residual:
        with pytest.raises(ProbeError, match="without shortcuts there is one path only, through"):
            paths(found, x, LABELS[:1])
        return
    table = paths(found, x, LABELS[:1], method="exact").table
    there = table[table["block"] == 0].set_index("quantity")
    assert there.loc["share", "length"].tolist() == list(range(SMALL[spec] + 1))
    assert there.loc["share", "value"].sum() == pytest.approx(1, abs=1e-3)
    x.requires_grad_()
    F.cross_entropy(small_net(spec, classes=4)(x), LABELS[:1]).backward()
    assert there.loc["gradient_norm", "value"] == pytest.approx(x.grad.norm().item(), rel=1e-3)


@pytest.mark.many(3)
@pytest.mark.parametrize("spec", SMALL)
def test_responses_run_on_every_architecture(spec: str) -> None:
    found = chain(spec)
    table = responses(found, inputs(spec), LABELS).table
    assert set(table["block"].dropna()) >= set(range(1, SMALL[spec] + 1))


# --- what a shortcut is, and what that means ---


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        ("resnet:depth=14,width=4", ["identity"] * 2 + ["parameter-free", "identity"] * 2),
        ("resnet:depth=14,shortcut=B,width=4", ["identity"] * 2 + ["projection", "identity"] * 2),
        ("resnet:depth=8,shortcut=C,width=4", ["projection"] * 3),
        ("resnet:depth=8,shortcut=scaled,width=4", ["scaled"] * 3),
        ("resnet:depth=8,shortcut=gated,width=4", ["gated"] * 3),
        ("preresnet:depth=8,shortcut=gated_shortcut,width=4", ["gated"] * 3),
        ("resnet:depth=8,shortcut=dropout,width=4", ["identity"] + ["parameter-free"] * 2),
        ("highway:depth=4,width=8,side=4", ["identity"] * 3),
    ],
)
def test_discovery_tells_kinds_of_shortcuts_apart(spec: str, kinds: list[str]) -> None:
    assert [block.shortcut_kind for block in chain(spec).blocks] == kinds


def test_a_deleted_gated_block_keeps_its_gated_shortcut() -> None:
    x = images(2, 3, 8, 8)
    model = small_net("resnet:depth=8,shortcut=gated,gate_bias=0,width=4", classes=4)
    block = chain_of_model(model, x).blocks[0]
    h = model.relu1(model.bn1(model.conv1(x)))
    gate = torch.sigmoid(model.layer1[0].join.gate(h))
    torch.testing.assert_close(block.run(h, 0), ((1 - gate) * h).relu())


def chain_of_model(model: torch.nn.Module, x: torch.Tensor) -> ResidualChain:
    return cut(models.architecture("resnet:depth=8,shortcut=gated,width=4"), model, x)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("resnet20:shortcut=gated", "deleting it drops g(x)·F(x) and keeps (1 − g(x))·x"),
        ("resnet20:shortcut=gated_shortcut", "deleting it drops F(x) and keeps (1 − g(x))·x"),
        ("resnet20:shortcut=scaled", "deleting it drops 0.5·F(x) and keeps 0.5·x"),
        ("highway10", "closes its transform gate (T = 0) and leaves x"),
        ("resnet20:stochastic_depth=0.5", "survival probability"),
        ("resnet20:deleted=3", "blocks are numbered anew"),
    ],
)
def test_a_note_says_what_deletion_means(spec: str, says: str) -> None:
    assert says in models.architecture(spec).note
    assert not models.architecture("resnet20").note
