"""Networks that this package has never seen: torchvision's and timm's, cut and proven.

By default the smallest of each family; all of them with RESNET_PROBE_ALL_NETWORKS=1.
"""

from __future__ import annotations

import os
import warnings

import pytest
import timm_names
import torch
import torchvision
from torch import nn
from toy_chains import images, seeded

from resnet_probe import ProbeError, chain_of

ALL = bool(os.environ.get("RESNET_PROBE_ALL_NETWORKS"))

# Blocks as the architectures have them: from the papers' tables, counting a branch as one.
TORCHVISION = {
    "resnet18": 8, "resnet34": 16, "resnet50": 16, "resnet101": 33, "resnet152": 50,
    "resnext50_32x4d": 16, "resnext101_32x8d": 33, "resnext101_64x4d": 33,
    "wide_resnet50_2": 16, "wide_resnet101_2": 33,
    "regnet_x_400mf": 22, "regnet_x_800mf": 16, "regnet_x_1_6gf": 18, "regnet_x_3_2gf": 25,
    "regnet_x_8gf": 23, "regnet_x_16gf": 22, "regnet_x_32gf": 23,
    "regnet_y_400mf": 16, "regnet_y_800mf": 14, "regnet_y_1_6gf": 27, "regnet_y_3_2gf": 21,
    "regnet_y_8gf": 17, "regnet_y_16gf": 18, "regnet_y_32gf": 20,
    "mobilenet_v2": 10, "mobilenet_v3_large": 10, "mobilenet_v3_small": 6,
    "mnasnet0_5": 10, "mnasnet0_75": 10, "mnasnet1_0": 10, "mnasnet1_3": 10,
    "efficientnet_b0": 9, "efficientnet_b1": 16, "efficientnet_b2": 16, "efficientnet_b3": 19,
    "efficientnet_b4": 25, "efficientnet_b5": 32, "efficientnet_b6": 38, "efficientnet_b7": 48,
    "efficientnet_v2_s": 35, "efficientnet_v2_m": 51, "efficientnet_v2_l": 73,
    "convnext_tiny": 18, "convnext_small": 36, "convnext_base": 36, "convnext_large": 36,
    "vit_b_16": 24, "vit_b_32": 24, "vit_l_16": 48, "vit_l_32": 48,
    "swin_t": 24, "swin_s": 48, "swin_b": 48, "swin_v2_t": 24, "swin_v2_s": 48, "swin_v2_b": 48,
    "maxvit_t": 55,
}  # fmt: skip
# Not even their random weights fit into a small machine beside a copy of their activations.
GIANTS = {"regnet_y_128gf": "645 million parameters", "vit_h_14": "632 million parameters"}
SMALLEST = {
    "resnet18", "regnet_x_400mf", "regnet_y_400mf", "mobilenet_v2", "mobilenet_v3_small",
    "mnasnet0_5", "efficientnet_b0", "convnext_tiny", "vit_b_32", "swin_t", "swin_v2_t",
}  # fmt: skip
WITHOUT_BLOCKS = {
    "alexnet": "a plain network",
    "vgg11": "a plain network",
    "densenet121": "meet in cat",
    "squeezenet1_1": "meet in cat",
    "googlenet": "meet in cat",
    "inception_v3": "meet in cat",
    "shufflenet_v2_x0_5": "meet in cat",
}

SMALL = {
    "resnet26d", "repvgg_a0", "lcnet_050", "tf_efficientnetv2_b0", "convit_tiny",
    "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mvitv2_tiny", "mixer_s16_224",
}  # fmt: skip


def some(names, default):
    """All names; those outside the default run are skipped unless asked for."""
    skip = pytest.mark.skipif(not ALL, reason="RESNET_PROBE_ALL_NETWORKS is not set")
    return [pytest.param(n, marks=[] if n in default else [skip], id=n) for n in names]


def torchvision_model(name: str) -> nn.Module:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return seeded(lambda: torchvision.models.get_model(name, weights=None, **options))


def side_of(name: str) -> int:
    fixed = {"vit": 224, "maxvit": 224, "inception": 299, "alexnet": 64}
    return fixed.get(name.split("_")[0], 64)


def last_of_branch(name: str, block) -> str:
    """The module whose output is the branch of `block`, or a factor of it."""
    if name.startswith(("resn", "wide")):
        return f"{block.name}.{'bn2' if name in ('resnet18', 'resnet34') else 'bn3'}"
    return block.name


@torch.no_grad()
def with_zeroed(model: nn.Module, name: str, x: torch.Tensor) -> torch.Tensor:
    def zero(module, arguments, output):
        return torch.zeros_like(output) if torch.is_tensor(output) else (output[0] * 0, None)

    handle = model.get_submodule(name).register_forward_hook(zero)
    try:
        return model(x)
    finally:
        handle.remove()


def test_every_torchvision_network_is_in_a_list():
    names = set(torchvision.models.list_models(module=torchvision.models))
    listed = {*TORCHVISION, *GIANTS}
    without = ("alexnet", "vgg", "dense", "squeeze", "googlenet", "inception", "shuffle")
    assert listed <= names
    assert all(name.startswith(without) for name in names - listed)


@pytest.mark.many(3)
@pytest.mark.parametrize("name", some(TORCHVISION, SMALLEST))
def test_torchvision_networks_are_cut_and_a_deletion_is_a_zeroed_branch(name):
    model = torchvision_model(name)
    x = images(1, side=side_of(name))
    chain = chain_of(model, x, name=name)
    assert len(chain) == TORCHVISION[name]
    assert chain.residue == 0
    with torch.no_grad():
        assert torch.equal(chain(x), model(x))
        if name == "maxvit_t":  # its branches have no module of their own
            return
        number = len(chain) // 2
        steps = [(b.number, float(b.number != number)) for b in chain]
        expected = with_zeroed(model, last_of_branch(name, chain.block(number)), x)
        assert torch.equal(chain.run(x, steps), expected)


@pytest.mark.many(3)
@pytest.mark.parametrize("name", WITHOUT_BLOCKS)
def test_torchvision_networks_without_residual_blocks_are_refused(name):
    with pytest.raises(ProbeError, match=f"{name} has no residual block: .*{WITHOUT_BLOCKS[name]}"):
        chain_of(torchvision_model(name), images(1, side=side_of(name)), name=name)


@pytest.mark.many(3)
@pytest.mark.parametrize("name", some(timm_names.NAMES, SMALL))
def test_timm_networks_are_cut_or_refused_as_the_table_says(name):
    pytest.importorskip("timm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, x = timm_names.model_and_images(name)
        row, chain = timm_names.outcome(name, model, x)
        assert row == timm_names.table()[name]
        if chain is not None:
            assert chain.residue == 0
            with torch.no_grad():  # another batch size than that of the example
                assert torch.equal(chain(x), model(x))


def test_of_the_residual_networks_of_timm_95_percent_are_cut():
    table = timm_names.table()
    assert list(table) == timm_names.NAMES and len(table) == len(set(timm_names.NAMES)) == 101
    residual = [line for line in table.values() if line["residual"] == "yes"]
    cut = [line for line in residual if int(line["blocks"]) > 0]
    assert len(residual) >= 80
    assert len(cut) >= 0.95 * len(residual)
    assert all(line["reason"] for line in table.values() if line["blocks"] == "0")
