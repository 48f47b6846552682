"""Sums of several branches of one state, cut branch by branch."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from test_discover_export import LANGUAGE, language_model, some, tokens, with_zeroed
from torch import nn
from toy_chains import images, labels, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, chain_of
from resnet_probe.discover import residual
from resnet_probe.discover.branches import by_branch
from resnet_probe.discover.nested import LEVELS
from resnet_probe.edits import Edit
from resnet_probe.loading.request import Request
from resnet_probe.runs.compatible import answers

TOGETHER = {"gpt_neox", "gptj", "falcon", "phi", "cohere"}


class Net(nn.Module):
    """Two blocks of three branches, which a common norm precedes, and one of a single branch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))
        self.ways = nn.ModuleList(nn.Conv2d(4, 4, size, padding=size // 2) for size in (1, 3) * 3)
        self.last = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x, gone=()):
        x = self.stem(x)

        def way(number, given):
            return torch.tanh(self.ways[number - 1](given)) * (number not in gone)

        for norm, first in zip(self.norms, (1, 4), strict=True):
            z = norm(x)
            a, b, c = (way(first + more, z if more else x) for more in range(3))
            x = torch.relu((a + b) + x + c) if first == 1 else a + (b + c) + x
        x = x + self.last(x) * (7 not in gone)
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def net():
    found = seeded(Net).eval()
    for norm in found.norms:
        norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    return found


@pytest.fixture(scope="module")
def chain(net):
    return chain_of(net, images(), level="branch")


def test_each_branch_is_a_block_whose_deletion_zeroes_it_alone(net, chain):
    whole, x = chain_of(net, images()), images()
    assert [len(whole), len(chain)] == [3, 7] and 0 < chain.residue < 1e-6
    assert [block.partners for block in chain][:4] == [(2, 3), (1, 3), (1, 2), (5, 6)]
    assert [block.name for block in chain][:6] == [f"ways.{i}" for i in range(6)]
    with torch.no_grad():
        for gone in ((), (1,), (2,), (3,), (4,), (6,), (7,), (1, 2), (2, 3, 5), range(1, 8)):
            torch.testing.assert_close(chain.run(x, Edit.delete(*gone)), net(x, gone))


def test_a_wrong_branch_is_not_proven(net, monkeypatch):
    """The proof zeroes each branch in the network itself: another one in its place is found."""

    def exchanged(graph, cuts):
        graph, (one, two, *rest) = by_branch(graph, cuts)
        return graph, [one, replace(two, branch=one.branch), *rest]

    monkeypatch.setattr(residual, "by_branch", exchanged)
    with pytest.raises(ProbeError, match=r"proof of discovery failed at ways"):
        chain_of(net, images(), level="branch")


def test_studies_take_branches_or_refuse_them_by_name(net, chain):
    x, y = images(), labels(6)
    table = rp.lesion(chain, x, y, unit="branch").table
    with torch.no_grad():
        right = [
            int((net(x, gone).argmax(1) == y).sum()) for gone in ((), *((b,) for b in range(1, 8)))
        ]
    assert table.correct.tolist() == right
    found = rp.responses(chain, x, y).table
    rows = found[found.block == 2]
    assert len(rows) and set(rows.name) == {"ways.1"}
    for settings in ({"unit": "branch"}, {"unit": "head"}):
        with pytest.raises(ProbeError, match=r"level='branch'|unknown unit"):
            rp.lesion(chain_of(net, x), x, y, **settings)
    with pytest.raises(ProbeError, match="no path takes two branches of one sum"):
        rp.paths(chain, x, y)
    refused = {answer.study for answer in answers(chain, x) if answer.reason}
    assert "paths" in refused and not refused & {"lesion", "responses", "gates", "greedy", "lens"}


def every_path(net, x, y):
    """Gradients of all single paths, by how many branches each takes: of a sum one at most."""
    a, b, c, d, e, f = ((lambda h, w=w: torch.tanh(w(h))) for w in net.ways)
    p, q = net.norms
    ways = [
        [lambda h: h, a, lambda h: b(p(h)), lambda h: c(p(h))],
        [lambda h: h, d, lambda h: e(q(h)), lambda h: f(q(h))],
        [lambda h: h, net.last],
    ]
    states = [x, net.stem(x)]
    for number, several in enumerate(ways):
        total = sum(way(states[-1]) for way in several)
        states.append((total if number else total.relu()).detach())

    def back(way, at, g):
        at = at.detach().requires_grad_()
        return torch.autograd.grad(way(at), at, g)[0]

    def loss(h):
        return nn.functional.cross_entropy(net.head(h.mean((2, 3))), y, reduction="none")

    end = back(loss, states[4], torch.ones(len(x)).to(x))
    found = torch.zeros(4, *x.shape).to(x)
    for path in product(*(range(len(several)) for several in ways)):
        g = back(ways[2][path[2]], states[3], end)
        g = back(ways[1][path[1]], states[2], g) * (states[2] > 0)  # behind the sum a ReLU
        g = back(net.stem, x, back(ways[0][path[0]], states[1], g))
        found[sum(way > 0 for way in path)] += g
    return found


def test_lengths_of_paths_through_sums_are_those_of_all_single_paths(net):
    """Lengths by branch, which `paths` refuses, are those of blocks: a path takes one of a sum."""
    double, x, y = seeded(Net).eval().double(), images().double(), labels(6)
    double.load_state_dict(net.state_dict())
    found = rp.path_gradients(chain_of(double, x), x, y, precision="float64")
    wanted = every_path(double, x, y)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)
    given = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(double(given), y, reduction="sum")
    (whole,) = torch.autograd.grad(loss, given)
    torch.testing.assert_close(found.sum(0), whole, rtol=1e-9, atol=1e-14)


def test_a_response_is_the_branchs_own(net, chain):
    x = images()
    with torch.no_grad():
        h = net.stem(x)
        state = chain.block(1).run(chain.stem(x))
        second = chain.block(2)
        torch.testing.assert_close(second.branch(state), torch.tanh(net.ways[1](net.norms[0](h))))
        torch.testing.assert_close(second.shortcut(state), h + torch.tanh(net.ways[0](h)))


@pytest.mark.parametrize("kind", some(sorted(TOGETHER), {"gpt_neox"}))
def test_branches_of_language_models_are_lesioned_one_by_one(kind):
    model, given = language_model(kind), tokens()
    chain = chain_of(model, given, name=kind, level="branch")
    _, count, ends, place = LANGUAGE[kind]
    assert len(chain) == 2 * count and [block.role for block in chain] == ["attention", "mlp"] * 2
    assert [len(layer) for layer in chain.layers] == [2, 2] and chain.residue < 1e-6
    for other in (given, tokens(3, 9, seed=1)):
        for number, block in enumerate(chain, start=1):
            end = f"{place}.{block.layer - 1}.{ends[(number - 1) % 2]}"
            with torch.no_grad():
                found = chain.run(other, Edit.delete(number))
            torch.testing.assert_close(found, with_zeroed(model, [end], other))


def test_levels_are_the_same_everywhere():
    option = next(each for each in Request.options() if each.name == "level")
    assert option.choices == LEVELS
