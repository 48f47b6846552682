"""Kinds of networks beyond convolutions in series: the numbers of a chain against plain PyTorch.

Each network has its own switch for what a deletion leaves out, and autograd's gradient.
"""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
from toy_chains import seeded

import resnet_probe as rp

CLASSES, BLOCKS = 5, 2


def conv(channels: int = 4) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1)


class Net(nn.Module):
    """Blocks `add(shortcut(x), branch(x))`, each written by hand in a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, CLASSES)
        self.parts = nn.ModuleList(self.part() for _ in range(BLOCKS))
        self.gone: tuple[int, ...] = ()

    def part(self) -> nn.Module:
        return nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU())

    def shortcut(self, part: nn.Module, x: Tensor) -> Tensor:
        return x

    def branch(self, part: nn.Module, x: Tensor) -> Tensor:
        return part(x)

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        return x + branch

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for number, part in enumerate(self.parts, start=1):
            branch = self.branch(part, x)
            branch = branch * 0 if number in self.gone else branch
            x = self.add(self.shortcut(part, x), branch)
        return self.head(x.mean((2, 3)))


class Pruned(Net):
    """Its masked weights are made in a hook, here of weights that have changed since."""

    def part(self):
        found = conv()
        prune.random_unstructured(found, "weight", amount=0.5)
        nn.init.normal_(found.weight_orig, std=0.2)
        return found


class Patched(Net):
    """Layers of torch that do something else than their class."""

    def part(self):
        layer, norm, act = conv(), nn.BatchNorm2d(4), nn.ReLU()
        layer.forward = types.MethodType(lambda c, x: F.conv2d(x, c.weight.abs(), padding=1), layer)
        norm.forward = functools.partial(lambda n, x: 2 * nn.BatchNorm2d.forward(n, x), norm)
        act.forward = lambda x: F.leaky_relu(x, 0.3)
        return nn.Sequential(layer, norm, act)


class Enclosed(Net):
    """Functions that enclose the model, which is in training mode."""

    def __init__(self) -> None:
        super().__init__()
        whole = self.forward
        self.forward = lambda x: 2 * whole(x)

    def part(self):
        found = super().part()
        norm = found[1]
        found.steps = [lambda x: found[0](x), lambda x: norm(x)]
        return found

    def branch(self, part, x):
        return part.steps[1](part.steps[0](x))


class Keywords(Net):
    def branch(self, part, x):
        return part[1](input=part[0](input=F.relu(input=x)))

    def add(self, x, branch):
        return torch.add(input=x, other=branch, alpha=0.5)


class ByNumpy(Net):
    def branch(self, part, x):
        return np.float64(0.5) * part(x)


class Views(Net):
    """Views that no channels-last tensor has."""

    def add(self, x, branch):
        return (x.view(len(x), -1) + branch.view(len(x), -1)).view(-1, 4, 6, 6)


class Recurrent(Net):
    """Over the columns, beside a projection that has a weight, too."""

    def part(self):
        return nn.ModuleList([nn.GRU(4, 4, batch_first=True), nn.Conv2d(4, 4, 1)])

    def shortcut(self, part, x):
        return part[1](x)

    def branch(self, part, x):
        rows = x.permute(0, 2, 3, 1).flatten(0, 1)
        return part[0](rows)[0].unflatten(0, (-1, 6)).permute(0, 3, 1, 2)


class Matrices(Net):
    def part(self):
        return nn.ParameterList([torch.randn(4, 4), torch.randn(4, 4), torch.randn(4, 4, 1, 1)])

    def shortcut(self, part, x):
        return F.conv2d(x, part[2])

    def branch(self, part, x):
        h = (x.permute(0, 2, 3, 1) @ part[0]).clamp(min=0)
        return torch.einsum("nhwc,cd->ndhw", h, part[1])


class Fourier(Net):
    """Filters in Fourier space, with complex weights (Rao et al. 2021)."""

    def part(self):
        return nn.ParameterList([torch.randn(4, 6, 4, dtype=torch.complex64)])

    def branch(self, part, x):
        return torch.relu(torch.fft.irfft2(torch.fft.rfft2(x) * part[0], s=(6, 6)))


class Paired(Net):
    """The same with complex weights kept as pairs, of four axes as a convolution's."""

    def part(self):
        return nn.ParameterList([torch.randn(4, 6, 4, 2)])

    def branch(self, part, x):
        filtered = torch.fft.rfft2(x) * torch.view_as_complex(part[0])
        return torch.relu(torch.fft.irfft2(filtered, s=(6, 6)))


