"""The form of networks: names and widths of layers, traces without side effects, first weights."""

from __future__ import annotations

import pytest
import torch
import torchvision
from small_networks import SMALL, images, on_meta, seeded, small_net

from resnet_probe import models


def test_parameter_names_are_those_of_the_published_weights() -> None:
    def norm(name: str) -> list[str]:
        leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return [f"{name}.{leaf}" for leaf in leaves]

    expected = ["conv1.weight", *norm("bn1")]
    for block in (f"layer{stage}.{i}" for stage in (1, 2, 3) for i in range(3)):
        expected += [f"{block}.conv1.weight", *norm(f"{block}.bn1")]
        expected += [f"{block}.conv2.weight", *norm(f"{block}.bn2")]
    expected += ["linear.weight", "linear.bias"]
    assert sorted(on_meta("resnet20").state_dict()) == sorted(expected)
    assert sorted(on_meta("plain20").state_dict()) == sorted(expected)


def test_bottleneck_widths_are_those_of_2016() -> None:
    state = on_meta("preresnet164").state_dict()
    assert state["conv1.weight"].shape == (16, 3, 3, 3)
    for stage, inner in zip((1, 2, 3), (16, 32, 64), strict=True):
        assert state[f"layer{stage}.0.conv1.weight"].shape[0] == inner
        assert state[f"layer{stage}.17.conv3.weight"].shape == (4 * inner, inner, 1, 1)
        assert f"layer{stage}.0.shortcut.0.weight" in state
    assert "layer1.18.conv1.weight" not in state
    assert "layer1.0.shortcut.0.weight" not in on_meta("preresnet164:shortcut=A").state_dict()


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_vgg_has_13_convolutions_and_runs_on_16_and_32_pixels(name: str) -> None:
    model = small_net(f"{name}:width=8", classes=7)
    convs = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    multiples = (1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8)
    assert [c.out_channels for c in convs] == [8 * multiple for multiple in multiples]
    assert [tuple(m.weight.shape) for m in model.modules() if isinstance(m, torch.nn.Linear)] == [
        (7, 64)
    ]
    for size in (16, 32):
        assert model(images(2, 3, size, size)).shape == (2, 7)
    assert model.features(images(1, 3, 16, 16)).shape == (1, 64, 1, 1)


OURS = [spec for spec in SMALL if models.architecture(spec).family != "torchvision"]


@pytest.mark.many(3)
@pytest.mark.parametrize("spec", OURS)
def test_torch_fx_traces_ours_and_no_operation_is_in_place(spec: str) -> None:
    model = models.architecture(spec).build(seed=0).eval()
    traced = torch.fx.symbolic_trace(model)
    assert not [m for m in model.modules() if getattr(m, "inplace", False)]
    called = {str(node.target) for node in traced.graph.nodes if node.op == "call_method"}
    assert {"flatten"} <= called <= {"flatten", "sigmoid"}
    functions = {n.target.__name__ for n in traced.graph.nodes if n.op == "call_function"}
    assert functions <= {"add", "getitem", "pad", "mul", "sub"}
    # One ReLU module, one call: hooks and rewrites can tell the places apart.
    modules = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert len(modules) == len(set(modules))


@pytest.mark.many(3)
@pytest.mark.parametrize("spec", OURS)
def test_traced_network_is_equal_and_the_input_is_left_alone(spec: str) -> None:
    model = small_net(spec)
    x = images(2, 3, 32, 32)
    before = x.clone()
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))
    assert torch.equal(x, before)


@pytest.mark.parametrize("spec", ["resnet:depth=8,shortcut=gated,width=4", "highway10"])
def test_the_parameters_of_gates_have_names_of_their_own(spec: str) -> None:
    state = models.architecture(spec).build(seed=0).state_dict()
    gates = [key for key in state if "gate" in key]
    assert gates and all(key.endswith(("join.gate.weight", "join.gate.bias")) for key in gates)


# --- initial weights ---


@pytest.mark.parametrize("spec", ["resnet20:width=64", "vgg16:width=32"])
def test_convolutions_are_he_normal_by_fan_out(spec: str) -> None:
    model = models.architecture(spec).build(seed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 50_000:
            weight = module.weight.detach()
            std = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            # The standard error of a standard deviation is std / sqrt(2 n): here below 0.32 %.
            assert weight.std().item() == pytest.approx(std, rel=0.015)
            assert abs(weight.mean().item()) < 5 * std / weight.numel() ** 0.5
            kurtosis = (weight / weight.std()).pow(4).mean().item()
            assert kurtosis == pytest.approx(3, abs=0.15)
        if getattr(module, "bias", None) is not None:
            assert not module.bias.any()


@pytest.mark.parametrize("spec", ["resnet20", "resnet18"])
def test_build_leaves_the_random_state_alone(spec: str) -> None:
    arch = models.architecture(spec)
    with seeded(5) as state:
        first = arch.build().state_dict()
        arch.build(seed=7)
        assert torch.equal(torch.get_rng_state(), state)
    with seeded(6):
        other = arch.build().state_dict()
    with seeded(5):
        again = arch.build().state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    assert not torch.equal(other["conv1.weight"], first["conv1.weight"])


@pytest.mark.parametrize("spec", ["resnet20", "preresnet20", "vgg16_bn:width=4", "resnet18"])
def test_a_seed_determines_every_weight(spec: str) -> None:
    arch = models.architecture(spec)
    first, again, other = (arch.build(seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    drawn = [key for key, tensor in first.items() if tensor.dim() > 1]
    assert not any(torch.equal(first[key], other[key]) for key in drawn)


def test_seed_gives_the_weights_that_manual_seed_would() -> None:
    with seeded(11):
        expected = torchvision.models.resnet18(num_classes=4).state_dict()
    built = models.architecture("resnet18").build(4, seed=11).state_dict()
    assert all(torch.equal(tensor, built[key]) for key, tensor in expected.items())
