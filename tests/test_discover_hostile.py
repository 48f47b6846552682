"""Forward passes with side effects, several outputs, modules that are called twice."""

from __future__ import annotations

import copy
import random
from typing import NamedTuple

import pytest
import torch
from torch import nn
from toy_chains import TinyResNet, images, seeded

from resnet_probe import ProbeError, chain_of

CALLS = [0]


class Counting(TinyResNet):
    """Counts its calls where `how` says; `felt` by what it returns, or not."""

    def __init__(self, how: str, felt: bool) -> None:
        super().__init__()
        self.how, self.felt, self.number = how, felt, 0
        self.register_buffer("steps", torch.zeros(()))
        self.times = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x):
        x = super().forward(x)
        if self.how == "global":
            CALLS[0] += 1
            return x * CALLS[0] if self.felt else x
        if self.how == "attribute":
            self.number += 1
            return x * self.number if self.felt else x
        count = self.steps if self.how == "buffer" else self.times
        count.add_(1)
        return x * count if self.felt else x


def seen_state(model: nn.Module) -> dict:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in model.modules()]
    modes = [module.training for module in model.modules()]
    plain = {key: value for key, value in vars(model).items() if isinstance(value, int | str)}
    return {"tensors": state, "hooks": hooks, "modes": modes, "plain": plain}


def assert_untouched(model: nn.Module, before: dict) -> None:
    after = seen_state(model)
    for name, value in before.pop("tensors").items():
        assert torch.equal(after["tensors"][name], value), name
    after.pop("tensors")
    assert after == before


@pytest.mark.parametrize("how", ["global", "attribute", "buffer"])
def test_a_side_effect_that_is_not_felt_is_no_obstacle_and_leaves_no_trace(how):
    model = seeded(lambda: Counting(how, felt=False)).train()
    before = seen_state(model)
    assert len(chain_of(model, images())) == 3
    assert_untouched(model, before)


@pytest.mark.parametrize("how", ["global", "attribute", "buffer"])
def test_a_side_effect_that_is_felt_is_refused_and_leaves_no_trace(how):
    model = seeded(lambda: Counting(how, felt=True)).train()
    before = seen_state(model)
    if how == "attribute":  # every copy counts from here: the first call is proven, and no other
        model.number = before["plain"]["number"] = 1
    with pytest.raises(ProbeError, match=r"the proof of discovery failed|is another network"):
        chain_of(model, images())
    assert_untouched(model, before)


def test_a_network_that_writes_into_its_parameters_is_refused_before_it_runs():
    model = seeded(lambda: Counting("parameter", felt=False))
    before = seen_state(model)
    with pytest.raises(ProbeError, match="Counting writes into its own times when it runs"):
        chain_of(model, images())
    assert_untouched(model, before)


def test_chance_in_the_forward_pass_is_refused_and_the_random_state_kept():
    class Net(TinyResNet):
        def forward(self, x):
            return super().forward(x + torch.randn(x.shape))

    state = torch.get_rng_state()
    with pytest.raises(ProbeError, match=r"the proof of discovery failed|depends on the batch"):
        chain_of(seeded(Net), images())
    assert torch.equal(state, torch.get_rng_state())


def test_pythons_own_chance_is_refused():
    class Net(TinyResNet):
        def forward(self, x):
            return super().forward(x * random.random())

    with pytest.raises(ProbeError, match=r"failed|for another batch size"):
        chain_of(seeded(Net), images())


def test_a_hook_that_only_looks_stays_and_the_chain_is_right():
    model, seen = seeded(TinyResNet), []
    model.blocks[0].register_forward_hook(lambda module, given, made: seen.append(made.shape))
    chain = chain_of(model, images())
    assert len(model.blocks[0]._forward_hooks) == 1
    seen.clear()
    with torch.no_grad():
        assert torch.equal(chain(images()), model(images()))
    assert len(seen) == 1  # by the model, whose hook it is, and not by the chain


class Twice(nn.Module):
    """The same two modules called again and again: four blocks, two sets of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()) for _ in "ab")
        self.head = nn.Linear(3, 5)

    def forward(self, x):
        for _ in range(2):
            x = x + self.a(x)
            x = self.b(x) + x
        return self.head(x.mean((2, 3)))


def test_modules_called_twice_are_two_blocks_with_names_of_their_own():
    model, x = seeded(Twice), images()
    chain = chain_of(model, x)
    assert [block.name for block in chain] == ["a", "b", "a#2", "b#2"]
    assert chain.layers == ((1,), (2,), (3,), (4,))
    with torch.no_grad():
        h = x + model.a(x)
        h = model.b(h) + h
        h = model.b(h) + h  # the second call of a is left out, the first is not
        expected = model.head(h.mean((2, 3)))
        assert torch.equal(chain.run(x, [(1, 1.0), (2, 1.0), (3, 0.0), (4, 1.0)]), expected)


class Both(NamedTuple):
    logits: torch.Tensor
    aux: torch.Tensor


class Several(TinyResNet):
    """Returns its logits among others, in a form of the caller's choice."""

    def __init__(self, form) -> None:
        super().__init__()
        self.form, self.other = form, nn.Linear(8, 2)

    def forward(self, x):
        x = self.stem(x).relu_()
        for block in self.blocks:
            x = block(x)
        x = x.mean((2, 3))
        return self.form(self.head(x), self.other(x))


@pytest.mark.parametrize(
    ("form", "logits", "aux"),
    [
        (lambda a, b: (a, b), 0, "1"),
        (lambda a, b: [a, b], "0", 1),
        (lambda a, b: {"logits": a, "aux": b}, "logits", "aux"),
        (Both, "logits", 1),
        (lambda a, b: {"heads": (a, b)}, "heads.0", "heads.1"),
        (lambda a, b: (a, None, b), 0, 2),
    ],
)
def test_one_of_several_outputs_is_chosen(form, logits, aux):
    model, x = seeded(lambda: Several(form)), images()
    plain = copy.deepcopy(model)
    plain.form = lambda a, b: torch.cat([a, b], 1)
    for output, columns in ((logits, slice(0, 5)), (aux, slice(5, 7))):
        chain = chain_of(model, x, output=output)
        with torch.no_grad():
            assert torch.equal(chain(x), plain(x)[:, columns])
        assert chain.classes == columns.stop - columns.start and len(chain) == 3


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (None, r"does not return one tensor.* a dictionary; choose one with output=: a, b, n"),
        ("c", r"Several has no output 'c': it returns a dictionary; .*: a, b, n"),
        ("n", r"does not return one tensor.* it returns a int"),
        ("a.0", r"has no output 'a.0'"),
    ],
)
def test_no_output_or_another_than_there_is_is_refused(output, reason):
    model = seeded(lambda: Several(lambda a, b: {"a": a, "b": b, "n": 3}))
    with pytest.raises(ProbeError, match=reason):
        chain_of(model, images(), output=output)