class Written(Net):
    """Entries that are written, in a forward pass that only torch.export follows."""

    def branch(self, part, x):
        h = part(x) * 1 if isinstance(x, Tensor) else x * 1
        h[:, 0] = 2 * h[:, 0]
        return h


class Sparse(Net):
    """Mixes its channels by a sparse matrix, as a graph network its nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(4).roll(1, 0).to_sparse())

    def branch(self, part, x):
        rows = part(x).transpose(0, 1)
        return (
            torch.sparse.mm(self.matrix, rows.flatten(1)).unflatten(1, (-1, 6, 6)).transpose(0, 1)
        )


class Mixed(Net):
    """Sums in another type than the layers."""

    def branch(self, part, x):
        return part[1].float()(part[0](x.float()))

    def add(self, x, branch):
        return (x.double() + branch).to(x.dtype)


class Named(Net):
    """Names that code cannot have."""

    def part(self):
        return nn.ModuleDict({"class": conv(), 'a"b': conv()})

    def branch(self, part, x):
        return torch.relu(part['a"b'](part["class"](x)))


class Asking(Net):
    """Asks whether it has a tensor, which torch.fx has not."""

    def branch(self, part, x):
        return part(x) if isinstance(x, Tensor) else x


KINDS: list[type[Net]] = [
    Pruned, Patched, Enclosed, Keywords, ByNumpy, Views, Recurrent, Matrices, Fourier, Mixed, Named,
    Asking, Paired, Written, Sparse,
]  # fmt: skip


def drawn(kind: Callable[[], Net]) -> Net:
    net = seeded(kind).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.add_(torch.arange(4) / 4)
    return net


def images(seed: int, n: int = 3) -> Tensor:
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, wanted: Tensor, share: float) -> bool:
    return bool(((found - wanted).abs().max() <= share * wanted.abs().max()).detach())


@pytest.mark.many(2)
@pytest.mark.parametrize("kind", KINDS)
def test_deletions_and_gradients_are_the_networks(kind) -> None:
    net, x = drawn(kind), images(1)
    chain = rp.chain_of(net, x)
    assert len(chain) == BLOCKS and net.training
    true = drawn(kind).eval()
    edits = [rp.Edit(), rp.Edit.delete(1), rp.Edit.delete(2), rp.Edit.delete(1, 2)]
    for given in (x, images(2, n=2).contiguous(memory_format=torch.channels_last)):
        wanted = []
        for true.gone in ((), (1,), (2,), (1, 2)):
            wanted.append(true(given.contiguous()).detach())
        for piece in rp.Sweep(chain).run(edits, given):
            for edit in piece.edits:
                assert close(chain.run(given, edits[edit]), wanted[edit], 1e-5)
                assert close(piece.logits, wanted[edit], 1e-4)
    true.gone, given, labels = (), x.clone().requires_grad_(), torch.arange(3)
    F.cross_entropy(true(given), labels, reduction="sum").backward()
    for precision in ("float32", "float64"):
        found = rp.path_gradients(chain, x, labels, precision=precision).sum(0)
        assert close(found.float(), given.grad, 1e-4)


class Complex(Net):
    def add(self, x, branch):
        total = torch.complex(x, x) + torch.complex(branch, branch)
        return torch.view_as_real(total).sum(-1)


def test_sums_of_complex_numbers_are_refused() -> None:
    with pytest.raises(rp.ProbeError, match=r"parts\.0 of Complex adds complex numbers"):
        rp.chain_of(drawn(Complex), images(1))


class Chance(Net):
    def branch(self, part, x):
        return part(x) * (random.random() + float(np.random.rand()))  # noqa: NPY002


def test_chance_of_python_and_numpy_is_put_back() -> None:
    before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    with pytest.raises(rp.ProbeError, match="chance"):
        rp.chain_of(drawn(Chance), images(1))
    assert (random.getstate(), repr(np.random.get_state())) == before  # noqa: NPY002


class Stopped(Net):
    def branch(self, part, x):
        with torch.no_grad():
            weight = torch.sigmoid(x)
        return part(x) * weight


class Sign(torch.autograd.Function):
    """With the gradient of the identity (Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx, x):
        return torch.sign(x)

    @staticmethod
    def backward(ctx, g):
        return g


