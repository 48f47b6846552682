"""Functions that write their argument: with a block deleted, they still write."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toy_chains import images, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, chain_of
from resnet_probe.discover.functional import on_a_copy

ARGUMENTS: dict[str, tuple] = {
    "add_": (0.5,), "sub_": (0.5,), "mul_": (0.5,), "div_": (3,), "pow_": (2,), "fill_": (0.3,),
    "clamp_": (-0.1, 0.4), "clip_": (-0.1, 0.4), "clamp_min_": (0.1,), "clamp_max_": (0.1,),
    "threshold_": (0.1, 0.0), "hardtanh_": (-0.3, 0.3), "leaky_relu_": (0.2,), "renorm_": (2, 0, 1),
    "remainder_": (0.7,), "fmod_": (0.7,), "floor_divide_": (0.3,), "true_divide_": (3,),
    "multiply_": (0.5,), "subtract_": (0.5,), "divide_": (3,), "xlogy_": (2.0,), "arctan2_": (1.0,),
    "mvlgamma_": (1,), "polygamma_": (1,), "cumsum_": (1,), "cumprod_": (1,), "zero_": (),
    "heaviside_": (torch.tensor(0.5),), "nan_to_num_": (), "hypot_": (torch.tensor(0.5),),
    "lerp_": (torch.tensor(0.5), 0.3), "masked_fill_": (torch.tensor(True), 0.2),
    "index_fill_": (1, torch.tensor([0]), 0.2), "copysign_": (-1.0,),
    "float_power_": (2,),
}  # fmt: skip
"""What the functions take beside the tensor; others are called with that alone."""
OTHERS = {"requires_grad_", "share_memory_", "rename_", "retain_grad_", "resize_", "set_"}


def writing(owner):
    """Every function of `owner` whose name says that it writes, if it can be called on images."""
    with torch.random.fork_rng():
        return list(_writing(owner))


def _writing(owner):
    for name in sorted(dir(owner)):
        if not name.endswith("_") or name.startswith("_") or name in OTHERS:
            continue
        x = torch.rand(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
        before, state = x.clone(), torch.get_rng_state()
        try:
            getattr(owner, name)(x, *ARGUMENTS.get(name, ()))
        except Exception:  # it takes something else
            continue
        chance = not torch.equal(state, torch.get_rng_state())
        torch.set_rng_state(state)
        if x.shape == before.shape and x.is_floating_point() and not chance:
            yield name


class Net(nn.Module):
    """`write` on the state, then two branches of which the second reads what it left."""

    def __init__(self, write, used: bool = True) -> None:
        super().__init__()
        self.write, self.used = write, used
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.branches = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))

    def forward(self, x, gone=()):
        x = self.stem(x)
        for number, branch in enumerate(self.branches, start=1):
            h = self.write(x)
            r = branch(h if self.used else x)
            x = x + (torch.zeros_like(r) if number in gone else r)
        return self.head(x.mean((2, 3)))


def check_deletions(net: nn.Module, x: torch.Tensor) -> rp.ResidualChain:
    chain = chain_of(net, x)
    assert len(chain) == 2 and chain.residue == 0
    with torch.no_grad():
        for other in (x, -3 * x):  # what a write leaves alone in the one, it changes in the other
            for gone in ((), (1,), (2,), (1, 2)):
                steps = [(b, float(b not in gone)) for b in (1, 2)]
                found, wanted = chain.run(other, steps), net(other, gone)
                assert torch.equal(found.nan_to_num(), wanted.nan_to_num()), gone
    return chain


@pytest.mark.many(4)
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        *(("torch", name) for name in writing(torch)),
        *(("F", name) for name in writing(F)),
        *(("Tensor", name) for name in writing(torch.Tensor)),
    ],
)
def test_every_function_of_torch_that_writes(owner, name):
    given = ARGUMENTS.get(name, ())
    if owner == "Tensor":
        net = seeded(lambda: Net(lambda x: getattr(x, name)(*given)))
    else:
        function = getattr({"torch": torch, "F": F}[owner], name)
        net = seeded(lambda: Net(lambda x: function(x, *given)))
    check_deletions(net, images())


def test_the_list_is_long():
    assert len(writing(torch)) > 40 and len(writing(torch.Tensor)) > 60


def augmented(x):
    x += 0.3
    return x


def indexed(x):
    x[:, 1:3] = x[:, :2] * 2
    return x


@pytest.mark.many(2)
@pytest.mark.parametrize("used", [True, False], ids=["used", "unused"])
@pytest.mark.parametrize(
    "write",
    [
        lambda x: F.relu(x, inplace=True),
        lambda x: F.hardswish(x, inplace=True),
        lambda x: torch.selu_(torch.abs_(x)),
        augmented,
        indexed,
        lambda x: x.view_as(x).mul_(0.5),
        lambda x: F.dropout(x, training=False).neg_(),
        lambda x: x.copy_(x.flip(1)),
        lambda x: torch.addcmul(x, x, x).sigmoid_(),
    ],
)
def test_however_a_write_is_written(write, used):
    net = seeded(lambda: Net(write, used))
    chain = check_deletions(net, images())
    x, y = images().double(), torch.arange(6) % 5
    found = rp.path_gradients(chain, images(), y, precision="float64").sum(0)
    x.requires_grad_()
    F.cross_entropy(net.double()(x), y, reduction="sum").backward()
    torch.testing.assert_close(found, x.grad, rtol=1e-9, atol=1e-12)


def test_what_has_no_functional_form_writes_into_a_copy():
    x = images()
    assert torch.equal(on_a_copy("zero_", 0, (x,), {}), torch.zeros_like(x)) and x.any()
    found = on_a_copy(lambda a, into: into.add_(a), "into", (x,), {"into": x})
    assert torch.equal(found, 2 * x)


def into_a_pair(x):
    torch._foreach_mul_([x, x.clone()], 2.0)
    return x


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda x: torch.clamp(x, min=0, out=x), "clamp writes with out="),
        (lambda x: x[:, :2].mul_(2) + x[:, 2:], "mul_ writes into a view of a tensor"),
        (lambda x: x.flatten(1).relu_().view_as(x), "relu_ writes into a view of a tensor"),
        (lambda x: x.detach().mul_(2), "mul_ writes into a view of a tensor"),
        (lambda x: x.data.mul_(2), "mul_ writes into a view of a tensor"),
        (into_a_pair, "writes into several tensors"),
    ],
)
def test_a_write_without_a_functional_form_is_refused_by_name(write, reason):
    with pytest.raises(ProbeError, match=reason):
        chain_of(seeded(lambda: Net(write, used=False)), images())


def test_parts_of_one_tensor_may_be_written_apart():
    def halves(x):
        a, b = torch.cat([x, x], 1).chunk(2, dim=1)
        return a.mul_(2) + b.add_(1)

    check_deletions(seeded(lambda: Net(halves)), images())


def test_a_network_may_write_into_its_images_and_they_stay():
    class Normalizing(Net):
        def forward(self, x, gone=()):
            return super().forward(x.sub_(0.5), gone)

    x = images()
    net = seeded(lambda: Normalizing(lambda x: x))
    with torch.no_grad():
        wanted = net(x.clone(), (1,))
        assert torch.equal(chain_of(net, x).run(x, [(1, 0.0), (2, 1.0)]), wanted)
    assert torch.equal(x, images())


class Own(Net):
    """Writes into a parameter, or into a part of it, as `write` does."""

    def __init__(self, write) -> None:
        super().__init__(lambda x: x)
        self.into = write

    def forward(self, x, gone=()):
        self.into(self)
        return super().forward(x, gone)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda net: net.head.weight.mul_(1.0), "head.weight"),
        (lambda net: net.head.weight.data[0].mul_(1.0), "head.weight"),
    ],
)
def test_writing_into_its_own_tensors_is_refused_and_leaves_them(write, name):
    net = seeded(lambda: Own(write))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ProbeError, match=f"writes into its own {name}"):
        chain_of(net, images())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
