"""Small networks whose residual blocks lie beside other paths, or inside other blocks."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two convolutions with batch norm, and a projection where the shape changes."""

    def __init__(self, given: int, made: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        changes = stride != 1 or given != made
        self.down = nn.Conv2d(given, made, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        branch = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(branch + self.down(x))


def stage(given: int, made: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(given, made, stride)
    return nn.Sequential(first, *(Block(made, made) for _ in range(blocks - 1)))


class UNet(nn.Module):
    """Four stages of two blocks, and a decoder that reads the output of each once more."""

    def __init__(self) -> None:
        super().__init__()
        widths = (4, 4, 8, 12, 16)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.ModuleList(
            stage(a, b, 2, 1 + (i > 0)) for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        ups = ((16, 12), (12, 8), (8, 4))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in ups)
        self.join = nn.ModuleList(nn.Conv2d(2 * b, b, 3, padding=1) for _, b in ups)
        self.head = nn.Conv2d(4, 5, 1)

    def forward(self, x):
        x, skips = torch.relu(self.stem(x)), []
        for part in self.down:
            x = part(x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=False):
            x = torch.relu(join(torch.cat([up(x), skip], 1)))
        return self.head(x).mean((2, 3))


class Segmentation(nn.Module):
    """Blocks on the way down and up, with skips that are added: 1 + 2 + 2 + 4 and 3 of them."""

    def __init__(self) -> None:
        super().__init__()
        widths, numbers = (4, 8, 12, 16), (1, 2, 2, 4)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.ModuleList(
            nn.ModuleList(_pre(w) for _ in range(n)) for w, n in zip(widths, numbers, strict=False)
        )
        self.pool = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(widths))
        self.reduce = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(_pre(w) for w in widths[:-1])
        self.head = nn.Conv2d(4, 5, 1)

    def forward(self, x):
        x, skips = self.stem(x), []
        for place, blocks in enumerate(self.down):
            x = self.pool[place - 1](x) if place else x
            for block in blocks:
                x = x + block(x)
            skips.append(x)
        ways = zip(self.reduce[::-1], self.up[::-1], skips[-2::-1], strict=False)
        for reduce, block, skip in ways:
            x = F.interpolate(reduce(x), scale_factor=2.0) + skip
            x = x + block(x)
        return self.head(x).mean((2, 3))


def _pre(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(2, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(2, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
    )  # fmt: skip


class SuperResolution(nn.Module):
    """Sixteen blocks inside one skip around all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
            )
            for _ in range(16)
        )  # fmt: skip
        self.tail = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x):
        x = h = self.stem(x)
        for block in self.body:
            h = h + 0.1 * block(h)
        return self.head(self.tail(h) + x).mean((2, 3))


class OfResNets(nn.Module):
    """Blocks in three stages, a skip around each stage and one around all (Zhang et al. 2016)."""

    def __init__(self, blocks: int = 9) -> None:
        super().__init__()
        widths = (4, 4, 8, 12)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stages = nn.ModuleList(
            stage(a, b, blocks, 1 + (i > 0)) for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.around = nn.ModuleList(
            nn.Conv2d(a, b, 1, 1 + (i > 0)) for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.root = nn.Conv2d(4, 12, 1, 4)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = first = self.stem(x)
        for blocks, around in zip(self.stages, self.around, strict=False):
            x = torch.relu(blocks(x) + around(x))
        x = torch.relu(x + self.root(first))
        return self.fc(x.mean((2, 3)))


class Pyramid(nn.Module):
    """Stages whose outputs are read sideways, from the last to the first (Lin et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stages = nn.ModuleList([stage(4, 4, 2, 1), stage(4, 8, 2, 2), stage(8, 12, 2, 2)])
        self.side = nn.ModuleList(nn.Conv2d(w, 4, 1) for w in (4, 8, 12))
        self.out = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x, levels = self.stem(x), []
        for part in self.stages:
            x = part(x)
            levels.append(x)
        found = [self.side[2](levels[2])]
        for place in (1, 0):
            wide = F.interpolate(found[-1], scale_factor=2.0)
            found.append(self.side[place](levels[place]) + wide)
        pooled = [out(level).mean((2, 3)) for out, level in zip(self.out, found, strict=False)]
        return self.fc(torch.cat(pooled, 1))


class Waves(nn.Module):
    """Gated convolutions whose outputs go into the state and into a sum (van den Oord 2016)."""

    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, 4, 1)
        self.gate = nn.ModuleList(
            nn.Conv1d(4, 8, 2, dilation=2**i, padding=2**i) for i in range(blocks)
        )
        self.back = nn.ModuleList(nn.Conv1d(4, 4, 1) for _ in range(blocks))
        self.skip = nn.ModuleList(nn.Conv1d(4, 6, 1) for _ in range(blocks))
        self.last = nn.Conv1d(4, 6, 1)
        self.head = nn.Conv1d(6, 5, 1)

    def forward(self, x):
        x, total = self.stem(x), 0
        for gate, back, skip in zip(self.gate, self.back, self.skip, strict=False):
            a, b = gate(x)[..., : x.shape[-1]].chunk(2, 1)
            z = torch.tanh(a) * torch.sigmoid(b)
            x, total = x + back(z), total + skip(z)
        return self.head(torch.relu(total + self.last(x))).mean(2)


class TwoStreams(nn.Module):
    """Two rows of blocks side by side, run in turn, that meet in the head."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
        self.a = nn.ModuleList(Block(4, 4) for _ in range(3))
        self.b = nn.ModuleList(Block(6, 6) for _ in range(3))
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        a, b = self.left(x), self.right(x)
        for left, right in zip(self.a, self.b, strict=False):
            a, b = left(a), right(b)
        return self.fc(torch.cat([a.mean((2, 3)), b.mean((2, 3))], 1))


NETWORKS = {
    "UNet": (UNet, 8, 8), "Segmentation": (Segmentation, 12, 3),
    "SuperResolution": (SuperResolution, 16, 1), "OfResNets": (OfResNets, 27, 1),
    "Pyramid": (Pyramid, 6, 6), "Waves": (Waves, 4, 1), "TwoStreams": (TwoStreams, 6, 6),
}  # fmt: skip
"""The network, its innermost blocks, and its outermost."""
LAST = {
    "UNet": "bn2", "Segmentation": "5", "SuperResolution": "2", "OfResNets": "bn2",
    "Pyramid": "bn2", "Waves": "", "TwoStreams": "bn2",
}  # fmt: skip
"""The last module of a branch, inside the block."""


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The network with random weights and statistics in eval mode, and three images."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = NETWORKS[name][0]().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    shape = (3, 3, 16) if name == "Waves" else (3, 3, 16, 16)
    return model, torch.randn(shape, generator=torch.Generator().manual_seed(1))
