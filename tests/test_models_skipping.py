"""Branches left out: skipped for a while, by chance, or deleted for good; and idle at first."""

from __future__ import annotations

import pytest
import torch
from small_networks import images, seeded, small_net

from resnet_probe import models
from resnet_probe.discover import chain_of
from resnet_probe.models.skipping import blocks_of

KINDS = ["A", "B", "scaled", "gated", "gated_shortcut"]


def without(spec: str, number: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits with a block skipped, and those of the chain with its branch left out."""
    model = small_net(spec)
    chain = chain_of(model, x)
    expected = chain.run(x, [(b.number, float(b.number != number)) for b in chain.blocks])
    blocks_of(model)[number - 1].skipped = True
    return model(x), expected


@pytest.mark.many(3)
@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["resnet", "preresnet"])
def test_a_skipped_block_is_a_deleted_one(family: str, kind: str, number: int) -> None:
    found, expected = without(
        f"{family}:depth=14,shortcut={kind},width=4", number, images(2, 3, 8, 8)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("spec", ["highway:depth=4,width=6,side=4", "convhighway:depth=10,width=4"])
def test_a_skipped_highway_layer_is_a_closed_gate(spec: str) -> None:
    """Srivastava et al. 2015 delete a layer by T = 0: a gate of bias −∞, and the carry alone."""
    x = images(2, 3, 8, 8)
    found, expected = without(spec, 2, x)
    torch.testing.assert_close(found, expected)
    model = small_net(spec)
    gate = blocks_of(model)[1].join.gate
    torch.nn.init.zeros_(gate.weight)
    torch.nn.init.constant_(gate.bias, -200)
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["resnet", "preresnet"])
def test_deleted_blocks_are_those_left_out(family: str, kind: str) -> None:
    spec = f"{family}:depth=14,shortcut={kind},width=4"
    whole, part = small_net(spec), small_net(f"{spec},deleted=1+3")
    state = part.state_dict()
    kept = {key: value for key, value in whole.state_dict().items() if key in state}
    part.load_state_dict(kept)  # refuses what it lacks
    assert not [key for key in state if key.startswith(("layer1.0.conv", "layer2.0.conv"))]
    for number in (1, 3):
        blocks_of(whole)[number - 1].skipped = True
    x = images(2, 3, 8, 8)
    torch.testing.assert_close(part(x), whole(x))
    assert len(chain_of(part, x)) == 4


def test_plain_layers_are_not_blocks() -> None:
    assert blocks_of(small_net("plain:depth=8,width=4")) == []
    assert len(blocks_of(small_net("convhighway:depth=10,width=4"))) == 6


def test_survival_falls_linearly_to_its_last_value() -> None:
    model = small_net("resnet:depth=14,width=4,stochastic_depth=0.4")
    expected = [1 - number / 6 * 0.6 for number in range(1, 7)]
    assert [block.survival for block in blocks_of(model)] == pytest.approx(expected)


@pytest.mark.parametrize("family", ["resnet", "preresnet"])
def test_branches_are_scaled_by_their_survival_in_eval_mode(family: str) -> None:
    spec = f"{family}:depth=8,width=4"
    model, plain = small_net(f"{spec},stochastic_depth=0.4"), small_net(spec)
    x = images(2, 3, 8, 8)
    chain = chain_of(plain, x)
    steps = [(number, 1 - number / 3 * 0.6) for number in (1, 2, 3)]
    torch.testing.assert_close(model(x), chain.run(x, steps))
    scaled = chain_of(model, x)
    assert scaled.residue == 0
    deleted, expected = ([(1, g), (2, 0.0), (3, h)] for g, h in ((1.0, 1.0), (0.8, 0.4)))
    torch.testing.assert_close(scaled.run(x, deleted), chain.run(x, expected))


def test_branches_run_by_chance_in_train_mode() -> None:
    model = small_net("resnet:depth=8,width=4,stochastic_depth=0.4").train()
    block = blocks_of(model)[2]
    with seeded(0):
        runs = sum(block.runs_branch() for _ in range(2000))
    assert abs(runs / 2000 - 0.4) < 5 * (0.4 * 0.6 / 2000) ** 0.5
    x = images(2, 4, 4, 4)
    first = blocks_of(model)[0].eval()
    y, short = first.run(first.steps_branch, x), first.shortcut(x)
    first.train()
    first.apply(lambda m: m.eval() if isinstance(m, torch.nn.BatchNorm2d) else m)
    with seeded(1):
        found = [first(x) for _ in range(40)]
    for out in found:
        assert torch.equal(out, (short + y).relu()) or torch.equal(out, short.relu())
    assert len({out.sum().item() for out in found}) == 2


def test_nothing_is_drawn_where_all_branches_survive() -> None:
    model = small_net("resnet:depth=8,width=4").train()
    with seeded(0) as state:
        model(images(2, 3, 8, 8))
        assert torch.equal(torch.get_rng_state(), state)


def test_what_a_block_leaves_out_is_not_saved_with_its_weights() -> None:
    plain, stochastic = "resnet:depth=8,width=4", "resnet:depth=8,width=4,stochastic_depth=0.5"
    first, second = (models.architecture(s).build(seed=3).state_dict() for s in (plain, stochastic))
    assert list(first) == list(second)
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("spec", ["resnet:depth=8,width=4", "resnet50:width=2", "resnext:depth=11"])
def test_zero_init_begins_with_idle_blocks(spec: str) -> None:
    joint = "," if ":" in spec else ":"
    model = models.architecture(f"{spec}{joint}zero_init=yes").build(seed=0)
    for block in blocks_of(model):
        last = [m for name, m in block.named_children() if name.startswith("bn")][-1]
        assert not last.weight.any()
        others = [m for m in block.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert all((m.weight == 1).all() for m in others if m is not last)
        x = images(2, block.conv1.in_channels, 4, 4)
        assert torch.equal(block(x), block.shortcut(x).relu())


def test_the_last_norm_of_a_branch_is_not_one_behind_the_addition() -> None:
    model = models.architecture("resnet:depth=8,order=relu_before,zero_init=yes").build(seed=0)
    for block in blocks_of(model):
        assert (block.bn1.weight == 1).all() and not block.bn2.weight.any()
