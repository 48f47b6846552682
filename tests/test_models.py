"""Architectures by name: sizes against the papers, networks against functional recomputation."""

from __future__ import annotations

import functools
import io
import pickle
import re
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import SHARED
from PIL import Image

from resnet_probe import models
from resnet_probe.errors import ProbeError
from resnet_probe.models import pretrained, shortcuts

OURS = [name for name in models.names() if models.architecture(name).family != "torchvision"]
GIANT = {"resnet1202", "preresnet1001"}

# Exact counts, derived from the architectures. He et al. 2015, arXiv 1512.03385, table 6, rounds
# those of resnet20 to resnet1202 to 0.27, 0.46, 0.66, 0.85, 1.7 and 19.4 million; He et al. 2016,
# arXiv 1603.05027, table 4, gives 1.7 and 10.2 million for preresnet164 and preresnet1001.
PARAMETERS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet1202": 19_421_274,
    "preresnet110": 1_727_962,
    "preresnet164": 1_703_258,
    "preresnet1001": 10_327_706,
    "plain110": 1_727_962,
    "vgg16": 14_719_818,
    "vgg16_bn": 14_728_266,
    "resnet50": 25_557_032,
}


@functools.cache
def on_meta(spec: str) -> torch.nn.Module:
    """Shared by all tests: not to be changed."""
    with torch.device("meta"):
        return models.architecture(spec).build()


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def small_net(spec: str, *, classes: int | None = None) -> torch.nn.Module:
    """In eval mode, with batch norms that do something: fresh ones are close to the identity."""
    model = models.architecture(spec).build(classes, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2, generator=generator)
    return model


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@contextmanager
def seeded(seed: int) -> Iterator[torch.Tensor]:
    """torch's random numbers from `seed`, inside; gives the state that they begin in."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.get_rng_state()


# --- the table of names ---


def test_names_stand_family_by_family_and_by_depth() -> None:
    names = models.names()
    assert names[:6] == [f"resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202)]
    assert names[6:13] == [f"preresnet{depth}" for depth in (20, 32, 44, 56, 110, 164, 1001)]
    assert names[13:18] == [f"plain{depth}" for depth in (20, 32, 44, 56, 110)]
    assert names[18:20] == ["vgg16", "vgg16_bn"]
    assert names[20:] == [
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
        *("wide_resnet50_2", "wide_resnet101_2", "vgg19_bn"),
    ]


@pytest.mark.parametrize("name", models.names())
def test_every_name_builds(name: str) -> None:
    arch = models.architecture(name)
    linear = [m for m in on_meta(name).modules() if isinstance(m, torch.nn.Linear)]
    assert linear[-1].out_features == arch.classes
    assert arch.spec == name
    assert arch.residual == (not name.startswith(("plain", "vgg")))
    family = re.match("(pre)?resnet|plain|vgg", name)
    assert arch.family == (family[0] if name in OURS and family else "torchvision")


@pytest.mark.parametrize("name", [name for name in models.names() if name not in GIANT])
def test_every_name_gives_logits(name: str) -> None:
    arch = models.architecture(name)
    height = min(arch.input_shape[1], 64)  # as telling as 224, and quicker
    with torch.device("meta"):
        assert on_meta(name)(torch.empty(2, 3, height, height)).shape == (2, arch.classes)


@pytest.mark.parametrize(("spec", "parameters"), PARAMETERS.items())
def test_parameter_counts_are_the_published_ones(spec: str, parameters: int) -> None:
    assert count(on_meta(spec)) == parameters


@pytest.mark.parametrize("width", [1, 3, 16, 40])
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_parameter_count_in_closed_form(width: int, shortcut: str) -> None:
    n, w = 9, width
    stem = 27 * w + 2 * w
    branches = sum(
        2 * n * (9 * c * c + 2 * c) - 9 * c * c // 2 * (c > w)  # the first takes half the channels
        for c in (w, 2 * w, 4 * w)
    )
    growing = (2 * w * w + 4 * w) + (8 * w * w + 8 * w)
    square = sum((n - (c > w)) * (c * c + 2 * c) for c in (w, 2 * w, 4 * w))
    more = {"A": 0, "B": growing, "C": growing + square}[shortcut]
    linear = 10 * 4 * w + 10
    model = on_meta(f"resnet56:shortcut={shortcut},width={width}")
    assert count(model) == stem + branches + more + linear


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


# --- what the networks compute ---


def conv(state: dict[str, torch.Tensor], name: str, x: torch.Tensor, stride: int = 1):
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def norm(state: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    leaves = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, var = (state[f"{name}.{leaf}"][:, None, None] for leaf in leaves)
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def padded(x: torch.Tensor, channels: int, stride: int) -> torch.Tensor:
    height, width = -(-x.shape[2] // stride), -(-x.shape[3] // stride)
    out = x.new_zeros(x.shape[0], channels, height, width)
    start = (channels - x.shape[1]) // 2
    out[:, start : start + x.shape[1]] = x[:, :, ::stride, ::stride]
    return out


def original(state: dict[str, torch.Tensor], x: torch.Tensor, *, residual: bool) -> torch.Tensor:
    """He et al. 2015: convolution, batch norm, ReLU; options told apart by the parameters."""
    h = norm(state, "bn1", conv(state, "conv1", x)).relu()
    for stage in (1, 2, 3):
        for i in range(3):
            b, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            branch = norm(state, f"{b}.bn1", conv(state, f"{b}.conv1", h, stride)).relu()
            branch = norm(state, f"{b}.bn2", conv(state, f"{b}.conv2", branch))
            short = padded(h, branch.shape[1], stride)
            if f"{b}.shortcut.0.weight" in state:
                short = conv(state, f"{b}.shortcut.0", h, stride)
                short = norm(state, f"{b}.shortcut.1", short)
            h = (short + branch if residual else branch).relu()
    return h.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def preactivation(state: dict[str, torch.Tensor], x: torch.Tensor, *, convs: int) -> torch.Tensor:
    """He et al. 2016: batch norm, ReLU, convolution; the appendix tells what the shortcuts see."""
    h = conv(state, "conv1", x)
    blocks = [key.removesuffix(".conv1.weight") for key in state if key.endswith(".conv1.weight")]
    for b in blocks:
        stride = 2 if b in ("layer2.0", "layer3.0") else 1
        active = norm(state, f"{b}.bn1", h).relu()
        branch = conv(state, f"{b}.conv1", active, stride)
        for j in range(2, convs + 1):
            branch = conv(state, f"{b}.conv{j}", norm(state, f"{b}.bn{j}", branch).relu())
        if f"{b}.shortcut.0.weight" in state:
            short = conv(state, f"{b}.shortcut.0", active, stride)
        else:
            short = padded(active if b == "layer1.0" else h, branch.shape[1], stride)
        h = short + branch
    h = norm(state, "bn1", h).relu()
    return h.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"]


@pytest.mark.parametrize("size", [16, 19])
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_resnet_equals_its_definition(shortcut: str, size: int) -> None:
    model = small_net(f"resnet20:shortcut={shortcut},width=5")
    x = images(2, 3, size, size)
    torch.testing.assert_close(model(x), original(model.state_dict(), x, residual=True))


def test_plain_net_equals_its_definition() -> None:
    model = small_net("plain20:width=5")
    x = images(2, 3, 16, 16)
    torch.testing.assert_close(model(x), original(model.state_dict(), x, residual=False))


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize(("name", "convs"), [("preresnet20", 2), ("preresnet164", 3)])
def test_preresnet_equals_its_definition(name: str, convs: int, shortcut: str) -> None:
    model = small_net(f"{name}:shortcut={shortcut},width=2").double()
    x = images(2, 3, 8, 8).double()
    torch.testing.assert_close(model(x), preactivation(model.state_dict(), x, convs=convs))


def test_option_a_takes_every_second_pixel_between_channels_of_zeros() -> None:
    x = torch.arange(2 * 3 * 3, dtype=torch.float32).reshape(1, 2, 3, 3) + 1
    out = shortcuts.make("A", 2, 5, 2, norm=True)(x)
    assert out.shape == (1, 5, 2, 2)
    assert torch.equal(out[0, 1], torch.tensor([[1.0, 3.0], [7.0, 9.0]]))
    assert torch.equal(out[0, 2], torch.tensor([[10.0, 12.0], [16.0, 18.0]]))
    assert not out[0, [0, 3, 4]].any()


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


@pytest.mark.parametrize(
    "name", ["resnet20", "preresnet20", "preresnet164", "plain20", "vgg16", "vgg16_bn"]
)
def test_torch_fx_traces_ours_and_no_operation_is_in_place(name: str) -> None:
    model = on_meta(name)
    traced = torch.fx.symbolic_trace(model)
    assert not [m for m in model.modules() if getattr(m, "inplace", False)]
    called = {str(node.target) for node in traced.graph.nodes if node.op == "call_method"}
    assert called == {"flatten"}
    functions = {n.target.__name__ for n in traced.graph.nodes if n.op == "call_function"}
    assert functions <= {"add", "getitem", "pad"}
    # One ReLU module, one call: hooks and rewrites can tell the places apart.
    modules = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert len(modules) == len(set(modules))


@pytest.mark.parametrize("spec", ["resnet20:shortcut=B", "preresnet20", "plain20", "vgg16_bn"])
def test_traced_network_is_equal_and_the_input_is_left_alone(spec: str) -> None:
    model = models.architecture(spec).build(seed=0).eval()
    x = images(2, 3, 16, 16)
    before = x.clone()
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))
    assert torch.equal(x, before)


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


# --- the grammar ---


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("resnet20", "resnet20"),
        ("resnet20:shortcut=A", "resnet20"),
        ("resnet20:width=16,shortcut=B", "resnet20:shortcut=B"),
        ("resnet20:width=032,shortcut=C", "resnet20:shortcut=C,width=32"),
        ("preresnet164:shortcut=B", "preresnet164"),
        ("preresnet110:shortcut=B", "preresnet110:shortcut=B"),
        ("vgg16_bn:width=64", "vgg16_bn"),
        ("vgg16_bn:width=16", "vgg16_bn:width=16"),
        ("plain20:width=1024", "plain20:width=1024"),
    ],
)
def test_one_network_has_one_spelling(spec: str, canonical: str) -> None:
    arch = models.architecture(spec)
    assert arch.spec == canonical
    assert arch == models.architecture(canonical) == pickle.loads(pickle.dumps(arch))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet57", 'unknown architecture "resnet57": the nearest names are resnet5'),
        ("RESNET20", "the nearest names are resnet20, "),
        ("vgg16bn", "the nearest names are vgg16_bn, "),
        ("", 'unknown architecture "": there are resnet20, resnet32, '),
        ("transformer", "there are resnet20, .*, vgg19_bn$"),
        ("resnet20:depth=3", 'no option "depth": resnet20 takes shortcut (A, B or C) and width (a'),
        ("plain20:shortcut=A", 'plain20 has no option "shortcut": plain20 takes width ('),
        ("resnet18:width=32", 'resnet18 has no option "width": resnet18 takes no options'),
        ("resnet20:shortcut=D", 'cannot have shortcut="D": shortcut takes A, B or C'),
        ("resnet20:shortcut=b", "shortcut takes A, B or C"),
        ("resnet20:shortcut", '"shortcut" in "resnet20:shortcut" is not of the form option=value'),
        ("resnet20:", '"" in "resnet20:" is not of the form option=value'),
        ("resnet20:width=8,", '"" in "resnet20:width=8," is not of the form option=value'),
        ("resnet20:width=8,width=9", "gives width twice"),
        *(
            (f"vgg16:width={w}", f'width="{w}": width takes a whole number from 1 to 1024')
            for w in ("0", "-4", "1025", "8.5", "", " 8", "1_6", "٣", "9" * 5000)
        ),
    ],
)
def test_a_wrong_name_says_what_is_allowed(spec: str, message: str) -> None:
    pattern = message if message.startswith("there are") else re.escape(message)
    with pytest.raises(ProbeError, match=pattern) as caught:
        models.architecture(spec)
    assert "\n" not in str(caught.value)


def test_classes_replace_the_default_and_must_be_one_at_least() -> None:
    arch = models.architecture("resnet20")
    assert arch.build(100).linear.weight.shape == (100, 64)
    with pytest.raises(ProbeError, match="resnet20 cannot have 0 classes"):
        arch.build(0)


# --- published weights ---


def no_network(*args: object, **kwargs: object) -> None:
    raise urllib.error.URLError("Name or service not known")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's folder of downloaded weights, empty, and nothing to download from."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_pretrained_without_a_network_says_which_file_is_missing(empty_cache: Path) -> None:
    with pytest.raises(ProbeError) as caught:
        models.architecture("resnet50").pretrained()
    message = str(caught.value)
    assert message.startswith("the weights IMAGENET1K_V2 of resnet50 can neither be read from ")
    assert str(empty_cache / "resnet50-11ad3fa6.pth") in message
    assert "https://download.pytorch.org/models/resnet50-11ad3fa6.pth" in message
    assert "Name or service not known" in message


def test_pretrained_refuses_a_truncated_file(empty_cache: Path) -> None:
    (empty_cache / "resnet18-f37072fd.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ProbeError, match=r"the weights IMAGENET1K_V1 of resnet18 can neither"):
        models.architecture("resnet18").pretrained()


def test_pretrained_reads_a_downloaded_file(empty_cache: Path) -> None:
    arch = models.architecture("resnet18")
    state = arch.build(seed=3).state_dict()
    torch.save(state, empty_cache / "resnet18-f37072fd.pth")
    before = torch.get_rng_state()
    found = arch.pretrained("IMAGENET1K_V1")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(tensor, state[key]) for key, tensor in found.model.state_dict().items())
    assert not found.model.training
    assert (found.normalize, found.weights) == ("imagenet", "IMAGENET1K_V1")
    assert (len(found.class_names), found.class_names[0]) == (1000, "tench")
    assert found.accuracy_pct == 69.758  # the same in torchvision's own table


def test_pretrained_names_the_weights_there_are() -> None:
    with pytest.raises(ProbeError, match=r'no weights "V3" for resnet50: .*_V1, .*_V2, DEFAULT$'):
        models.architecture("resnet50").pretrained("V3")
    with pytest.raises(ProbeError, match=r"resnet20 has no pretrained weights of torchvision"):
        models.architecture("resnet20").pretrained()


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_every_torchvision_name_has_weights_with_imagenet_statistics(name: str) -> None:
    for weights in torchvision.models.get_model_weights(name):
        assert pretrained._normalize_spec(weights) == "imagenet"
        assert weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] > 60
    assert "DEFAULT" in torchvision.models.get_model_weights(name).__members__


def lossless_images() -> tuple[torch.Tensor, torch.Tensor]:
    table = pq.read_table(SHARED / "cifar10-lossless" / "test-00000-of-00001.parquet")
    rows = table.to_pylist()
    pixels = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in rows]
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in pretrained.IMAGENET)
    return (x - mean) / std, torch.tensor([row["label"] for row in rows])


@pytest.mark.skipif(
    not (SHARED / "checkpoints").exists() or not (SHARED / "cifar10-lossless").exists(),
    reason="../shared/checkpoints and ../shared/cifar10-lossless are not here",
)
@pytest.mark.parametrize(
    ("name", "file", "correct"),
    [("resnet20", "resnet20-12fca82f.th", 776), ("resnet56", "resnet56-4bfd9763.th", 789)],
)
def test_published_weights_give_their_published_error(name: str, file: str, correct: int) -> None:
    saved = torch.load(SHARED / "checkpoints" / file, map_location="cpu", weights_only=True)
    state = {key.removeprefix("module."): value for key, value in saved["state_dict"].items()}
    model = models.architecture(name).build(seed=0).eval()
    model.load_state_dict(state, strict=True)
    x, labels = lossless_images()
    assert len(labels) == 846
    with torch.inference_mode():
        found = torch.cat([model(batch).argmax(1) for batch in x.split(128)])
    assert int((found == labels).sum()) == correct
