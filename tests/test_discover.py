from __future__ import annotations

import copy
import operator

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy_chains import TinyBlock, TinyPlain, TinyResNet, images, randomized, seeded

from resnet_probe import ProbeError, chain_of, layers_of, models
from resnet_probe.discover.trace import trace

RESNETS = ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"]
BLOCKS = {"resnet18": 8, "resnet50": 16, "resnext50_32x4d": 16, "wide_resnet50_2": 16}


def torchvision_model(name: str) -> nn.Module:
    return seeded(lambda: torchvision.models.get_model(name, weights=None))


@torch.no_grad()
def with_zeroed(model: nn.Module, last: str, x: torch.Tensor) -> torch.Tensor:
    """The untouched model with the output of one module set to zero by a hook."""
    module = model.get_submodule(last)
    handle = module.register_forward_hook(lambda m, args, out: torch.zeros_like(out))
    try:
        return model(x)
    finally:
        handle.remove()


@pytest.mark.many(2)
@pytest.mark.parametrize("name", RESNETS)
def test_torchvision_networks_are_cut_and_every_deletion_is_a_zeroed_branch(name):
    model = torchvision_model(name)
    x = images(1, side=32)
    chain = chain_of(model, x, name=name)
    assert len(chain) == BLOCKS[name]
    last = "bn2" if name == "resnet18" else "bn3"
    with torch.no_grad():
        assert torch.equal(chain(x), model(x))
        for block in list(chain)[:: 5 if name != "resnet18" else 1]:
            steps = [(b.number, float(b.number != block.number)) for b in chain]
            assert torch.equal(chain.run(x, steps), with_zeroed(model, f"{block.name}.{last}", x))


@pytest.mark.parametrize(
    ("spec", "count", "last"),
    [
        ("resnet20", 9, "bn2"),
        ("resnet20:shortcut=B", 9, "bn2"),
        ("resnet20:shortcut=C", 9, "bn2"),
        ("preresnet20", 9, "conv2"),
        ("preresnet164:width=4", 54, "conv3"),
    ],
)
def test_our_networks_are_cut_and_every_deletion_is_a_zeroed_branch(spec, count, last):
    model = randomized(models.architecture(spec).build(seed=0))
    x = images(2, side=16)
    chain = chain_of(model, x, name=spec)
    assert len(chain) == count
    assert [len(stage) for stage in chain.stages] == [count // 3] * 3
    with torch.no_grad():
        assert torch.equal(chain(x), model(x))
        for block in list(chain)[:: max(1, count // 5)]:
            steps = [(b.number, float(b.number != block.number)) for b in chain]
            assert torch.equal(chain.run(x, steps), with_zeroed(model, f"{block.name}.{last}", x))


def test_shortcut_kinds():
    def kinds(spec):
        model = models.architecture(spec).build(seed=0)
        return [block.shortcut_kind for block in chain_of(model, images(1, side=16))]

    a = ["identity"] * 3 + ["parameter-free"] + ["identity"] * 2
    assert kinds("resnet20")[:6] == a
    b = [kind.replace("parameter-free", "projection") for kind in a]
    assert kinds("resnet20:shortcut=B")[:6] == b
    assert set(kinds("resnet20:shortcut=C")) == {"projection"}


def state_of(model: nn.Module):
    tensors = [t.clone() for t in (*model.parameters(), *model.buffers())]
    flags = [
        (m.training, len(m._forward_hooks), getattr(m, "inplace", None)) for m in model.modules()
    ]
    return tensors, flags, [p.requires_grad for p in model.parameters()]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails):
    model = seeded(TinyResNet).train()
    model.blocks[1].bn1.eval()
    model.blocks[0].conv1.weight.requires_grad_(False)
    model.blocks[2].register_forward_hook(lambda m, args, out: None)
    before = state_of(model)
    if fails:
        with pytest.raises(ProbeError, match="cannot run on an example"):
            chain_of(model, torch.zeros(2, 5, 8, 8))
    else:
        chain_of(model, images())
    after = state_of(model)
    assert before[1:] == after[1:]
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))


def test_the_chain_shares_the_weights():
    model = seeded(TinyResNet)
    chain = chain_of(model, images())
    held = {p.data_ptr() for module in chain.modules for p in module.parameters()}
    assert held == {p.data_ptr() for p in model.parameters()}


def test_in_place_operations_do_not_reach_a_shared_tensor():
    model = seeded(TinyResNet)
    chain = chain_of(model, images())
    with torch.no_grad():
        h = chain.stem(images())
        kept = h.clone()
        for gate in (1.0, 0.0, 0.5):
            chain.block(1).run(h, gate)
            assert torch.equal(h, kept)


