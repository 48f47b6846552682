"""Names and options of architectures: one spelling each, and what is said about a wrong one."""

from __future__ import annotations

import itertools
import pickle
import re

import pytest
import torch
from small_networks import SMALL, on_meta

from resnet_probe import models
from resnet_probe.errors import ProbeError
from resnet_probe.models.options import bias, depth, share

FAMILIES = {
    "resnet": [20, 32, 44, 56, 110, 1202, 164, 1001],
    "preresnet": [20, 32, 44, 56, 110, 164, 1001],
    "plain": [20, 32, 44, 56, 110],
    "highway": [10, 20, 50, 100],
}


def test_names_stand_family_by_family() -> None:
    names = models.names()
    assert len(set(names)) == len(names)
    for family, depths in FAMILIES.items():
        start = names.index(f"{family}{depths[0]}")
        found = names[start : start + len(depths)]
        assert found == [f"{family}{depth}" for depth in depths]
    assert {"wrn16-4", "wrn28-10", "resnext29", "convhighway19"} <= set(names)
    assert {"vgg11", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19"} <= set(names)
    assert {"plain18", "plain34", "resnet50", "resnext50_32x4d", "vgg19_bn"} <= set(names)


@pytest.mark.parametrize("name", models.names())
def test_every_name_builds(name: str) -> None:
    arch = models.architecture(name)
    linear = [m for m in on_meta(name).modules() if isinstance(m, torch.nn.Linear)]
    assert linear[-1].out_features == arch.classes
    assert arch.spec == name
    assert arch.residual == (not name.startswith(("plain", "vgg")))
    large = arch.input_shape == (3, 224, 224)
    assert large == (arch.classes == 1000)
    assert large or arch.input_shape == (3, 32, 32)


@pytest.mark.parametrize("name", [n for n in models.names() if not n.endswith(("1202", "1001"))])
def test_every_name_gives_logits(name: str) -> None:
    arch = models.architecture(name)
    height = min(arch.input_shape[1], 64)  # as telling as 224, and quicker
    with torch.device("meta"):
        assert on_meta(name)(torch.empty(2, 3, height, height)).shape == (2, arch.classes)


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("resnet20", "resnet20"),
        ("resnet20:shortcut=A", "resnet20"),
        ("resnet20:width=16,shortcut=B", "resnet20:shortcut=B"),
        ("resnet20:width=032,shortcut=C", "resnet20:shortcut=C,width=32"),
        ("resnet20:shortcut=conv", "resnet20:shortcut=C"),
        ("resnet:depth=20", "resnet20"),
        ("resnet:depth=38,width=32", "resnet:depth=38,width=32"),
        ("resnet:depth=50", "resnet:depth=50"),  # resnet50 is torchvision's
        ("resnet_bottleneck:depth=164,shortcut=B", "resnet164"),
        ("resnet110:order=preact", "preresnet110"),
        ("resnet164:order=preact,shortcut=A", "preresnet164:shortcut=A"),
        ("resnet:depth=38,order=preact", "preresnet:depth=38"),
        ("resnet110:order=original,zero_init=no", "resnet110"),
        ("preresnet164:shortcut=B", "preresnet164"),
        ("preresnet110:shortcut=B", "preresnet110:shortcut=B"),
        ("preresnet:depth=164", "preresnet:depth=164"),  # of basic blocks
        ("resnet20:gate_bias=-6.0,shortcut=gated", "resnet20:shortcut=gated"),
        ("resnet20:gate_bias=-3,shortcut=gated", "resnet20:shortcut=gated,gate_bias=-3"),
        ("resnet20:stochastic_depth=.50", "resnet20:stochastic_depth=0.5"),
        ("resnet20:deleted=7+3+7", "resnet20:deleted=3+7"),
        ("wrn:depth=28,widen=10", "wrn28-10"),
        ("wrn:widen=4,depth=40", "wrn:depth=40,widen=4"),
        ("resnext:depth=29,cardinality=8", "resnext29"),
        ("highway:depth=50", "highway50"),
        ("vgg:depth=16,batch_norm=yes", "vgg16_bn"),
        ("vgg16:batch_norm=yes", "vgg16_bn"),
        ("vgg19:batch_norm=yes", "vgg19:batch_norm=yes"),  # vgg19_bn is torchvision's
        ("vgg16_bn:width=64", "vgg16_bn"),
        ("vgg16_bn:width=16", "vgg16_bn:width=16"),
        ("plain20:width=1024", "plain20:width=1024"),
        ("resnet50:stride=v1", "resnet50:stride=v1"),
        ("resnet50:stride=v1.5,shortcut=B", "resnet50"),
    ],
)
def test_one_network_has_one_spelling(spec: str, canonical: str) -> None:
    arch = models.architecture(spec)
    assert arch.spec == canonical
    assert arch == models.architecture(canonical) == pickle.loads(pickle.dumps(arch))


