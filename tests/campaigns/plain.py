"""A random network once more, in double precision, as functions that write nothing.

    h = stem(x)
    for each block:  h = after(shortcut(h) + gate · branch(h))
    logits = head(h)

What a block writes into the state first belongs to the stem or to the block before, so that a state
is what shortcut and branch both read; what follows the last sum to the head, but for a ReLU.
Nothing of the package is called, and autograd goes through all of it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from campaigns.programs import InstanceNorm, Network
from torch import Tensor, nn

RELUS = ("relu", "relu(inplace)")


@dataclass
class Seen:
    """A block at some images: its input, its terms, their sum and its output."""

    number: int
    h: Tensor
    shortcut: Tensor
    branch: Tensor
    total: Tensor
    out: Tensor


@dataclass
class Trace:
    """What a run goes through; `h` is the last state."""

    h: Tensor
    logits: Tensor
    blocks: list[Seen] = field(default_factory=list)


class Plain:
    def __init__(self, net: Network) -> None:
        self.net = copy.deepcopy(net).double().requires_grad_(False)
        self.blocks = list(self.net.blocks)
        for module in self.net.modules():
            if isinstance(module, InstanceNorm):
                module.by_hand = True

    def __len__(self) -> int:
        return len(self.blocks)

    def stem(self, x: Tensor) -> Tensor:
        return self.blocks[0].written(self.net.stem(x.double()))

    def pooled(self, h: Tensor, norm: nn.Module | None = None) -> Tensor:
        """What the last layer reads; with another `norm` than its own before it."""
        last = self.blocks[-1]
        h = h if last.plan.after in RELUS else last.behind(h.clone())
        return (norm or self.net.norm)(h).mean((2, 3))

    def head(self, h: Tensor) -> Tensor:
        return self.net.head(self.pooled(h))

    def shortcut(self, b: int, h: Tensor) -> Tensor:
        return self.blocks[b - 1].project(h)

    def branch(self, b: int, h: Tensor) -> Tensor:
        """All but the shortcut, at every place of it."""
        block = self.blocks[b - 1]
        found = block.deep(h)
        if "light" in block.plan.order:
            found = found + block.light(h)
        return found + torch.zeros_like(self.shortcut(b, h))

    def after(self, b: int, total: Tensor) -> Tensor:
        """What follows the sum, to what the next block writes."""
        block = self.blocks[b - 1]
        if b == len(self):
            return block.behind(total.clone()) if block.plan.after in RELUS else total
        return self.blocks[b].written(block.behind(total.clone()).clone())

    def keeps_shape(self, b: int) -> bool:
        return not self.blocks[b - 1].plan.halves

    def block(self, b: int, h: Tensor, gate=1.0, branch: Tensor | None = None) -> Seen:
        """With a `branch` of another's in the place of its own; `gate` is a number or `[n]`."""
        gate = torch.as_tensor(gate).view(-1, 1, 1, 1)
        short, own = self.shortcut(b, h), self.branch(b, h) if branch is None else branch
        total = short + gate * own
        return Seen(b, h, short, own, total, self.after(b, total))

    def run(self, x: Tensor, gates: Sequence | None = None) -> Trace:
        """All blocks in their order, with a gate for each."""
        gates = [1.0] * len(self) if gates is None else gates
        return self.steps(x, list(enumerate(gates, start=1)))

    def steps(self, x: Tensor, steps: Sequence[tuple[int, float]]) -> Trace:
        """These blocks at these gates, in this order."""
        return self.onward(self.stem(x), steps)

    def onward(self, h: Tensor, steps: Sequence[tuple[int, float]]) -> Trace:
        seen = []
        for b, gate in steps:
            seen.append(self.block(b, h, gate))
            h = seen[-1].out
        return Trace(h, self.head(h), seen)

    def without(self, x: Tensor, *gone: int) -> Trace:
        return self.run(x, [float(b not in gone) for b in range(1, len(self) + 1)])

    def renewed(
        self, x: Tensor, gates: Sequence[float], depth: int = 0, *, tail: bool = False
    ) -> Plain | None:
        """With the batch-norm statistics that these images give each norm, one after the other.

        None where no batch norm is run behind `depth` blocks; before, they stay as they are.  Of a
        `tail` only shortcuts and the head are run.
        """
        found, ran = Plain(self.net), []

        def renew(norm, given):
            ran.append(norm)
            norm.running_mean = given[0].mean((0, 2, 3))
            norm.running_var = given[0].var((0, 2, 3))

        norms = [each for each in found.net.modules() if isinstance(each, nn.BatchNorm2d)]
        steps = list(enumerate(gates, start=1))
        h = self.stem(x)  # without a batch norm
        for b, gate in steps[:depth]:
            h = self.block(b, h, gate).out
        hooks = [norm.register_forward_pre_hook(renew) for norm in norms]
        if tail:
            for b, _ in steps[depth:]:
                h = found.after(b, found.shortcut(b, h))
            found.head(h)
        else:
            found.onward(h, steps[depth:])
        for hook in hooks:
            hook.remove()
        return found if ran else None


def size(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)


def inner(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).flatten(1).sum(1)


def over(above: Tensor, below: Tensor) -> Tensor:
    return above / below.where(below > 0, torch.nan)


def pulled(function, at: Tensor, gradient: Tensor) -> Tensor:
    at = at.detach().requires_grad_()
    return torch.autograd.grad(
        function(at), at, gradient, allow_unused=True, materialize_grads=True
    )[0]


def pushed(function, at: Tensor, along: Tensor) -> Tensor:
    return torch.autograd.functional.jvp(function, at.detach(), along.detach())[1]


def cosine(one: Tensor, other: Tensor) -> Tensor:
    return over(inner(one, other), size(one) * size(other))
