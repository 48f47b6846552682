"""Disturbances of a deletion's size, computed a second time in plain PyTorch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from toy_chains import TinyPlain, images, labels, randomized, seeded

from resnet_probe import ProbeError, Result, chain_of, control, layers_of, lesion, models
from resnet_probe.edits import generator_for
from resnet_probe.engine.disturb import GROUP, Disturbed
from resnet_probe.findings import same_size, summarize_control
from resnet_probe.stats import paired_difference, t_interval


@pytest.fixture(scope="module")
def net():
    model = randomized(models.architecture("preresnet20:width=4").build(seed=0))
    return model, images(37, side=8), labels(37, classes=10)


def moved(branch: torch.Tensor, kind: str, block: int) -> torch.Tensor:
    """The branch and a move beside it, image by image."""
    found = []
    noise = torch.randn(GROUP, *branch.shape[1:], generator=generator_for(0, "noise", block))
    for place, own in enumerate(branch):
        first = place - place % GROUP
        after = place + 1 if place + 1 < min(first + GROUP, len(branch)) else first
        other = noise[place % GROUP] if kind == "noise" else branch[after]
        found.append(own + other * own.norm() / other.norm())
    return torch.stack(found)


@torch.no_grad()
def by_hand(model, x: torch.Tensor, kind: str, number: int) -> torch.Tensor:
    """Logits with one block's branch disturbed, by a hook on the last convolution."""
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3) for block in stage]
    change = (lambda out: -out) if kind == "sign" else (lambda out: moved(out, kind, number))
    handle = blocks[number - 1].conv2.register_forward_hook(lambda _m, _i, out: change(out))
    try:
        return model(x)
    finally:
        handle.remove()


@pytest.mark.parametrize("batch", [None, 5, 16, 20])
def test_the_errors_are_those_of_hooks_whatever_the_batch(net, batch):
    model, x, y = net
    table = control(chain_of(model, x[:2]), x, y, batch=batch).table
    rows = table[~table["kind"].isin(["baseline", "delete"])]
    assert len(rows) == 3 * 9 and len(table) == 1 + 4 * 9
    for row in rows.itertuples():
        right = by_hand(model, x, row.kind, int(row.block)).argmax(1) == y
        assert row.correct == int(right.sum()), (row.kind, row.block)


def test_the_deletions_are_those_of_a_lesion(net):
    model, x, y = net
    chain = chain_of(model, x[:2])
    found, wanted = control(chain, x, y).table, lesion(chain, x, y).table
    own = found[found["kind"].isin(["baseline", "delete"])].reset_index(drop=True)
    for column in ("correct", "loss", "ci_low_pct", "lost", "gained"):
        np.testing.assert_allclose(own[column], wanted[column], rtol=1e-5, err_msg=column)


def test_what_a_deletion_costs_more_is_paired_over_images(net):
    model, x, y = net
    result = control(chain_of(model, x[:2]), x, y, controls=("sign",))
    table = result.table.set_index(["kind", "block"])
    deleted = table.loc["delete"]
    own = table.loc["sign"]
    np.testing.assert_allclose(
        own["beside_deletion_pct"], own["error_pct"] - deleted["error_pct"], atol=1e-9
    )
    chain, per_image = chain_of(model, x[:2]), torch.zeros(len(x), dtype=torch.float64)
    for number in range(1, 10):
        gates = [(block.number, 0.0 if block.number == number else 1.0) for block in chain]
        with torch.no_grad():
            right = (chain.run(x, gates).argmax(1) == y).double()
        turned = (by_hand(model, x, "sign", number).argmax(1) == y).double()
        per_image += 100 * (turned - right) / 9
        counts = int((right > turned).sum()), int((right < turned).sum())
        ends = own.loc[str(number), ["beside_deletion_low_pct", "beside_deletion_high_pct"]]
        assert [*ends] == pytest.approx(100 * np.array(paired_difference(*counts, len(x))))
    low, high = t_interval(per_image.mean(), per_image.std() / len(x) ** 0.5, len(x))
    found = result.provenance["against"]["sign"]
    assert found == pytest.approx([float(per_image.mean()), float(low), float(high)], abs=1e-6)
    assert "twice as far" in summarize_control(result)


@pytest.mark.parametrize("kind", ["noise", "other image"])
def test_a_move_is_as_long_as_the_branch(kind):
    h = images(35, side=4).double()
    h[7] = 0.0
    branch = torch.nn.Identity()
    move = Disturbed(branch, kind, seed=0, number=1)(h) - h
    reach = move.flatten(1).norm(dim=1)
    wanted = h.flatten(1).norm(dim=1)
    if kind == "other image":
        wanted[6] = 0.0  # its neighbour's branch is 0, which points nowhere
    torch.testing.assert_close(reach, wanted)


def test_noise_is_drawn_again_by_another_seed_and_by_no_other_state(net):
    model, x, y = net
    chain, before = chain_of(model, x[:2]), torch.get_rng_state()
    one, two = (control(chain, x, y, controls=("noise",)).table for _ in range(2))
    other = control(chain, x, y, controls=("noise",), seed=1).table
    assert one.equals(two) and not np.allclose(one["loss"], other["loss"])
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_disturbed_is_said(net):
    model, x, y = net
    chain = chain_of(model, x[:2])
    with pytest.raises(ProbeError, match="'x' is no control: there are other image, noise, sign"):
        control(chain, x, y, controls=("x",))
    with pytest.raises(ProbeError, match="nothing is no control"):
        control(chain, x, y, controls=())
    plain = layers_of(seeded(TinyPlain), images(2))
    with pytest.raises(ProbeError, match="plain network"):
        control(plain, images(6), labels(6))


@pytest.mark.parametrize(
    ("image", "noise", "verdict"),
    [
        ((0.1, -0.1, 0.3), (-0.2, -0.4, 0.0), "holds"),
        ((0.1, -0.1, 0.3), (3.0, 1.0, 5.0), "fails"),
        ((0.1, -0.1, 0.3), (-0.5, -0.9, -0.1), "undecided"),
    ],
)
def test_size_alone_explains_it_where_each_move_of_that_size_costs_as_much(image, noise, verdict):
    """Of the moves of the same size: the reversed branch, twice as long, is told beside them."""
    against = {"other image": [*image], "noise": [*noise], "sign": [2.0, 1.5, 2.5]}
    table = pd.DataFrame({"images": [400]})
    found = same_size(Result("control", table, {"against": against}))
    assert (found.verdict, tuple(found.estimate)) == (verdict, noise)
    wanted = {"apart_a": image, "apart_b": noise, "sign": (-2.0, -2.5, -1.5)}
    ends = ("", "_low", "_high")
    expected = {f"{name}{end}": value for name, three in wanted.items()
                for end, value in zip(ends, three, strict=True)}  # fmt: skip
    assert found.sentence.numbers == {**expected, "images": 400}
    with pytest.raises(ProbeError, match="needs a move of the same size"):
        same_size(Result("control", table, {"against": {"sign": [2.0, 1.5, 2.5]}}))


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((3.0, 1.0, 5.0), "a deletion costs 3.00 points more than a move"),
        ((-3.0, -5.0, -1.0), "a deletion costs 3.00 points less than a move"),
        ((3.0, -1.0, 7.0), "is not decided: +3.00 points"),
    ],
)
def test_what_is_said_follows_the_interval(net, ends, said):
    model, x, y = net
    result = control(chain_of(model, x[:2]), x, y, controls=("noise",))
    result.provenance["against"] = {"noise": list(ends)}
    assert said in summarize_control(result)