class Straight(Net):
    def branch(self, part, x):
        return part(Sign.apply(x))


class Doubling(Net):
    """A hook doubles what goes back."""

    def part(self):
        found = nn.Sequential(conv(), nn.Tanh())
        found[0].register_full_backward_hook(lambda _, given, made: (2 * given[0],))
        return found


@pytest.mark.parametrize("kind", [Stopped, Straight, Doubling])
def test_gradients_that_a_graph_does_not_hold_are_refused_and_deletions_are_not(kind) -> None:
    net, x, labels = drawn(kind), images(1), torch.arange(3)
    chain, true = rp.chain_of(net, x), drawn(kind).eval()
    true.gone = (1,)
    assert close(chain.run(x, rp.Edit.delete(1)), true(x), 1e-5)
    assert len(rp.lesion(chain, x, labels).table)
    for study in (rp.paths, rp.path_gradients, rp.flow, rp.responses, rp.gates, rp.attribute):
        with pytest.raises(rp.ProbeError, match="autograd gives another gradient of"):
            study(chain, x, labels)


class OneAlone(Net):
    def add(self, x, branch):
        return x + branch if x.shape[0] != 1 else x - branch


def test_another_network_for_a_single_image_is_refused() -> None:
    with pytest.raises(rp.ProbeError, match="does not reproduce the network"):
        rp.chain_of(drawn(OneAlone), images(1))


class Squeezing(Net):
    """Ends in `squeeze()`, which takes the axis of a single image out, too."""

    def forward(self, x):
        x = self.stem(x)
        for part in self.parts:
            x = x + part(x)
        return self.head(F.adaptive_avg_pool2d(x, 1).squeeze())


class SqueezedBefore(nn.Module):
    """Takes it out before its blocks, and puts it back behind them."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 3)
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.stem(x), 1).squeeze()
        for part in self.parts:
            x = x + part(x)
        return self.head(x).reshape(-1, 3)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", [Squeezing, SqueezedBefore])
def test_a_single_image_keeps_its_axis(kind, rows) -> None:
    net, x, labels = drawn(kind).eval(), images(1), torch.arange(3)
    chain = rp.chain_of(net, x[:rows])
    assert torch.equal(chain(x), net(x))
    assert torch.equal(chain(x[:1]), net(x[:1]).reshape(1, -1))
    for study in (rp.lesion, rp.responses, rp.paths):
        assert len(study(chain, x, labels, batch=2).table)


class Training(Net):
    """Never leaves training mode."""

    def train(self, mode=True):
        return super().train(True)


def test_a_network_that_stays_in_training_mode_is_refused_and_its_statistics_stay() -> None:
    net = drawn(Training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(rp.ProbeError, match=r"takes its statistics from the batch, parts\.0\.1"):
        rp.chain_of(net, images(1))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_weights_without_numbers_are_refused() -> None:
    with pytest.raises(rp.ProbeError, match=r"without numbers \(stem\.weight is on meta\)"):
        rp.chain_of(drawn(Net).to("meta"), images(1).to("meta"))
