"""Parameters and multiply-adds against closed formulas and published figures."""

from __future__ import annotations

import pytest
import torchvision
from small_networks import count, on_meta

from resnet_probe import models, published
from resnet_probe.models import paper_tables

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


def conv(channels: int, out: int, kernel: int, *, groups: int = 1) -> int:
    return channels * out * kernel * kernel // groups


def dense(units: int, out: int) -> int:
    return (units + 1) * out


@pytest.mark.many(2)
@pytest.mark.parametrize(("spec", "parameters"), PARAMETERS.items())
def test_parameter_counts_are_the_published_ones(spec: str, parameters: int) -> None:
    assert count(on_meta(spec)) == parameters


@pytest.mark.parametrize("width", [1, 3, 16, 40])
@pytest.mark.parametrize("shortcut", ["A", "B", "C", "scaled", "dropout", "gated"])
def test_parameters_of_a_residual_network(width: int, shortcut: str) -> None:
    n, w = 9, width
    stem = 27 * w + 2 * w
    branches = sum(
        2 * n * (9 * c * c + 2 * c) - 9 * c * c // 2 * (c > w)  # the first takes half the channels
        for c in (w, 2 * w, 4 * w)
    )
    ends = [(c if i else max(c // 2, w), c) for c in (w, 2 * w, 4 * w) for i in range(n)]
    projected = {c: a * c + 2 * c for a, c in ends if a != c}
    more = {
        "B": sum(projected.values()),
        "C": sum(a * c + 2 * c for a, c in ends),
        "gated": sum(a * c + c for a, c in ends),
    }.get(shortcut, 0)
    model = on_meta(f"resnet56:shortcut={shortcut},width={width}")
    assert count(model) == stem + branches + more + dense(4 * w, 10)


@pytest.mark.parametrize("order", ["bn_after", "relu_before", "relu_only", "preact"])
def test_every_order_has_the_parameters_of_the_original(order: str) -> None:
    assert count(on_meta(f"resnet110:order={order}")) == PARAMETERS["resnet110"]


@pytest.mark.parametrize("depth", [8, 38])
def test_plain_networks_lack_nothing_but_the_shortcuts(depth: int) -> None:
    plain, residual = (count(on_meta(f"{name}:depth={depth}")) for name in ("plain", "resnet"))
    assert plain == residual


def test_a_bottleneck_is_as_small_as_published() -> None:
    block = on_meta("resnet50").layer1[1]
    weights = sum(p.numel() for p in block.parameters() if p.dim() == 4)
    claims = published.load("claims").set_index("claim")["value"]
    assert weights == claims["he2015/bottleneck/weights"]
    assert 2 * conv(256, 256, 3) == claims["he2015/bottleneck/weights/plain"]


@pytest.mark.parametrize(
    ("spec", "depth", "widen", "million"), [("wrn28-10", 28, 10, 36.5), ("wrn16-4", 16, 4, 2.7)]
)
def test_parameters_of_wide_networks(spec: str, depth: int, widen: int, million: float) -> None:
    """Million: Zagoruyko & Komodakis 2016, arXiv 1605.07146, table 4, cut off."""
    n, total, channels = (depth - 4) // 6, conv(3, 16, 3), 16
    for c in (16 * widen, 32 * widen, 64 * widen):
        total += 2 * channels + conv(channels, c, 3) + 2 * c + conv(c, c, 3)
        total += conv(channels, c, 1) + (n - 1) * 2 * (2 * c + conv(c, c, 3))
        channels = c
    total += 2 * channels + dense(channels, 10)
    assert count(on_meta(spec)) == total == pytest.approx(million * 1e6, abs=0.1e6)


def test_parameters_of_resnext29() -> None:
    """34.4 million: Xie et al. 2016, arXiv 1611.05431, table 7."""
    total, channels = conv(3, 64, 3) + 2 * 64, 64
    for inner, outer in ((512, 256), (1024, 512), (2048, 1024)):
        total += conv(channels, outer, 1) + 2 * outer
        for _ in range(3):
            total += conv(channels, inner, 1) + conv(inner, inner, 3, groups=8)
            total += conv(inner, outer, 1) + 2 * (2 * inner + outer)
            channels = outer
    assert count(on_meta("resnext29")) == total + dense(1024, 10)
    assert count(on_meta("resnext29")) == pytest.approx(34.4e6, abs=0.05e6)


@pytest.mark.parametrize(("depth", "width", "side"), [(10, 50, 16), (50, 20, 8)])
def test_parameters_of_highway_networks(depth: int, width: int, side: int) -> None:
    total = dense(3 * side * side, width) + (depth - 1) * 2 * dense(width, width)
    model = on_meta(f"highway:depth={depth},width={width},side={side}")
    assert count(model) == total + dense(width, 10)


def test_parameters_of_convolutional_highway_networks() -> None:
    total, channels = 0, 3
    for c in (16, 32, 64):
        total += conv(channels, c, 3) + c + 5 * 2 * (conv(c, c, 3) + c)
        channels = c
    assert count(on_meta("convhighway19")) == total + dense(64, 10)


@pytest.mark.parametrize(
    ("depth", "convolutions"),
    [(11, (1, 1, 2, 2, 2)), (13, (2,) * 5), (16, (2, 2, 3, 3, 3)), (19, (2, 2, 4, 4, 4))],
)
@pytest.mark.parametrize("norm", ["no", "yes"])
def test_parameters_of_vgg(depth: int, convolutions: tuple[int, ...], norm: str) -> None:
    total, channels = 0, 3
    for number, c in zip(convolutions, (64, 128, 256, 512, 512), strict=True):
        for _ in range(number):
            total += conv(channels, c, 3) + c + (2 * c if norm == "yes" else 0)
            channels = c
    model = on_meta(f"vgg:depth={depth},batch_norm={norm}")
    assert count(model) == total + dense(512, 10)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_large_networks_have_the_parameters_of_torchvision(depth: int) -> None:
    stated = torchvision.models.get_model_weights(f"resnet{depth}").DEFAULT.meta["num_params"]
    assert count(on_meta(f"resnet{depth}")) == stated
    assert count(on_meta(f"resnet{depth}:zero_init=yes")) == stated
    assert count(on_meta(f"resnet{depth}:shortcut=gated")) > stated
    if depth < 50:
        down = [m for m in on_meta(f"resnet{depth}").modules() if hasattr(m, "downsample")]
        projections = sum(count(m.downsample) for m in down if m.downsample is not None)
        assert count(on_meta(f"plain{depth}")) == stated - projections
        assert count(on_meta(f"resnet{depth}:shortcut=A")) == stated - projections


# --- the tables of the paper ---


def test_table_1_is_the_published_one() -> None:
    table = paper_tables.imagenet_table().set_index("network")
    assert list(table.index) == [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
    # The paper's billions are rounded or cut off: 3.858 is printed as 3.8.
    billion = table["multiply_adds"] / 1e9
    assert (billion - table["published_billion"]).between(-0.05, 0.1).all()
    later = table["torchvision_multiply_adds"]
    assert later["resnet50"] / 1e9 == pytest.approx(4.09, abs=0.005)
    assert table["torchvision_parameters"]["resnet50"] == table["parameters"]["resnet50"]


def test_the_cifar_table_is_the_published_one() -> None:
    table = paper_tables.cifar_table((20, 110)).set_index(["network", "shortcut"])
    claims = published.load("claims").set_index("claim")["value"]
    for name in ("resnet20", "resnet110"):
        row = table.loc[(name, "A")]
        assert row["parameters"] == claims[f"he2015/{name}/parameters"]
        assert row["parameters"] / 1e6 == pytest.approx(row["published_million"], abs=0.03)
        assert row["multiply_adds"] / 1e6 == pytest.approx(claims[f"he2015/{name}/macs"], abs=0.05)
    assert table["published_million"].isna().sum() == 4


def test_multiply_adds_in_closed_form() -> None:
    # Each 3×3 layer at c channels and s pixels a side has 9 c² s² multiply-adds, which is the same
    # in every stage; the first of a stage takes half the channels.
    n, layer = 3, 9 * 16 * 16 * 32 * 32
    total = 9 * 3 * 16 * 32 * 32 + 3 * 2 * n * layer - 2 * layer // 2 + 64 * 10
    assert paper_tables.size("resnet20").multiply_adds == total
    assert paper_tables.size("plain20").multiply_adds == total
    projections = 16 * 32 * 16 * 16 + 32 * 64 * 8 * 8
    assert paper_tables.size("resnet20:shortcut=B").multiply_adds == total + projections


def test_the_stride_moves_work_between_two_convolutions() -> None:
    first, later = (paper_tables.size(s).multiply_adds for s in ("resnet50:stride=v1", "resnet50"))
    # The three strided blocks: the first 1×1 then runs on four times the pixels.
    more = sum(c * c // 2 * side * side * 4 - c * c // 2 * side * side
               for c, side in ((256, 28), (512, 14), (1024, 7)))  # fmt: skip
    assert later - first == more


def test_names_with_a_stride_are_those_with_bottlenecks() -> None:
    strided = [n for n in models.names() if "stride" in {o.name for o in models.options_of(n)}]
    assert strided == ["resnet50", "resnet101", "resnet152"]