def test_an_in_place_operation_on_the_shortcut_is_understood():
    class Relu(nn.Module):
        """`relu_` changes x, so the shortcut carries relu(x) too."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)
            self.fc = nn.Linear(3, 5)

        def forward(self, x):
            x = x * 1
            y = self.conv(self.relu(x))
            x += y
            return self.fc(x.mean((2, 3)))

    model = seeded(Relu)
    chain = chain_of(model, images())
    with torch.no_grad():
        h = images() * 1
        assert torch.equal(chain.run(images(), [(1, 0.0)]), model.fc(h.relu().mean((2, 3))))


@pytest.mark.parametrize("add", [operator.add, torch.add, lambda a, b: a.add_(b), operator.iadd])
@pytest.mark.parametrize("swapped", [False, True])
def test_additions_however_written(add, swapped):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            y = self.conv(x).relu()
            z = x * 1
            return (add(z, y) if swapped else add(y, z)).mean((2, 3))

    chain = chain_of(seeded(Net), images())
    assert len(chain) == 1
    with torch.no_grad():
        assert torch.equal(chain.run(images(), [(1, 0.0)]), images().mean((2, 3)))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (TinyPlain, "a plain network"),
        (lambda: torchvision.models.get_model("densenet121", weights=None), "meet in cat"),
        (lambda: torchvision.models.get_model("squeezenet1_0", weights=None), "meet in cat"),
    ],
)
def test_networks_without_residual_blocks_are_refused_with_the_reason(build, reason):
    with pytest.raises(ProbeError, match=reason):
        chain_of(seeded(build), images(1, side=64), name="net")


def test_control_flow_on_data_is_refused():
    class Net(TinyResNet):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    with pytest.raises(ProbeError, match=r"Net cannot be traced by torch\.fx"):
        chain_of(seeded(Net), images())


def test_a_hook_that_changes_the_output_fails_the_proof():
    model = seeded(TinyResNet)
    model.blocks[1].register_forward_hook(lambda m, args, out: out * 2)
    with pytest.raises(ProbeError, match="the proof of discovery failed"):
        chain_of(model, images())


def test_a_plain_network_as_layers():
    model = seeded(TinyPlain)
    chain = layers_of(model, images())
    kinds = [block.shortcut_kind for block in chain]
    assert kinds == ["identity stand-in", "option-A stand-in", "identity stand-in"]
    with torch.no_grad():
        assert torch.equal(chain(images()), model(images()))
        f = model.features
        # Layer 2 is the convolution from 4 to 8 channels: zeros stand in, two before, two behind.
        h = f[:7](images())
        padded = torch.cat([torch.zeros_like(h[:, :2]), h, torch.zeros_like(h[:, :2])], dim=1)
        expected = model.classifier(f[10:](padded).mean((2, 3)))
        assert torch.equal(chain.run(images(), [(1, 1.0), (2, 0.0), (3, 1.0)]), expected)
        # Layer 1 has a pool behind it, which stays.
        expected = model.classifier(f[6:](f[:3](images())).mean((2, 3)))
        assert torch.equal(chain.run(images(), [(1, 0.0), (2, 1.0), (3, 1.0)]), expected)


def test_a_residual_network_has_no_layers_to_cut_at():
    with pytest.raises(ProbeError, match="is not a plain network"):
        layers_of(seeded(TinyResNet), images())


@pytest.mark.parametrize("name", ["vgg16_bn:width=4", "plain20:width=4", "vgg16:width=4"])
def test_plain_architectures_are_cut(name):
    model = randomized(models.architecture(name).build(seed=0))
    chain = layers_of(model, images(2, side=32))
    assert len(chain) == {"v": 12, "p": 18}[name[0]]
    with torch.no_grad():
        for block in chain:  # every layer can be deleted
            steps = [(b.number, float(b.number != block.number)) for b in chain]
            assert torch.isfinite(chain.run(images(2, side=32), steps)).all()


class Program(nn.Module):
    """A random residual network: widths, projections, order of the operands, in-place additions."""

    def __init__(self, blocks: list[tuple[int, bool, bool, bool]]) -> None:
        super().__init__()
        self.plan = blocks
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        channels, parts = 4, []
        for growth, _, _, _ in blocks:
            parts.append(TinyBlock(channels, channels * growth, stride=growth))
            channels *= growth
        self.blocks = nn.ModuleList(parts)
        self.fc = nn.Linear(channels, 5)

    def forward(self, x):
        x = self.stem(x)
        for block, (_, left, in_place, activated) in zip(self.blocks, self.plan, strict=True):
            short = x if block.down is None else block.down(x)
            branch = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu_()))
            if in_place:
                branch += short
                x = branch
            else:
                x = short + branch if left else branch + short
            x = block.relu(x) if activated else x
        return self.fc(x.mean((2, 3)))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, 1, 2]), st.booleans(), st.booleans(), st.booleans()),
        min_size=1,
        max_size=4,
    )
)
def test_random_residual_programs_are_cut_right(plan):
    model = seeded(lambda: Program(plan))
    reference = copy.deepcopy(model)
    x = images(2, side=16)
    chain = chain_of(model, x)
    assert len(chain) == len(plan)
    with torch.no_grad():
        for block in chain:
            steps = [(b.number, float(b.number != block.number)) for b in chain]
            expected = with_zeroed(reference, f"blocks.{block.number - 1}.bn2", x)
            assert torch.equal(chain.run(x, steps), expected)


def test_tracing_removes_what_does_nothing_in_eval_mode():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.drop = nn.Dropout(0.5)
            self.same = nn.Identity()

        def forward(self, x):
            return (self.same(x) + self.drop(self.conv(x)).relu()).mean((2, 3))

    graph = trace(seeded(Net), images(), "net")
    assert "drop" not in {str(node.target) for node in graph.nodes}
    assert chain_of(seeded(Net), images()).block(1).shortcut_kind == "identity"
