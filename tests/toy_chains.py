"""Chains and models that are small enough to know the answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_probe.chain import ResidualBlock, ResidualChain


class Times(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, h: Tensor) -> Tensor:
        return self.factor * h


class NegativeStates(nn.Module):
    """relu(x + conv(x)) three times behind a stem without a ReLU: states that ReLUs do change."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.inner = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x)
        for inner in self.inner:
            x = torch.relu(x + inner(x))
        return self.head(x.mean((2, 3)))


def scalar_chain(factors: list[float]) -> ResidualChain:
    """Blocks h + f·h on `[n, 2]`: run with gates g the output is Π(1 + g_b·f_b) times the input."""
    blocks = tuple(
        ResidualBlock(
            number=number,
            name=f"block{number}",
            stage=1,
            shortcut=nn.Identity(),
            branch=Times(factor),
            after=nn.Identity(),
            shortcut_kind="identity",
            in_shape=(2,),
            out_shape=(2,),
        )
        for number, factor in enumerate(factors, start=1)
    )
    return ResidualChain("scalar", nn.Identity(), blocks, nn.Identity(), (2,), 2)


class TinyResNet(nn.Module):
    """Three post-activation blocks, the middle one with a projection; everything in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList([TinyBlock(4, 4), TinyBlock(4, 8, stride=2), TinyBlock(8, 8)])
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu_()
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class TinyBlock(nn.Module):
    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1 or channels != out:
            self.down = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.down is None else self.down(x)
        return self.relu(out)


class TinyPlain(nn.Module):
    """Convolution layers without shortcuts, with a pool and a change of width between them."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, out, pool in ((3, 4, False), (4, 4, True), (4, 8, False), (8, 8, False)):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(True)]
            layers += [nn.MaxPool2d(2)] if pool else []
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in eval mode with drawn weights and batch-norm statistics, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.3, 1.0),
                (module.bias.data, -0.3, 0.3),
            ):
                tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))
        elif isinstance(module, nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel()
            drawn = torch.randn(module.weight.shape, generator=generator)
            module.weight.data.copy_(drawn * (2 / fan) ** 0.5)
            if module.bias is not None:
                module.bias.data.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
    return model.eval()


def images(n: int = 6, side: int = 8, seed: int = 1) -> Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def labels(n: int = 6, classes: int = 5, seed: int = 2) -> Tensor:
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def seeded(build, seed: int = 0) -> nn.Module:
    """A module whose initial weights are drawn beside the global random state."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return randomized(build(), seed)
