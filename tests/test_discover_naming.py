"""Names, layers and stages of blocks, and the tracer that they are read from."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import fx, nn
from toy_chains import TinyResNet, images, seeded

from resnet_probe import chain_of
from resnet_probe.discover.seen import NamingTracer
from resnet_probe.studies.plan import swappable


class Attend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return torch.matmul(torch.matmul(q, k.transpose(1, 2)).softmax(-1), v)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.down(self.up(x).relu())


class Add(nn.Module):
    def forward(self, a, b):
        return a + b


class Layer(nn.Module):
    """Attention and MLP; with `modules`, each sum is made by a module of its own."""

    def __init__(self, modules: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(4), nn.LayerNorm(4)
        self.attn, self.mlp = Attend(), Mlp()
        self.add1, self.add2 = (Add(), Add()) if modules else (torch.add, torch.add)

    def forward(self, x):
        x = self.add1(x, self.attn(self.norm1(x)))
        return self.add2(self.mlp(self.norm2(x)), x)


class Stage(nn.Module):
    """Adds in its own loop: every block is a layer, unless attention and MLP take turns."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        for part in self.parts:
            x = x + part(x)
        return x


class Words(nn.Module):
    """Turns an image into a list of vectors, and back into logits."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.patch, self.body, self.head = nn.Conv2d(3, 4, 4, 4), nn.Sequential(*body), Head()

    def forward(self, x):
        return self.head(self.body(self.patch(x).flatten(2).transpose(1, 2)))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(x.mean(1))


@pytest.mark.parametrize("modules", [False, True])
def test_an_encoder_layer_is_one_layer_however_it_adds(modules):
    chain = chain_of(seeded(lambda: Words(Layer(modules), Layer(modules))), images())
    assert chain.layers == ((1, 2), (3, 4))
    assert [b.name for b in chain] == ["body.0.attn", "body.0.mlp", "body.1.attn", "body.1.mlp"]


@pytest.mark.parametrize(
    ("parts", "layers"),
    [
        ([Mlp, Mlp, Mlp], ((1,), (2,), (3,))),
        ([Attend, Mlp, Attend, Mlp], ((1, 2), (3, 4))),
        ([Mlp, Attend, Attend, Mlp], ((1, 2), (3, 4))),
    ],
)
def test_a_stage_that_adds_in_a_loop_has_a_layer_for_every_turn(parts, layers):
    chain = chain_of(seeded(lambda: Words(Stage([part() for part in parts]))), images())
    assert chain.layers == layers


def test_in_the_networks_own_forward_pass_a_layer_begins_with_its_attention():
    class Net(Words):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d = Mlp(), Attend(), Mlp(), Mlp()

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            for part in (self.a, self.b, self.c, self.d):
                x = x + part(x)
            return self.head(x)

    assert chain_of(seeded(Net), images()).layers == ((1,), (2, 3), (4,))


class Windows(Layer):
    """Its second sum is of the same numbers in another arrangement."""

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        x = x.reshape(len(x), 2, 2, 4)
        return (x + self.mlp(self.norm2(x))).reshape(len(x), 4, 4)


def test_another_arrangement_of_the_same_state_is_no_other_stage():
    chain = chain_of(seeded(lambda: Words(Windows(False), Windows(False))), images())
    assert [block.in_shape for block in chain] == [(4, 4), (2, 2, 4)] * 2
    assert chain.stages == ((1, 2, 3, 4),)
    # Those that keep their shape change places with those of the same shape alone.
    same = {frozenset(chain.block(b).in_shape for b in numbers) for numbers in swappable(chain)}
    assert all(len(shapes) == 1 for shapes in same)


def test_a_change_of_width_is_another_stage():
    assert chain_of(seeded(TinyResNet), images()).stages == ((1,), (2, 3))


@pytest.mark.parametrize("build", [TinyResNet, lambda: Words(Layer(False))])
def test_the_tracer_gives_the_graph_of_torch_fx(build):
    model = seeded(build)
    mine, theirs = NamingTracer().trace(model), fx.Tracer().trace(model)
    for own in mine.nodes:  # fx takes the sum in place for a sum
        if own.target is operator.iadd:
            own.target = operator.add
    assert [str(n.target) for n in mine.nodes] == [str(n.target) for n in theirs.nodes]


def test_a_parameter_shared_by_two_modules_is_read_by_its_first_name():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.ones(3, 1, 1))
            self.second = self.first

        def forward(self, x):
            return (x * self.second + self.first).mean((2, 3))

    read = [node.target for node in NamingTracer().trace(Tied()).nodes if node.op == "get_attr"]
    assert set(read) == {"first"}
