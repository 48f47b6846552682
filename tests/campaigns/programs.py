"""Random residual networks whose every number plain PyTorch can tell.

A network is drawn from a seed: serial blocks of random mixes of norms in either memory layout,
functions that write their argument, sums of two or three operands in any order and grouping,
branches that broadcast, one convolution before two norms.  `forward(x, gone)` leaves out the
branches of the blocks in `gone`, and is what a chain has to reproduce.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 5
WRITES: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp_": lambda x: torch.clamp_(x, min=-0.2),
    "abs_": torch.abs_,
    "sigmoid_": torch.sigmoid_,
    "hardtanh_": F.hardtanh_,
    "leaky_relu_": lambda x: F.leaky_relu_(x, 0.2),
    "threshold_": lambda x: F.threshold_(x, 0.1, 0.0),
    "elu_": F.elu_,
    "relu(inplace)": lambda x: F.relu(x, inplace=True),
    "silu(inplace)": lambda x: F.silu(x, inplace=True),
    "mul_": lambda x: x.mul_(0.7),
    "+=": lambda x: x.__iadd__(0.3),
    "fill_ diagonal": lambda x: x.masked_fill_(x > 1, 0.5),
    "set": lambda x: x.__setitem__((slice(None), 0), x[:, 0] * 2) or x,
}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = WRITES | {
    "relu": torch.relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
}


class InstanceNorm(nn.Module):
    """PyTorch's, or by its formula: its backward kernel is wrong for one image in some layouts."""

    by_hand = False

    def forward(self, x):
        if not self.by_hand:
            return F.instance_norm(x)
        centred = x - x.mean((2, 3), keepdim=True)
        return centred / (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()


class FunctionalNorm(nn.BatchNorm2d):
    def forward(self, x):
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


class ChannelNorm(nn.LayerNorm):
    """A layer norm over channels, its result a view of channels-last memory."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PositionNorm(nn.Module):
    """A layer norm over positions, in the layout of the image."""

    def forward(self, x):
        return F.layer_norm(x, x.shape[2:])


class Twice(nn.Module):
    """One convolution before two batch norms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.second(self.conv(torch.relu(self.first(self.conv(x)))))


class Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda c: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "functional": FunctionalNorm,
    "instance": lambda c: InstanceNorm(),
    "group": lambda c: nn.GroupNorm(2, c),
    "channel": ChannelNorm,
    "position": lambda c: PositionNorm(),
}


@dataclass(frozen=True)
class Plan:
    """One block: what writes the state first, what the branch is, how the sum is written."""

    write: str | None
    used: bool  # the branch reads what the write gave, or the tensor that it wrote into
    kind: str  # plain, twice, broadcast
    norms: tuple[str, str]
    activation: str
    order: tuple[str, ...]  # the operands of the sum, of x, deep and light
    right: bool  # a + (b + c) instead of (a + b) + c
    adds: str
    after: str | None
    halves: bool  # a projection to twice the channels at half the size
    normed: bool  # with a batch norm behind it


def drawn(seed: int) -> list[Plan]:
    pick, other = random.Random(seed), random.Random(f"norms {seed}")
    plans = []
    for _ in range(pick.randint(1, 4)):
        # Of 8×6 pixels a third time would leave one, which instance norm refuses.
        halves = pick.random() < 0.2 and sum(plan.halves for plan in plans) < 2
        order = ["x", "deep"] + ["light"] * (pick.random() < 0.3 and not halves)
        pick.shuffle(order)
        plans.append(
            Plan(
                write=pick.choice([None, None, *WRITES]),
                used=pick.random() < 0.5,
                kind=pick.choice(["plain", "plain", "twice", "broadcast"]),
                norms=(pick.choice(list(NORMS)), pick.choice(list(NORMS))),
                activation=pick.choice(list(ACTIVATIONS)),
                order=tuple(order),
                right=pick.random() < 0.5,
                adds=pick.choice(["+", "torch.add", "+=", "add_"]),
                after=pick.choice([None, None, "relu", "relu(inplace)", "abs_"]),
                halves=halves,
                normed=other.random() < 0.5,
            )
        )
    return plans


class Block(nn.Module):
    def __init__(self, channels: int, plan: Plan) -> None:
        super().__init__()
        self.plan, out = plan, channels * (1 + plan.halves)
        self.first = nn.Conv2d(channels, out, 3, 1 + plan.halves, padding=1)
        self.norms = nn.ModuleList(NORMS[name](out) for name in plan.norms)
        pool = nn.AdaptiveAvgPool2d(1) if plan.kind == "broadcast" else nn.Identity()
        self.last = Twice(out) if plan.kind == "twice" else nn.Conv2d(out, out, 1)
        self.pool = pool
        project = [nn.Conv2d(channels, out, 1, 2), *([nn.BatchNorm2d(out)] * plan.normed)]
        self.project = nn.Sequential(*project) if plan.halves else nn.Identity()
        self.light = nn.Conv2d(channels, out, 1)

    def written(self, x):
        return WRITES[self.plan.write](x) if self.plan.write else x

    def deep(self, h):
        h = ACTIVATIONS[self.plan.activation](self.norms[0](self.first(h)))
        h = self.last(self.pool(h))
        return h if self.plan.kind == "broadcast" else self.norms[1](h)

    def forward(self, x, gone=False):
        plan = self.plan
        h = self.written(x)
        ways = {"deep": self.deep(h if plan.used else x)}
        if "light" in plan.order:
            ways["light"] = self.light(x)
        if gone:
            ways = {name: torch.zeros_like(way) for name, way in ways.items()}
        ways["x"] = self.project(x)
        if plan.adds in ("add_", "+="):  # in place into the state is another program
            ways["x"] = ways["x"] * 1
        operands = [ways[name] for name in plan.order]
        if plan.right:
            total = operands[-1]
            for operand in operands[-2::-1]:
                total = self.add(operand, total)
        else:
            total = operands[0]
            for operand in operands[1:]:
                total = self.add(total, operand)
        return self.behind(total)

    def behind(self, total):
        return ACTIVATIONS[self.plan.after](total) if self.plan.after else total

    def add(self, a, b):
        if self.plan.adds == "torch.add":
            return torch.add(a, b)
        if self.plan.adds == "+" or a.shape != torch.broadcast_shapes(a.shape, b.shape):
            return a + b
        return a.add_(b) if self.plan.adds == "add_" else a.__iadd__(b)


class Network(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.plans = drawn(seed)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        channels, blocks = 4, []
        for plan in self.plans:
            blocks.append(Block(channels, plan))
            channels *= 1 + plan.halves
        self.blocks = nn.ModuleList(blocks)
        last = random.Random(f"head {seed}").random() < 0.3
        self.norm = nn.BatchNorm2d(channels) if last else nn.Identity()
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, x, gone=()):
        x = self.stem(x)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, number in gone)
        return self.head(self.norm(x).mean((2, 3)))


def network(seed: int) -> Network:
    """The network of a seed, in eval mode; its memory layout is drawn, too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Network(seed).eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.3)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias, std=0.3)
    pick = random.Random(f"layout {seed}")
    return net.to(memory_format=pick.choice([torch.contiguous_format, torch.channels_last]))
