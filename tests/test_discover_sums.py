"""Sums as networks write them: three operands, branches that broadcast, layouts, norms beside."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy_chains import images, labels, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, chain_of


def conv(size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(4, 4, size, padding=size // 2)


class Net(nn.Module):
    """Two blocks `rule(x, branch)`; `forward(x, gone)` gives zeros for the branches in `gone`."""

    def __init__(self, make: Callable[[], nn.Module], rule: Callable[..., Tensor]) -> None:
        super().__init__()
        self.rule = rule
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.branches = nn.ModuleList(make() for _ in range(2))

    def forward(self, x, gone=()):
        x = self.stem(x)
        for number, branch in enumerate(self.branches, start=1):
            ways = tuple(branch(x)) if isinstance(branch, Two) else (branch(x),)
            if number in gone:
                ways = tuple(torch.zeros_like(way) for way in ways)
            x = self.rule(x, *ways)
        return self.head(x.mean((2, 3)))


class Two(nn.Module):
    """A deep and a light way."""

    def __init__(self) -> None:
        super().__init__()
        self.deep, self.light = nn.Sequential(conv(), nn.ReLU(), conv()), conv(1)

    def forward(self, x):
        return self.deep(x), self.light(x)


class ChannelNorm(nn.Module):
    """Gives a view of channels-last memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(), nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def pooled() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(1))


def added(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


@pytest.mark.many(3)
@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (Two, lambda x, deep, light: x + deep + light),
        (Two, lambda x, deep, light: deep + light + x),
        (Two, lambda x, deep, light: light + (x + deep)),
        (Two, lambda x, deep, light: torch.add(light, x + deep)),
        (pooled, lambda x, branch: x + branch),
        (pooled, lambda x, branch: branch + x),
        (pooled, lambda x, branch: x * 1 + branch.expand_as(x)),
        (ChannelNorm, lambda x, branch: x + branch),
        (ChannelNorm, lambda x, branch: branch + x),
        (ChannelNorm, lambda x, branch: added(branch, x)),
        (ChannelNorm, lambda x, branch: torch.relu(branch).add_(x)),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("seed", range(2))
def test_a_deletion_leaves_the_state_alone(make, rule, layout, seed):
    net = seeded(lambda: Net(make, rule), seed).to(memory_format=layout).eval()
    x = images()
    chain = chain_of(net, x)
    assert len(chain) == 2 and chain.residue < 1e-6
    with torch.no_grad():
        for gone in ((), (1,), (2,), (1, 2)):
            found = chain.run(x, [(b, float(b not in gone)) for b in (1, 2)])
            torch.testing.assert_close(found, net(x, gone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("study", ["lesion", "paths", "responses", "attribute", "agreement"])
def test_every_study_takes_a_branch_that_broadcasts(study):
    net = seeded(lambda: Net(pooled, lambda x, branch: x + branch)).eval()
    x, y = images(), labels(6)
    table = getattr(rp, study)(chain_of(net, x), x, y).table
    assert len(table)
    if study == "lesion":
        with torch.no_grad():
            right = [int((net(x, gone).argmax(1) == y).sum()) for gone in ((), (1,), (2,))]
        assert table.correct.tolist() == right


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(conv(), nn.BatchNorm2d(4, track_running_stats=False)),
        lambda: nn.Sequential(conv(), OfTheBatch()),
    ],
    ids=["module", "function"],
)
def test_a_norm_that_takes_its_statistics_from_the_batch_is_refused(make):
    with torch.random.fork_rng():
        net = Net(make, lambda x, branch: x + branch).eval()
    with pytest.raises(ProbeError, match="a batch norm that takes its statistics from the batch"):
        chain_of(net, images())


class OfTheBatch(nn.Module):
    def forward(self, x):
        return F.batch_norm(x, None, None, training=True)


class Encoder(nn.Module):
    """PyTorch's encoder of two layers behind patches."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)
        layer = nn.TransformerEncoderLayer(8, 2, 16, norm_first=norm_first, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.head(self.layers(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("norm_first", [True, False])
def test_pytorchs_encoder_is_attention_and_mlp_by_turns(norm_first):
    net = seeded(lambda: Encoder(norm_first)).eval()
    x = images()
    chain = chain_of(net, x)
    assert len(chain) == 4
    for number, part in ((1, "self_attn"), (2, "linear2")):
        layer = net.layers.layers[0]
        with torch.no_grad():
            hook = getattr(layer, part).register_forward_hook(
                lambda module, given, made: (made[0] * 0, None) if type(made) is tuple else made * 0
            )
            # A hook keeps PyTorch from its fused kernel, too.
            wanted = net(x)
            hook.remove()
            found = chain.run(x, [(b, float(b != number)) for b in range(1, 5)])
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
