"""The number of a chain's operations: it changes with the code, and with nothing else."""

from __future__ import annotations

import importlib
import linecache
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from campaigns.children import called
from torch import Tensor, fx, nn
from torch.nn import functional as F

from resnet_probe.cli import main
from resnet_probe.discover import chain_of, layers_of
from resnet_probe.discover.code import code_sha256
from resnet_probe.results import Result

LEAFY = """
from torch import fx, nn
@fx.wrap
def leaf(x):
    return {line}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
    def forward(self, x):
        return x + leaf(self.a(x))
"""
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@fx.wrap
def wrapped(x: Tensor) -> Tensor:
    return x.sin()


@pytest.fixture(autouse=True)
def _drawn_apart():
    """Weights are drawn here, from a state of their own."""
    with torch.random.fork_rng():
        yield


class Block(nn.Module):
    def __init__(self, act: nn.Module, groups: int = 1, eps: float = 1e-5) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1, groups=groups)
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=groups)
        self.norm, self.act = nn.BatchNorm2d(4, eps=eps), act

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.norm(self.act(self.first(x))))


class Net(nn.Module):
    """Options change what is computed, and no name or shape of a weight."""

    def __init__(
        self, act: nn.Module | None = None, how: Any = None, classes: int = 5, **block: Any
    ) -> None:
        super().__init__()
        self.stem, self.how = nn.Conv2d(3, 4, 1), how
        self.blocks = nn.Sequential(*[Block(act or nn.ReLU(), **block) for _ in range(2)])
        self.fc = nn.Linear(4, classes)
        self.shift = torch.arange(4.0).view(4, 1, 1) if how == "constant" else 0

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        if self.how == "order":
            return self.fc(self.blocks[0](self.blocks[1](h)).mean((2, 3)))
        h = self.blocks(h + self.shift)
        if self.how == "function":
            h = F.leaky_relu(h, 0.2)
        if self.how == "wrapped":
            h = wrapped(h)
        if self.how == "scaled":
            h = h * 0.5
        return self.fc(h.amax((2, 3)) if self.how == "largest" else h.mean((2, 3)))


class Turned(Block):
    """The same weights, its convolutions the other way round."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.first(self.norm(self.act(self.second(x))))


def turned() -> nn.Module:
    made = Net()
    made.blocks[1] = Turned(nn.ReLU())
    return made


OTHERS = {
    "as it was": Net,
    "slope": lambda: Net(nn.LeakyReLU(0.1)),
    "another slope": lambda: Net(nn.LeakyReLU(0.2)),
    "activation": lambda: Net(nn.GELU()),
    "its approximation": lambda: Net(nn.GELU(approximate="tanh")),
    "eps": lambda: Net(eps=1e-3),
    "turned": turned,
    **{how: lambda how=how: Net(how=how)
       for how in ("constant", "order", "function", "wrapped", "scaled", "largest")},
}  # fmt: skip


def number_of(model: nn.Module, example: Tensor = X) -> str:
    return code_sha256(chain_of(model.eval(), example))


def test_each_change_of_the_code_is_another_number():
    keys = {name: list(make().state_dict()) for name, make in OTHERS.items()}
    assert len({tuple(each) for each in keys.values()}) == 1  # the same weights fit all of them
    numbers = {name: number_of(make()) for name, make in OTHERS.items()}
    assert len(set(numbers.values())) == len(numbers), numbers


def test_a_constant_is_told_by_its_values():
    model = Net(how="constant")
    before = number_of(model)
    model.shift = model.shift.clone()
    assert number_of(model) == before
    model.shift[2] += 1e-6
    assert number_of(model) != before


def test_heads_of_an_attention_layer_are_told():
    def net(heads: int) -> nn.Module:
        layer = nn.TransformerEncoderLayer(8, heads, 16, batch_first=True)
        return nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 3))

    tokens = torch.randn(2, 5, 8)
    assert number_of(net(2), tokens) == number_of(net(2), tokens) != number_of(net(4), tokens)


def test_weights_mode_and_number_of_images_change_nothing():
    torch.manual_seed(1)
    one, other = Net(), Net()
    other.blocks[0].norm.running_mean += 1
    other.train()
    assert code_sha256(chain_of(one, X)) == code_sha256(chain_of(other, X[:1])) == number_of(one)


def test_the_source_of_a_function_that_the_graph_holds_as_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for line in ("x.sin()", "x.cos()"):
        (tmp_path / "leafy.py").write_text(LEAFY.format(line=line))
        sys.modules.pop("leafy", None)
        linecache.checkcache()
        importlib.invalidate_caches()
        found.append(number_of(importlib.import_module("leafy").Net(), torch.ones(2, 4)))
    assert found[0] != found[1]


def told() -> None:
    print(number_of(Net(nn.GELU(), how="wrapped")), hash("a"))


def test_it_is_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    ended = called(told, folder=tmp_path / "here")  # of a server with another seed of hashes
    made, seeded = ended.out.split()
    assert made == number_of(Net(nn.GELU(), how="wrapped")), ended.err
    assert int(seeded) != hash("a")


def test_exported_graphs_and_plain_networks_have_one_too():
    class Branching(nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.a, self.slope = nn.Linear(4, 4), slope

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + F.leaky_relu(self.a(x + y), self.slope)

    def exported(slope: float) -> str:
        chain = chain_of(Branching(slope), dict.fromkeys("xy", torch.ones(2, 4)), along="x")
        assert chain.front_end == "torch.export"
        return code_sha256(chain)

    assert exported(0.1) == exported(0.1) != exported(0.2)
    plain = [
        nn.Sequential(nn.Conv2d(3, 4, 1), act, nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(256, 2))
        for act in (nn.ReLU(), nn.ELU(), nn.ELU(0.5))
    ]
    assert len({code_sha256(layers_of(each, X)) for each in plain}) == 3


MODULE = """
import torch
from torch import nn
from test_code import Net
def build():
    torch.manual_seed(0)
    return Net(nn.{act}, classes=10)
"""


def test_a_model_whose_code_was_edited_is_measured_again(tmp_path, monkeypatch, capsys):
    """The weights, the images and every option are the same, and so is the name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    line = ["responses", "--model", "mine.py:build", "--input", "3x16x16", "--data", "digits",
            "--normalize", "none", "--limit", "8", "--quiet", "--format", "svg"]  # fmt: skip
    folders = []
    for act in ("ReLU()", "Tanh()", "ReLU()"):
        Path("mine.py").write_text(MODULE.format(act=act))
        assert main(line) == 0
        folders.append(capsys.readouterr().out.strip())
    first, second, third = folders
    assert first == third != second
    tables = [Result.load(folder).table for folder in (first, second)]
    assert not tables[0].equals(tables[1])
    Path("mine.py").write_text(MODULE.format(act="Tanh()"))
    assert main([*line, "--out", first]) == 2
    assert "holds another study: code_sha256 is" in capsys.readouterr().err