@pytest.mark.parametrize("spec", SMALL)
def test_small_specifications_are_canonical(spec: str) -> None:
    assert models.architecture(models.architecture(spec).spec) == models.architecture(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet57", "(depths are 6n+2, the nearest 56 and 62), so write resnet:depth=56"),
        ("resnet38", 'unknown architecture "resnet38": for that depth write resnet:depth=38'),
        ("resnet1", "the nearest 8), so write resnet:depth=8"),
        ("wrn40", "for that depth write wrn:depth=40,widen=…"),
        ("resnet:depth=37", "resnet cannot have 37 layers (depths are 6n+2, the nearest 32 and"),
        ("wrn:depth=27,widen=2", "depths are 6n+4, the nearest 22 and 28)"),
        ("preresnet_bottleneck:depth=111", "depths are 9n+2, the nearest 110 and 119)"),
        ("resnet:depth=99999", "depths are 6n+2, the nearest 9998)"),
        ("resnet:depth=-2", 'depth="-2": depth takes 6n+2 layers, n from 1 (8, 14, 20, …)'),
        ("convhighway:depth=20", "depths are 3n+4, the nearest 19 and 22)"),
        ("vgg:depth=12", 'vgg cannot have depth="12": depth takes 11, 13, 16 or 19'),
        ("resnet", "resnet alone is no network: give depth, 6n+2 layers, n from 1 (8, 14, 20, …)"),
        ("RESNET20", "has the names that there are; did you mean resnet20?"),
        ("vgg16bn", "; did you mean vgg16_bn?"),
        ("", 'unknown architecture "": `describe --list` has the names'),
        ("efficientnet_bo", "; did you mean efficientnet_b"),
        ("a transformer", "`describe --list` has the names"),
        ("resnet20:depth=3", 'no option "depth": resnet20 takes order, shortcut, gate_bias, width'),
        ("resnet20:oder=preact", 'resnet20 has no option "oder": resnet20 takes order'),
        ("plain20:shortcut=A", 'plain20 has no option "shortcut": plain20 takes width ('),
        ("resnext50_32x4d:width=32", "resnext50_32x4d takes no options"),
        ("resnet18:stride=v1", 'resnet18 has no option "stride"'),
        ("resnet20:shortcut=D", "shortcut takes A, B, C, scaled, scaled_shortcut, gated, "),
        ("resnet20:shortcut=b", 'cannot have shortcut="b"'),
        ("resnet20:order=full", "order takes original, bn_after, relu_before, relu_only or preact"),
        ("resnet20:shortcut", '"shortcut" in "resnet20:shortcut" is not of the form option=value'),
        ("resnet20:", '"" in "resnet20:" is not of the form option=value'),
        ("resnet20:width=8,", '"" in "resnet20:width=8," is not of the form option=value'),
        ("resnet20:width=8,width=9", "gives width twice"),
        ("resnet20:gate_bias=-3", "resnet20 with shortcut=A has no gate for gate_bias"),
        ("resnet20:shortcut=gated,gate_bias=x", "gate_bias takes a number from -99 to 99"),
        ("resnet20:order=bn_after,zero_init=yes", "no batch norm at the end of its branches"),
        ("resnet20:order=preact,zero_init=yes", "the orders that have one are original, relu_bef"),
        ("resnet20:stochastic_depth=0", "takes a number above 0 and up to 1, such as 0.5"),
        ("resnet20:stochastic_depth=1.01", "takes a number above 0 and up to 1, such as 0.5"),
        ("wrn28-10:dropout=1", "dropout takes a number from 0 to below 1, such as 0.5"),
        ("resnet20:deleted=0", "deleted takes numbers from 1 joined by plus signs, such as 3+7"),
        ("resnet20:deleted=10", "block 10 is out of range: resnet20 has 9 blocks (1–9)"),
        ("resnet50:deleted=17", "block 17 is out of range: resnet50 has 16 blocks (1–16)"),
        ("resnet:depth=8,deleted=1+2+3", "resnet without all of its 3 blocks is no residual net"),
        *(
            (f"vgg16:width={w}", f'width="{w}": width takes a whole number from 1 to 1024')
            for w in ("0", "-4", "1025", "8.5", "", " 8", "1_6", "٣", "9" * 5000)
        ),
    ],
)  # fmt: skip
def test_a_wrong_name_says_what_is_allowed(spec: str, message: str) -> None:
    with pytest.raises(ProbeError, match=re.escape(message)) as caught:
        models.architecture(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("step", "extra"), [(6, 2), (9, 2), (6, 4), (3, 4), (1, 1)])
def test_the_nearest_depths_are_the_nearest(step: int, extra: int) -> None:
    option = depth(step, extra, high=400)
    possible = [step * n + extra for n in range(1, 400) if step * n + extra <= 400]
    for layers in itertools.chain(range(420), (10**8,)):
        near = option.nearest(layers)
        assert (option.read(str(layers)) == layers) == (layers in possible) == (near == (layers,))
        below = [p for p in possible if p < layers][-1:]
        above = [p for p in possible if p > layers][:1]
        if layers not in possible:
            assert near == (*below, *above)


def test_numbers_are_read_as_they_are_spelled() -> None:
    one, nought, either = share("p", 1.0), share("p", 0.0), bias("b", -6.0)
    assert [one.read(t) for t in ("1", "1.0", "0.25", ".5")] == [1, 1, 0.25, 0.5]
    assert [one.read(t) for t in ("0", "1.5", "nan", "1e-3", "-0.5", "", ".")] == [None] * 7
    assert [nought.read(t) for t in ("0", "0.3", "1", "1.")] == [0, 0.3, None, None]
    assert [either.read(t) for t in ("-6", "0", "2.5", "nan", "--1", "100")] == [
        *(-6, 0, 2.5), *(None, None, None),
    ]  # fmt: skip


def test_groups_hold_every_name_and_explain_every_option() -> None:
    groups = models.groups()
    assert sorted(name for group in groups for name in group.names) == sorted(models.names())
    for group in groups:
        for name in group.names:
            assert set(models.options_of(name)) <= {*group.options}
        assert {option.name for option in group.options} <= set(models.ABOUT)
    assert next(group.form for group in groups if "wrn28-10" in group.names) == (
        "wrn:depth=6n+4,widen=…"
    )


def test_classes_replace_the_default_and_must_be_one_at_least() -> None:
    arch = models.architecture("resnet20")
    assert arch.build(100).linear.weight.shape == (100, 64)
    with pytest.raises(ProbeError, match="resnet20 cannot have 0 classes"):
        arch.build(0)
