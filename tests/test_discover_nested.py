"""Residual blocks beside other paths and inside other blocks: what runs beside them is carried."""

from __future__ import annotations

import beside
import pytest
import torch
from torch import nn
from toy_chains import seeded

from resnet_probe import ProbeError, Sweep, chain_of, flow, path_gradients, paths, responses
from resnet_probe.edits import Edit
from resnet_probe.state import State, bytes_of, detached


def zeroed(model, path, x):
    """The untouched model with the output of one module set to zero."""
    hook = model.get_submodule(path).register_forward_hook(lambda m, given, out: out * 0)
    try:
        with torch.no_grad():
            return model(x)
    finally:
        hook.remove()


@pytest.mark.many(2)
@pytest.mark.parametrize("name", beside.NETWORKS)
def test_innermost_blocks_are_cut_and_a_deletion_is_a_zeroed_branch(name):
    model, x = beside.build(name)
    _, count, outer = beside.NETWORKS[name]
    chain = chain_of(model, x)
    assert len(chain) == count and chain.residue == 0
    with torch.no_grad():
        assert torch.equal(chain(x), model(x))
        for block in list(chain)[:: max(1, count // 6)]:
            last = f"{block.name}.{beside.LAST[name]}" if name != "Waves" else (
                f"back.{block.number - 1}"
            )  # fmt: skip
            found = chain.run(x, Edit.delete(block.number))
            assert torch.equal(found, zeroed(model, last, x)), block.name
    if outer != count:
        assert len(chain_of(model, x, level="outer")) == outer
        assert any("a skip around" in line for line in chain.uncut)


@pytest.mark.parametrize("name", ["UNet", "Waves", "TwoStreams"])
def test_many_edits_share_their_beginnings_with_all_that_is_carried(name):
    model, x = beside.build(name)
    chain = chain_of(model, x)
    edits = [Edit.delete(block.number) for block in chain] + [Edit.delete(1, len(chain))]
    for sweep, near in ((Sweep(chain, exact=True, batch=2), 0), (Sweep(chain), 1e-4)):
        for piece in sweep.run(edits, x):
            for number in piece.edits:
                with torch.no_grad():
                    expected = chain.run(x[piece.start : piece.stop], edits[number])
                assert (piece.logits - expected).abs().max() <= near * expected.abs().max()


@pytest.mark.many(2)
@pytest.mark.parametrize("name", ["UNet", "SuperResolution", "Waves", "TwoStreams"])
def test_gradients_by_length_travel_along_what_is_carried(name):
    """Where a branch's gradient counts w times, paths through k branches count w to the k."""
    model, x = beside.build(name)
    model, x, y = model.double(), x.double(), torch.arange(len(x)) % 5
    chain = chain_of(model, x)
    found = path_gradients(chain, x, y, precision="float64")
    for weight in (1.0, 0.0, 2.0, -1.0):
        given = x.clone().requires_grad_()
        state = chain.stem(given)
        for block in chain:
            branch = weight * block.branch(state) + (1 - weight) * block.branch(detached(state))
            state = block.close(state, block.add(block.shortcut(state), branch))
        loss = torch.nn.functional.cross_entropy(chain.head(state), y, reduction="sum")
        wanted = torch.autograd.grad(loss, given)[0]
        total = sum(weight**k * row for k, row in enumerate(found))
        assert (total - wanted).abs().max() < 1e-12 * wanted.abs().max()
    assert chain.beside and paths(chain, x, y, method="all").table.value.notna().all()


@pytest.mark.parametrize("name", ["UNet", "TwoStreams"])
def test_what_flows_and_what_blocks_answer_beside_other_paths(name):
    model, x = beside.build(name)
    chain, y = chain_of(model, x), torch.arange(len(x)) % 5
    table = flow(chain, x, y).table
    for quantity in ("state_share", "logit_share"):
        assert table.value[table.quantity == quantity].sum() == pytest.approx(1)
    assert len(responses(chain, x, y).table)


def test_gradients_at_a_state_that_is_not_all_are_refused():
    model, x = beside.build("UNet")
    chain = chain_of(model, x)
    with pytest.raises(ProbeError, match=r"other values lead to its logits \(relu_4"):
        path_gradients(chain, x, torch.zeros(len(x), dtype=torch.int64), at=3)


def test_a_state_counts_what_it_carries():
    model, x = beside.build("UNet")
    chain = chain_of(model, x)
    with torch.no_grad():
        h = chain.stem(x)
        for block in list(chain)[:6]:
            h = block.run(h)
    assert isinstance(h, State) and len(h) == 3
    sizes = [4 * 3 * c * side**2 for c, side in ((4, 16), (8, 8), (12, 4))]
    assert bytes_of(h) == sum(sizes)  # the third skip is the state itself


def test_blocks_that_make_or_drop_carried_values_stay_in_their_place():
    model, x = beside.build("UNet")
    chain = chain_of(model, x)
    assert [bool(block.changes) for block in chain] == [False, True] * 3 + [False, False]
    assert not any(block.keeps_shape for block in chain if block.changes)
    whole = chain_of(*beside.build("SuperResolution"))
    assert all(block.keeps_shape for block in whole)


def test_blocks_of_one_context_change_places():
    model, x = beside.build("SuperResolution")
    chain = chain_of(model, x)
    order = [2, 1, *range(3, 17)]
    model.body[0], model.body[1] = model.body[1], model.body[0]
    with torch.no_grad():
        assert torch.equal(chain.run(x, [(b, 1.0) for b in order]), model(x))


class Single(nn.Module):
    """A branch that holds one residual block: no series, and so a part of its block."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            y = first(x)
            x = x + torch.relu(y + second(torch.relu(y)))
        return self.fc(x)


def test_a_single_block_inside_a_branch_stays_a_part_of_it():
    chain = chain_of(seeded(Single).eval(), torch.ones(3, 4))
    assert len(chain) == 2 and [len(block.inner) for block in chain] == [1, 1]


def test_an_unknown_level_is_refused():
    with pytest.raises(ProbeError, match="level='middle' is not a level of blocks: inner, outer"):
        chain_of(*beside.build("UNet"), level="middle")
