"""Random residual programs: discovery proves its chain or refuses, and never gives a wrong chain.

A program is a network of random depth, widths, projections and nesting, with additions written in
every way, operands in either order, in-place operations, modules that are called again, scale
factors and several outputs.  What deleting a block has to give is computed in the untouched model,
by zeroing what its branch gives at that one call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy_chains import images, seeded

from resnet_probe import ProbeError, chain_of

ADDITIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "+=": operator.iadd,
    "torch.add": torch.add,
    "add_": lambda a, b: a.add_(b),
}


@dataclass(frozen=True)
class Plan:
    """One block of a program."""

    grows: bool = False
    activated: bool = False  # behind the sum, in place
    pre: bool = False  # an activation before the branch, and not before the shortcut
    add: str = "+"
    shortcut_first: bool = False
    scale: float = 1.0  # of the branch
    nested: bool = False  # a residual block inside the branch
    again: bool = False  # the modules of the block before are called once more, if they fit
    dropped: bool = False  # dropout at the end of the branch


class Residual(nn.Module):
    def __init__(self, channels: int, plan: Plan) -> None:
        super().__init__()
        self.plan, out = plan, channels * (1 + plan.grows)
        stride = 1 + plan.grows
        self.first = nn.Conv2d(channels, out, 3, stride, padding=1)
        self.norm = nn.BatchNorm2d(out)
        self.inside = Residual(out, Plan()) if plan.nested else nn.Identity()
        self.last = nn.Conv2d(out, out, 1)
        self.drop = nn.Dropout(0.5 * plan.dropped, inplace=plan.activated)
        self.project = nn.Conv2d(channels, out, 1, stride) if plan.grows else None
        self.relu, self.tail = nn.ReLU(inplace=True), Tail(plan.scale)

    def forward(self, x):
        plan = self.plan
        short = x if self.project is None else self.project(x)
        h = torch.relu(x) if plan.pre else x
        h = self.inside(self.relu(self.norm(self.first(h))))
        h = self.tail(self.drop(self.last(h)))
        # In place into the shortcut is another program than it looks: x is the state of others.
        in_place = plan.add in ("+=", "add_")
        operands = (short * 1 if in_place else short, h) if plan.shortcut_first else (h, short)
        x = ADDITIONS[plan.add](*operands)
        return self.relu(x) if plan.activated else x


class Tail(nn.Module):
    """Scales a branch; `off` is the call, from 0, at which it gives zeros instead."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.calls, self.off = 0, None

    def forward(self, h):
        out = h if self.scale == 1 else h * self.scale
        if self.off is None:
            return out
        self.calls += 1
        return torch.zeros_like(out) if self.calls == self.off + 1 else out


class Program(nn.Module):
    def __init__(self, plans: list[Plan], outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.order: list[tuple[int, int]] = []  # (which module, how often it was called before)
        channels, parts, calls = 4, [], []
        for plan in plans:
            if plan.again and parts and not parts[-1].plan.grows:
                calls[-1] += 1
            else:
                parts.append(Residual(channels, plan))
                calls.append(0)
                channels *= 1 + plan.grows
            self.order.append((len(parts) - 1, calls[-1]))
        self.blocks = nn.ModuleList(parts)
        self.head = nn.Linear(channels, 5)

    def forward(self, x):
        x = self.stem(x)
        for number, _ in self.order:
            x = self.blocks[number](x)
        logits = self.head(x.mean((2, 3)))
        return logits if self.outputs == 1 else (x, {"logits": logits})


@torch.no_grad()
def without(model: Program, block: int, x: torch.Tensor) -> torch.Tensor:
    """The untouched model where the branch of the block, from 0, gives zeros."""
    number, call = model.order[block]
    tail = model.blocks[number].tail
    tail.calls, tail.off = 0, call
    try:
        out = model(x)
    finally:
        tail.off = None
    return out if model.outputs == 1 else out[1]["logits"]


plans = st.builds(
    Plan,
    grows=st.sampled_from([False, False, True]),
    activated=st.booleans(),
    pre=st.booleans(),
    add=st.sampled_from(list(ADDITIONS)),
    shortcut_first=st.booleans(),
    scale=st.sampled_from([1.0, 0.5, -0.25]),
    nested=st.sampled_from([False, False, True]),
    again=st.sampled_from([False, False, True]),
    dropped=st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(plans=st.lists(plans, min_size=1, max_size=4), outputs=st.sampled_from([1, 1, 2]))
def test_a_random_program_is_cut_as_it_was_written(plans, outputs):
    model, x = seeded(lambda: Program(plans, outputs)), images(2)
    chain = chain_of(model, x, output=None if outputs == 1 else "1.logits")
    assert len(chain) == len(plans) and chain.residue == 0
    assert [len(block.inner) for block in chain] == [
        int(model.blocks[number].plan.nested) for number, _ in model.order
    ]
    assert len({block.name for block in chain}) == len(chain)
    with torch.no_grad():
        whole = model(x) if outputs == 1 else model(x)[1]["logits"]
        assert torch.equal(chain(x), whole)
        for block in chain:
            steps = [(b.number, float(b.number != block.number)) for b in chain]
            assert torch.equal(chain.run(x, steps), without(model, block.number - 1, x))


class Tangle(nn.Module):
    """A straight-line program over all tensors so far: additions of any two, residual or not."""

    def __init__(self, lines: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.lines = lines
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.head = nn.Linear(3, 5)

    def forward(self, x):
        values = [x * 1]
        for what, i, j in self.lines:
            a, b = values[i % len(values)], values[j % len(values)]
            if what == "convolution":
                values.append(torch.tanh(self.convolutions[j % 3](a)))
            elif what == "into":  # every reader of a sees the change, also those before
                a += b
                values.append(a)
            else:
                values.append({"+": operator.add, "*": operator.mul}[what](a, b))
        return self.head(values[-1].mean((2, 3)))


line = st.tuples(
    st.sampled_from(["convolution", "convolution", "+", "+", "*", "into"]),
    st.integers(0, 7),
    st.integers(0, 7),
)


@settings(max_examples=50, deadline=None)
@given(lines=st.lists(line, min_size=2, max_size=8))
def test_a_tangle_is_cut_right_or_refused(lines):
    model, x = seeded(lambda: Tangle(lines)), images(2)
    try:
        chain = chain_of(model, x)
    except ProbeError:
        return
    with torch.no_grad():
        for y in (x, images(3, seed=7)):  # the images of the proof, and others
            assert torch.equal(chain(y), model(y))


def test_the_tangle_of_a_residual_network_is_cut():
    lines = [("convolution", 0, 0), ("+", 0, 1), ("convolution", 2, 1), ("into", 3, 2)]
    model, x = seeded(lambda: Tangle(lines)), images(2)
    chain = chain_of(model, x)
    assert [block.name for block in chain] == ["convolutions.0", "convolutions.1"]
    with torch.no_grad():
        h = x + torch.tanh(model.convolutions[0](x))
        assert torch.equal(chain.run(x, [(1, 1.0), (2, 0.0)]), model.head(h.mean((2, 3))))


@pytest.mark.parametrize("view", [lambda h: h[:, :2], lambda h: h.flatten(2)])
def test_writing_into_a_view_is_refused(view):
    class Net(nn.Module):
        """`part` is a window on h, so that the state of the shortcut changes, too."""

        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 5)

        def forward(self, x):
            h = x * 1
            part = view(h)
            part += 1
            h = h + self.conv(h)
            return self.head(h.mean((2, 3)))

    with pytest.raises(ProbeError, match="iadd writes into a view of a tensor"):
        chain_of(seeded(Net), images())
