"""What the networks compute, against the definitions in the papers, in plain functions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from small_networks import images, small_net

from resnet_probe import models
from resnet_probe.models.joins import GatedShortcut, make_shortcut

State = dict[str, torch.Tensor]


def conv(state: State, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    weight = state[f"{name}.weight"]
    bias = state.get(f"{name}.bias")
    return F.conv2d(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)


def norm(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    leaves = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, var = (state[f"{name}.{leaf}"][:, None, None] for leaf in leaves)
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def padded(x: torch.Tensor, channels: int, stride: int) -> torch.Tensor:
    height, width = -(-x.shape[2] // stride), -(-x.shape[3] // stride)
    out = x.new_zeros(x.shape[0], channels, height, width)
    start = (channels - x.shape[1]) // 2
    out[:, start : start + x.shape[1]] = x[:, :, ::stride, ::stride]
    return out


def head(state: State, h: torch.Tensor) -> torch.Tensor:
    return h.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def blocks(state: State) -> list[tuple[str, int]]:
    """(name, stride) of each block, in order."""
    names = dict.fromkeys(key.split(".conv")[0] for key in state if key.startswith("layer"))
    starts = [n for n in names if ".conv" not in n and n.count(".") == 1]
    return [(n, 2 if n[5] > "1" and n.endswith(".0") else 1) for n in starts]


def branch_of(state: State, b: str, h: torch.Tensor, stride: int, order: str) -> torch.Tensor:
    """Two 3×3 convolutions in the orders of He et al. 2016, figure 4, (a) to (d)."""
    if order == "relu_only":
        h = h.relu()
    y = norm(state, f"{b}.bn1", conv(state, f"{b}.conv1", h, stride)).relu()
    y = conv(state, f"{b}.conv2", y)
    if order == "bn_after":
        return y
    y = norm(state, f"{b}.bn2", y)
    return y.relu() if order == "relu_before" else y


def after(state: State, b: str, total: torch.Tensor, order: str) -> torch.Tensor:
    if order == "bn_after":
        return norm(state, f"{b}.bn2", total).relu()
    return total.relu() if order == "original" else total


def shortcut_of(state: State, b: str, h: torch.Tensor, y: torch.Tensor, stride: int):
    if f"{b}.shortcut.0.weight" not in state:
        return padded(h, y.shape[1], stride)
    short = conv(state, f"{b}.shortcut.0", h, stride)
    return norm(state, f"{b}.shortcut.1", short) if f"{b}.shortcut.1.weight" in state else short


def join(state: State, kind: str, b: str, h, short, y, stride):
    """He et al. 2016, table 1; options A, B and C are told apart by the parameters."""
    if kind in ("scaled", "scaled_shortcut"):
        return 0.5 * short + (0.5 * y if kind == "scaled" else y)
    if kind in ("gated", "gated_shortcut"):
        g = torch.sigmoid(conv(state, f"{b}.join.gate", h, stride))
        return (1 - g) * short + (g * y if kind == "gated" else y)
    return short + y


def network(state: State, x: torch.Tensor, *, order: str, kind: str) -> torch.Tensor:
    h = norm(state, "bn1", conv(state, "conv1", x))
    h = h if order == "relu_only" else h.relu()
    for i, (b, stride) in enumerate(blocks(state)):
        y = branch_of(state, b, h, stride, order)
        # Relu-only: the first activation, and one before a projection, acts on both paths.
        both = order == "relu_only" and (i == 0 or f"{b}.shortcut.0.weight" in state)
        g = h.relu() if both else h
        total = y if kind == "none" else join(
            state, kind, b, g, shortcut_of(state, b, g, y, stride), y, stride
        )  # fmt: skip
        h = after(state, b, total, order)
    return head(state, h.relu() if order == "relu_only" else h)


def preactivation(state: State, x: torch.Tensor, *, convs: int, kind: str = "A") -> torch.Tensor:
    """He et al. 2016: batch norm, ReLU, convolution; the appendix tells what the shortcuts see."""
    h = conv(state, "conv1", x)
    for b, stride in blocks(state):
        active = norm(state, f"{b}.bn1", h).relu()
        y = conv(state, f"{b}.conv1", active, stride)
        for j in range(2, convs + 1):
            y = conv(state, f"{b}.conv{j}", norm(state, f"{b}.bn{j}", y).relu())
        both = b == "layer1.0" or f"{b}.shortcut.0.weight" in state
        seen = active if both else h
        h = join(state, kind, b, seen, shortcut_of(state, b, seen, y, stride), y, stride)
    return head(state, norm(state, "bn1", h).relu())


@pytest.mark.parametrize("size", [16, 19])
@pytest.mark.parametrize(
    "kind", ["A", "B", "C", "scaled", "scaled_shortcut", "gated", "gated_shortcut", "dropout"]
)
def test_resnet_equals_its_definition(kind: str, size: int) -> None:
    bias = ",gate_bias=-1" if kind.startswith("gated") else ""
    model = small_net(f"resnet20:shortcut={kind},width=5{bias}")
    x = images(2, 3, size, size)
    expected = network(model.state_dict(), x, order="original", kind=kind)
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("kind", ["A", "B", "C", "gated_shortcut"])
@pytest.mark.parametrize("order", ["bn_after", "relu_before", "relu_only"])
def test_orders_equal_their_definition(order: str, kind: str) -> None:
    model = small_net(f"resnet:depth=14,order={order},shortcut={kind},width=4").double()
    if order == "bn_after" and kind in ("B", "C"):
        # No batch norm stands behind a branch there, and so none behind a projection.
        assert not [key for key in model.state_dict() if "shortcut.1" in key]
    x = images(2, 3, 16, 16).double()
    expected = network(model.state_dict(), x, order=order, kind=kind)
    torch.testing.assert_close(model(x), expected)


def test_plain_net_equals_its_definition() -> None:
    model = small_net("plain20:width=5")
    x = images(2, 3, 16, 16)
    expected = network(model.state_dict(), x, order="original", kind="none")
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("kind", ["A", "B", "C", "gated", "scaled"])
@pytest.mark.parametrize(("name", "convs"), [("preresnet20", 2), ("preresnet164", 3)])
def test_preresnet_equals_its_definition(name: str, convs: int, kind: str) -> None:
    model = small_net(f"{name}:shortcut={kind},width=2").double()
    x = images(2, 3, 8, 8).double()
    expected = preactivation(model.state_dict(), x, convs=convs, kind=kind)
    torch.testing.assert_close(model(x), expected)


def test_wide_network_equals_its_definition() -> None:
    """Pre-activation; where the shape is kept, in the first block too, the shortcut is clean."""
    x = images(2, 3, 8, 8).double()
    model = small_net("wrn16-4:width=2").double()
    state = model.state_dict()
    projections = [key for key in state if "shortcut" in key]
    assert projections == [f"layer{stage}.0.shortcut.0.weight" for stage in (1, 2, 3)]
    torch.testing.assert_close(model(x), preactivation(state, x, convs=2))
    thin = small_net("wrn:depth=10,widen=1,width=4").double()
    h = thin.conv1(x)
    block = thin.layer1[0]
    y = block.conv2(block.bn2(block.conv1(block.bn1(h).relu())).relu())
    torch.testing.assert_close(block(h), h + y)


def test_resnext_equals_its_definition() -> None:
    model = small_net("resnext:depth=11,cardinality=3,width=2").double()
    state, h = model.state_dict(), images(2, 3, 8, 8).double()
    h = norm(state, "bn1", conv(state, "conv1", h)).relu()
    for b, stride in blocks(state):
        y = norm(state, f"{b}.bn1", conv(state, f"{b}.conv1", h)).relu()
        # Aggregated transformations: each group by itself (Xie et al. 2016, figure 3b).
        weights = state[f"{b}.conv2.weight"].chunk(3)
        parts = zip(y.chunk(3, dim=1), weights, strict=True)
        y = torch.cat([F.conv2d(part, w, stride=stride, padding=1) for part, w in parts], dim=1)
        y = norm(state, f"{b}.bn2", y).relu()
        y = norm(state, f"{b}.bn3", conv(state, f"{b}.conv3", y))
        short = conv(state, f"{b}.shortcut.0", h, stride)
        h = (norm(state, f"{b}.shortcut.1", short) + y).relu()
    torch.testing.assert_close(model(images(2, 3, 8, 8).double()), head(state, h))


def test_dense_highway_equals_its_definition() -> None:
    model = small_net("highway:depth=4,width=6,side=4,gate_bias=-1").double()
    state, x = model.state_dict(), images(3, 3, 8, 8).double()
    means = x.reshape(3, 3, 4, 2, 4, 2).mean((3, 5)).flatten(1)
    h = (means @ state["fc1.weight"].T + state["fc1.bias"]).relu()
    for i in range(3):
        b = f"layers.{i}"
        made = (h @ state[f"{b}.fc1.weight"].T + state[f"{b}.fc1.bias"]).relu()
        t = torch.sigmoid(h @ state[f"{b}.join.gate.weight"].T + state[f"{b}.join.gate.bias"])
        h = made * t + h * (1 - t)
    torch.testing.assert_close(model(x), h @ state["linear.weight"].T + state["linear.bias"])


def test_convolutional_highway_equals_its_definition() -> None:
    model = small_net("convhighway:depth=10,width=3").double()
    state, h = model.state_dict(), images(2, 3, 9, 9).double()
    for i in range(9):
        made = conv(state, f"layers.{i}.conv1", h, 2 if i in (3, 6) else 1).relu()
        if f"layers.{i}.join.gate.weight" in state:
            t = torch.sigmoid(conv(state, f"layers.{i}.join.gate", h))
            made = made * t + h * (1 - t)
        h = made
    torch.testing.assert_close(model(images(2, 3, 9, 9).double()), head(state, h))


@pytest.mark.parametrize(("kind", "bias"), [("gated", -6), ("gated_shortcut", 0)])
def test_gates_begin_at_their_bias(kind: str, bias: int) -> None:
    model = models.architecture(f"resnet20:shortcut={kind},gate_bias={bias},width=4").build(seed=0)
    gates = [m for m in model.modules() if isinstance(m, GatedShortcut)]
    assert len(gates) == 9
    assert all((gate.gate.bias == bias).all() for gate in gates)
    assert all(gate.gate.weight.std() > 0 for gate in gates)


def test_option_a_takes_every_second_pixel_between_channels_of_zeros() -> None:
    x = torch.arange(2 * 3 * 3, dtype=torch.float32).reshape(1, 2, 3, 3) + 1
    out = make_shortcut("A", 2, 5, 2, norm=True)(x)
    assert out.shape == (1, 5, 2, 2)
    assert torch.equal(out[0, 1], torch.tensor([[1.0, 3.0], [7.0, 9.0]]))
    assert torch.equal(out[0, 2], torch.tensor([[10.0, 12.0], [16.0, 18.0]]))
    assert not out[0, [0, 3, 4]].any()


# --- the networks for ImageNet, beside torchvision's own ---


def torchvision_names(state: State) -> State:
    """Our parameters under the names of torchvision."""
    pairs = (("shortcut.", "downsample."), ("linear.", "fc."))
    for ours, theirs in pairs:
        state = {key.replace(ours, theirs): value for key, value in state.items()}
    return state


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_ours_with_the_parameters_of_torchvision_is_torchvisions(name: str) -> None:
    ours = small_net(f"{name}:zero_init=yes", classes=7)  # an option makes it our own
    theirs = models.architecture(name).build(7, seed=0).eval()
    assert isinstance(theirs, torchvision.models.ResNet)
    theirs.load_state_dict(torchvision_names(ours.state_dict()))
    x = images(1, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_v1_strides_in_the_first_convolution() -> None:
    ours = small_net("resnet50:stride=v1", classes=7)
    theirs = models.architecture("resnet50").build(7, seed=0).eval()
    theirs.load_state_dict(torchvision_names(ours.state_dict()))
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    x = images(1, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_plain18_is_resnet18_without_shortcuts() -> None:
    plain, residual = small_net("plain18:width=4"), small_net("resnet18:shortcut=A,width=4")
    residual.load_state_dict(plain.state_dict())
    x = images(2, 3, 32, 32)
    h = residual.maxpool1(residual.relu1(residual.bn1(residual.conv1(x))))
    for stage in range(1, 5):
        for block in getattr(residual, f"layer{stage}"):
            h = block.run(block.steps_after, block.run(block.steps_branch, h))
    torch.testing.assert_close(plain(x), head(residual.state_dict(), h))
