"""Every transpose against autograd, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toy_chains import TinyResNet, images, labels, randomized, seeded

from resnet_probe import ProbeError, chain_of, models
from resnet_probe.engine.pullback import Linearizer
from resnet_probe.engine.pullback.chain import ChainLinearizer, in_precision
from resnet_probe.engine.pullback.pulls import PullAnything


class Of(nn.Module):
    """A function of the input and of some modules, to be traced."""

    def __init__(self, function, *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.parts)


def conv(*args, **kwargs) -> nn.Conv2d:
    return nn.Conv2d(*args, bias=False, **kwargs)


def chained(x, *parts):
    for part in parts:
        x = part(x)
    return x


def squeeze(x, pool, down, up):
    return x * torch.sigmoid(up(F.relu(down(pool(x)))))


def attention(x, embed):
    tokens = x.flatten(2).transpose(1, 2)
    parts = embed(tokens).chunk(3, dim=-1)
    q, k, v = (parts[i] for i in range(3))
    return F.softmax(q @ k.transpose(-2, -1), dim=-1) @ v


KNOWN = {
    "3x3": lambda: conv(4, 6, 3, padding=1),
    "1x1": lambda: conv(4, 6, 1),
    "padded beyond the kernel": lambda: conv(4, 6, 1, padding=2),
    "without padding": lambda: conv(4, 6, 3),
    "even kernel": lambda: conv(4, 6, 2, padding=1),
    "oblong": lambda: conv(4, 6, (3, 1), padding=(1, 0)),
    "stride": lambda: conv(4, 6, 3, stride=2, padding=1),
    "stride with a rest": lambda: conv(4, 6, 1, stride=3),
    "uneven stride": lambda: conv(4, 6, 3, stride=(1, 2), padding=1),
    "dilation": lambda: conv(4, 6, 3, padding=2, dilation=2),
    "groups": lambda: conv(4, 6, 3, padding=1, groups=2),
    "groups and stride": lambda: conv(4, 6, 3, stride=2, padding=1, groups=2),
    "depthwise": lambda: conv(4, 8, 5, padding=2, groups=4),
    "same": lambda: conv(4, 6, 3, padding="same"),
    "valid": lambda: conv(4, 6, 3, padding="valid"),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "conv, norm, relu": lambda: nn.Sequential(conv(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
    "norm, relu, conv": lambda: nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), conv(4, 6, 3)),
    "norm, relu, grouped conv": lambda: nn.Sequential(
        nn.BatchNorm2d(4), nn.ReLU(), conv(4, 6, 3, stride=2, groups=2)
    ),
    "norm, norm, conv, norm": lambda: nn.Sequential(
        nn.BatchNorm2d(4), nn.BatchNorm2d(4), conv(4, 6, 3), nn.BatchNorm2d(6)
    ),
    "norm read twice": lambda: Of(
        lambda x, norm, conv: (lambda y: conv(F.relu(y)) + y)(norm(x)),
        nn.BatchNorm2d(4), conv(4, 4, 3, padding=1),
    ),
    "conv read twice": lambda: Of(
        lambda x, conv, norm: (lambda y: norm(y) + y)(conv(x)),
        conv(4, 4, 3, padding=1), nn.BatchNorm2d(4),
    ),
    "linear": lambda: Of(lambda x, linear: linear(x.mean((2, 3))), nn.Linear(4, 5)),
    "relu": nn.ReLU,
    "relu as a function": lambda: Of(lambda x: F.relu(x)),
    "relu as a method": lambda: Of(lambda x: x.relu()),
    "gelu": nn.GELU,
    "silu": lambda: Of(lambda x: F.silu(x)),
    "leaky relu": lambda: nn.LeakyReLU(0.1),
    "prelu": lambda: nn.PReLU(4),
    "hardswish": nn.Hardswish,
    "max pool": lambda: nn.MaxPool2d(3, 2, padding=1),
    "max pool with a rest": lambda: nn.MaxPool2d(2, 2, ceil_mode=True),
    "mean of all": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "view": lambda: Of(lambda x: x.view(x.size(0), -1)),
    "permute": lambda: Of(lambda x: x.permute(0, 2, 3, 1)),
    "slice": lambda: Of(lambda x: x[:, 1:3, ::2, ::2]),
    "slice with a number": lambda: Of(lambda x: x[:, 1]),
    "option A": lambda: Of(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2))),
    "identity": nn.Identity,
    "sum of two": lambda: Of(lambda x, conv: conv(x) + x, conv(4, 4, 3, padding=1)),
    "sum of an activation": lambda: Of(lambda x: F.relu(x) + x),
    "sum that broadcasts": lambda: Of(lambda x, pool: x + pool(x), nn.AdaptiveAvgPool2d(1)),
    "sum with a number": lambda: Of(lambda x: x + 1.5),
    "layer scale": lambda: Of(lambda x, norm: norm.weight.view(-1, 1, 1) * x, nn.BatchNorm2d(4)),
    "half": lambda: Of(lambda x: 0.5 * x),
    "squeeze and excite": lambda: Of(
        squeeze, nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
    ),
}  # fmt: skip
ANYTHING = {
    "reflected padding": lambda: conv(4, 6, 3, padding=1, padding_mode="reflect"),
    "negative padding": lambda: Of(lambda x: F.pad(x, (-1, 1))),
    "square": lambda: Of(lambda x: x * x),
    "twice": lambda: Of(lambda x: x + x),
    "scaled sum": lambda: Of(lambda x, conv: torch.add(conv(x), x, alpha=2), conv(4, 4, 1)),
    "average pool": lambda: nn.AvgPool2d(3, 2, padding=1),
    "coarse mean": lambda: nn.AdaptiveAvgPool2d(2),
    "mean": lambda: Of(lambda x: x.mean((2, 3))),
    "concatenation": lambda: Of(lambda x, conv: torch.cat([x, conv(x)], 1), conv(4, 3, 1)),
    "two halves": lambda: Of(lambda x: (lambda halves: halves[0] * halves[1])(x.chunk(2, dim=1))),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "layer norm": lambda: nn.LayerNorm(7),
    "layer norm of channels": lambda: Of(
        lambda x, norm: norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(4)
    ),
    "instance norm": lambda: nn.InstanceNorm2d(4),
    "conv, instance norm, conv": lambda: nn.Sequential(
        conv(4, 6, 3), nn.InstanceNorm2d(6), conv(6, 3, 3)
    ),
    "functional batch norm": lambda: Of(
        lambda x, norm: F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight),
        nn.BatchNorm2d(4),
    ),
    "softmax": lambda: Of(lambda x: torch.softmax(x, dim=1)),
    "attention": lambda: Of(attention, nn.Linear(4, 12)),
    "multihead attention": lambda: Of(
        lambda x, mha: (lambda t: mha(t, t, t)[0])(x.flatten(2).transpose(1, 2)),
        nn.MultiheadAttention(4, 2, batch_first=True),
    ),
}  # fmt: skip


def traced(build) -> nn.Module:
    """The graph of a module of random weights."""
    return torch.fx.symbolic_trace(seeded(lambda: nn.Sequential(build())).double())


def inputs() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 4, 8, 7, dtype=torch.float64, generator=generator)


def transposed_by_autograd(module, x, stack):
    x = x.clone().requires_grad_()
    output = module(x)
    return torch.stack([torch.autograd.grad(output, x, g, retain_graph=True)[0] for g in stack])


def stacked(output: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(5, *output.shape, dtype=output.dtype, generator=generator)


@pytest.mark.parametrize("name", [*KNOWN, *ANYTHING])
def test_every_operation_goes_back_as_autograd_does(name):
    module, x = traced((KNOWN | ANYTHING)[name]), inputs()
    output, pullback = Linearizer(module)(x)
    with torch.no_grad():
        assert torch.equal(output, module(x))
    g = stacked(output)
    expected = transposed_by_autograd(module, x, g)
    before = g.clone()
    torch.testing.assert_close(pullback(g), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(g, before)  # not ours to overwrite
    own = g.clone()
    found = pullback(own, own=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found.data_ptr() == own.data_ptr() or not pullback.in_place


def strided(g: torch.Tensor, how: str) -> torch.Tensor:
    """The stack `[k, n, …]` in another layout; expanded, it is the same for all positions."""
    if how == "channels last" and g.dim() == 5:
        return g.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    if how == "expanded" and g.dim() > 3:
        return g.flatten(3)[..., :1].unflatten(3, [1] * (g.dim() - 3)).expand_as(g)
    return g


@pytest.mark.many(4)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", [*KNOWN, *ANYTHING])
def test_every_operation_goes_back_whatever_the_strides(name, n, layout):
    if name == "view" and layout is torch.channels_last:
        return  # plain PyTorch refuses this view, too
    module, x = traced((KNOWN | ANYTHING)[name]).eval(), inputs()[:n]
    output, pullback = Linearizer(module)(x.contiguous(memory_format=layout))
    for how in ("contiguous", "channels last", "expanded"):
        g = strided(stacked(output), how)
        expected = transposed_by_autograd(module, x, g.contiguous())
        torch.testing.assert_close(pullback(g), expected, rtol=1e-11, atol=1e-11)
        kept = g.clone()
        again = pullback(kept, own=True)
        torch.testing.assert_close(again, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", KNOWN)
def test_known_operations_do_without_autograd(name):
    if name in ("linear",):
        return  # its mean is no known operation
    _, pullback = Linearizer(traced(KNOWN[name]))(inputs())
    assert not any(isinstance(entry.pull, PullAnything) for entry in pullback.entries)


def test_batch_norm_without_weights():
    module, x = nn.Sequential(nn.BatchNorm2d(4, affine=False), nn.ReLU()).eval(), inputs()
    module[0].running_var.copy_(torch.tensor([0.5, 1.0, 2.0, 3.0]))
    output, pullback = Linearizer(torch.fx.symbolic_trace(module).double())(x)
    g = stacked(output)
    expected = transposed_by_autograd(module, x, g)
    torch.testing.assert_close(pullback(g), expected, rtol=1e-12, atol=1e-12)


def test_a_module_that_is_no_graph_works_too():
    x = inputs()
    bare = seeded(lambda: conv(4, 6, 3)).double()
    for module in (bare, nn.Identity(), seeded(TinyNet).double()):
        output, pullback = Linearizer(module)(x)
        g = stacked(output)
        expected = transposed_by_autograd(module, x, g) if list(module.parameters()) else g
        torch.testing.assert_close(pullback(g), expected, rtol=1e-12, atol=1e-12)
        assert pullback.identity == isinstance(module, nn.Identity)


class TinyNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x.mean((2, 3))) if x.sum() > 1e9 else torch.tanh(x)


def test_what_does_not_depend_on_the_input_gives_zero():
    module = seeded(lambda: Of(lambda x, linear: linear.weight.expand(3, 4, 4), nn.Linear(4, 4)))
    _, pullback = Linearizer(torch.fx.symbolic_trace(module).double())(inputs())
    g = torch.ones(2, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(pullback(g), torch.zeros(2, 3, 4, 8, 7, dtype=torch.float64))


@pytest.mark.parametrize("spec", ["resnet20:width=4", "preresnet20:width=4", "resnet20:shortcut=B"])
def test_no_part_of_a_block_needs_autograd_and_norms_disappear(spec):
    chain = chain_of(randomized(models.architecture(spec).build(seed=0)), images(2))
    frozen = ChainLinearizer(chain)(images(2))
    parts = [p for b in frozen.blocks for p in (b.shortcut, b.branch, b.after)]
    for part in (frozen.stem, frozen.head, *parts):
        assert not any(isinstance(entry.pull, PullAnything) for entry in part.entries)
    # A branch is left with its convolutions and its masks, nothing is kept for batch norm.
    kept = [sum(1 for e in b.branch.entries if tuple(e.pull.held)) for b in frozen.blocks]
    assert set(kept) <= {1, 2}
    inner = [b for b in frozen.blocks if b.block.keeps_shape and b.block.number > 1]
    assert all(b.in_place for b in inner)


def test_the_loss_gradient_of_a_sure_network_is_exact():
    """1 − (1 − 1e-20) is 0 in any arithmetic; adding up what the other classes get is not."""
    chain = chain_of(seeded(TinyResNet).double(), images().double())
    big = in_precision(chain, torch.float64)
    big.head.get_submodule("head").weight.data *= 100
    frozen = ChainLinearizer(big)(images().double())
    target = frozen.logits.argmax(1)
    _, size = frozen.loss_gradient(target)
    logits = frozen.logits - frozen.logits.gather(1, target[:, None])
    others = torch.exp(logits).scatter(1, target[:, None], 0.0)  # relative to the sure class
    expected = (others.square().sum(1) + others.sum(1).square()).sqrt() / (1 + others.sum(1))
    assert (expected > 0).all() and expected.min() < 1e-16
    torch.testing.assert_close(size, expected, rtol=1e-9, atol=0)


class Named(nn.Module):
    """Divides by a root mean square, which it takes in a precision that it names."""

    def __init__(self, cast) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 6), nn.Linear(6, 4)
        self.layers, self.cast = nn.ModuleList(nn.Linear(6, 6) for _ in range(2)), cast

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            wide = self.cast(x)
            x = x + layer((wide * torch.rsqrt(wide.square().mean(-1, keepdim=True))).type_as(x))
        return self.head(x)


@pytest.mark.parametrize("cast", [lambda x: x.float(), lambda x: x.to(torch.float32)])
def test_a_precision_that_a_model_names_is_the_one_that_is_asked(cast):
    model = seeded(lambda: Named(cast))
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    found = in_precision(chain_of(model, x), torch.float64)(x.double())
    model.cast = nn.Identity()
    torch.testing.assert_close(found, model.double()(x.double()), rtol=1e-14, atol=1e-14)


def test_freezing_changes_nothing_of_the_model():
    model = seeded(TinyResNet)
    model.stem.weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    chain = chain_of(model, images())
    frozen = ChainLinearizer(chain)(images())
    frozen.loss_gradient(labels())
    in_precision(chain, torch.float64)
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(before[name], value)
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(p.grad is None for p in model.parameters())
    assert not frozen.logits.requires_grad


def test_where_infinity_begins_is_named():
    chain = chain_of(seeded(TinyResNet), images())
    chain.blocks[1].branch.get_submodule("blocks.1.conv2").weight.data[0, 0] = torch.nan
    with pytest.raises(ProbeError, match=r"^the output of block 2 \(blocks\.1\) is not finite"):
        ChainLinearizer(chain)(images())
    bad = images()
    bad[3, 0, 0, 0] = torch.inf
    with pytest.raises(ProbeError, match=r"^the input is not finite"):
        ChainLinearizer(chain)(bad)
