"""Networks that compute with sizes, write into tensors, part in other ways, or are unsteady."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from toy_chains import TinyResNet, images, seeded

from resnet_probe import ProbeError, chain_of

COUNT = itertools.count()
STEP = [0.0]


def scattered(x):
    """`x` times a number that is another one at every call."""
    return x * (1 + STEP[0] * (next(COUNT) % 7))


torch.fx.wrap("scattered")


class Attention(nn.Module):
    """A vision transformer of one layer, its sizes read from tensors all along."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 4, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.places = nn.Parameter(torch.randn(1, 5, 4))
        self.qkv, self.proj = nn.Linear(4, 12), nn.Linear(4, 4)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        self.head = nn.Linear(4, 5)

    def attend(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))

    def forward(self, images, mask=None, features_only: bool = False):
        x = self.patch(images).flatten(2).transpose(1, 2)
        if x.shape[1] != 4 and mask is None:
            raise ValueError(f"{x.shape[1]} patches")
        x = torch.cat([self.token.expand(images.shape[0], -1, -1), x], 1) + self.places
        x = x + self.attend(x)
        x = x + self.mlp(x)
        return x if features_only else self.head(x[:, 0])


class Windows(nn.Module):
    """The state inside has four rows an image, and the batch is told from these."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.head = nn.Linear(48, 8), nn.Linear(8, 48), nn.Linear(48, 5)

    def forward(self, x):
        n, c, h, w = x.size()
        x = x.view(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).reshape(n * 4, -1)
        x = x + self.down(self.up(x).relu())
        return self.head(x.view(n, 4, -1).mean(1))


class Memory(nn.Module):
    """Begins with zeros made for the batch at hand, and writes into a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = torch.cat([x.mean((2, 3)), torch.zeros(x.size(0), 3)], 1)
        x[:, 3:] = x[:, :3] * 2
        x = x + self.fc(x).relu()
        return self.head(x)


@pytest.mark.parametrize(("build", "count"), [(Attention, 2), (Windows, 1), (Memory, 1)])
@pytest.mark.parametrize("n", [1, 3])
def test_sizes_are_no_second_path_and_the_batch_may_be_any(build, count, n):
    model = seeded(build)
    chain = chain_of(model, images(n))
    assert len(chain) == count and chain.residue == 0
    with torch.no_grad():
        for other in (1, 2, 7):
            x = images(other, seed=9)
            assert torch.equal(chain(x), model(x))


def test_deleting_attention_or_mlp_is_zeroing_it():
    model = seeded(Attention)
    chain = chain_of(model, images(2))
    assert [block.role for block in chain] == ["attention", "mlp"]
    x = images(3)
    for number, name in ((1, "proj"), (2, "mlp")):
        hook = model.get_submodule(name).register_forward_hook(lambda m, a, out: out * 0)
        with torch.no_grad():
            expected = model(x)
        hook.remove()
        steps = [(b, float(b != number)) for b in (1, 2)]
        assert torch.equal(chain.run(x, steps), expected)


def test_a_chain_that_knows_sizes_refuses_images_of_another():
    chain = chain_of(seeded(Windows), images(2))
    with pytest.raises(ProbeError, match=r"images of 3×16×16: .* was cut for 3×8×8"):
        chain(images(2, side=16))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x if len(x) < 8 else -x, "for another batch size"),
        (lambda x: x * (x.size(0) // 2), "no multiple of the batch sizes"),
        (lambda x: x * torch.arange(len(x)).view(-1, 1, 1, 1), "depends on the batch size"),
        (lambda x: x if x.sum() > 0 else -x, r"branches on the data, x\.sum\(\) > 0 \(test_disc"),
        (lambda x: x * x.sum().item(), r"takes a number out of the data, x\.sum\(\)\.item\(\) \("),
        (lambda x: x + len(torch.nonzero(x)), "shapes in its forward pass depend on the data, tor"),
        (lambda x: x + torch.tensor(x.numpy().max()), r"leaves torch for numpy, x\.numpy\(\) \("),
    ],
)
def test_what_depends_on_the_batch_or_on_data_is_refused(change, reason):
    class Net(TinyResNet):
        def forward(self, x):
            return super().forward(change(x))

    with pytest.raises(ProbeError, match=reason):
        chain_of(seeded(Net), images())


class Parallel(TinyResNet):
    """Two convolutions side by side before the blocks, and a gate behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = nn.Conv2d(3, 4, 3, padding=1, bias=False)

    def forward(self, x):
        x = self.stem(x) + self.twin(x)
        for block in self.blocks:
            x = block(x)
        return self.head((x * x.mean((2, 3), keepdim=True).sigmoid()).mean((2, 3)))


def test_what_is_not_cut_is_named_and_the_rest_works():
    model = seeded(Parallel)
    chain = chain_of(model, images())
    assert len(chain) == 3
    assert len(chain.uncut) == 2
    assert "equally deep" in chain.uncut[0]
    assert "meet in mul" in chain.uncut[1]
    with torch.no_grad():
        assert torch.equal(chain(images()), model(images()))


def test_a_residual_block_inside_a_branch_is_reported():
    class Net(TinyResNet):
        def forward(self, x):
            x = self.stem(x)
            x = x + self.blocks[0](x)
            return self.head(self.blocks[1](x).mean((2, 3)))

    chain = chain_of(seeded(Net), images())
    assert len(chain) == 2
    assert [block.inner for block in chain] == [("blocks.0",), ()]
    assert list(chain.table()["inner"]) == [1, 0]
    assert chain.uncut == ()


def test_position_embeddings_and_constants_are_no_blocks():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.places, self.fc = nn.Parameter(torch.randn(1, 3)), nn.Linear(3, 5)

        def forward(self, x):
            x = x.mean((2, 3)) + self.places
            return self.fc(x + 1)

    with pytest.raises(ProbeError, match="a plain network"):
        chain_of(seeded(Net), images())


@pytest.mark.parametrize(("step", "proven"), [(0.0, True), (2.0**-23, True), (1e-3, False)])
def test_a_network_that_scatters_is_proven_to_rounding_only(step, proven):
    class Net(TinyResNet):
        def forward(self, x):
            return scattered(super().forward(x))

    STEP[0] = step
    if not proven:
        with pytest.raises(ProbeError, match="the proof of discovery failed"):
            chain_of(seeded(Net), images())
        return
    residues = [chain_of(seeded(Net), images()).residue for _ in range(4)]
    assert all(residue < 1e-5 for residue in residues)
    assert (max(residues) > 0) == (step > 0)


def test_the_table_of_a_chain():
    table = chain_of(seeded(TinyResNet), images()).table()
    assert list(table["number"]) == [1, 2, 3]
    assert list(table["name"]) == ["blocks.0", "blocks.1", "blocks.2"]
    assert list(table["role"]) == ["convolution"] * 3
    assert list(table["shortcut"]) == ["identity", "projection", "identity"]
    assert list(table["out_shape"]) == ["4×8×8", "8×4×4", "8×4×4"]
    # 3×3 convolutions and two batch norms of 8 channels, twice, and the projection with its norm.
    assert table["parameters"][1] == 9 * 4 * 8 + 9 * 8 * 8 + 2 * 16 + 4 * 8 + 16
