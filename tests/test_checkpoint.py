"""Weights from files: all of them or none, and no code."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from conftest import SHARED
from torch import Tensor, nn

from resnet_probe import models
from resnet_probe.errors import ProbeError
from resnet_probe.zoo import checkpoint

DEPTHS = (20, 32, 44, 56, 110)
# The shortest ten of the sixty names that 32 layers have beyond those of 20.
BLOCK_4 = ", ".join(
    [f"layer{s}.{b}.bn{n}.bias" for s in (1, 2, 3) for b in (3, 4) for n in (1, 2)][:10]
) + " and 50 more"  # fmt: skip
PUBLISHED = SHARED / "checkpoints"
needs_published = pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED} is not here")


class Malicious:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def network(arch: str = "resnet20:width=2", classes: int | None = None) -> nn.Module:
    return models.architecture(arch).build(classes, seed=0)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# ---- reading


@pytest.mark.parametrize("suffix", ["th", "pt", "pth", "safetensors"])
def test_every_kind_of_file_is_read(suffix: str, tmp_path: Path) -> None:
    state, path = network().state_dict(), tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    assert equal(checkpoint.read(path), state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "module._orig_mod.model."])
def test_wrappers_and_prefixes_are_removed(wrapper: str, prefix: str, tmp_path: Path) -> None:
    state, path = network().state_dict(), tmp_path / "weights.pt"
    prefixed = {prefix + key: value for key, value in state.items()}
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, wrapper: prefixed}, path)
    assert equal(checkpoint.read(path), state)


def test_a_prefix_that_only_some_names_carry_stays(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "weights.pt")
    assert checkpoint.read(tmp_path / "weights.pt").keys() == {"module.a", "b"}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapper", ["state_dict", "extra"])
def test_a_pickle_that_runs_code_is_refused(zipped: bool, wrapper: str, tmp_path: Path) -> None:
    path, proof = tmp_path / "weights.pt", tmp_path / "it-ran"
    content = {"state_dict": network().state_dict(), wrapper: Malicious(proof)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ProbeError, match=r"asks to run \w+\.mkdir, and a pickle that may run code"):
        checkpoint.read(path)
    assert not proof.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_pickle_that_runs_code_is_refused(protocol: int, tmp_path: Path) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "it-ran"
    path.write_bytes(pickle.dumps(Malicious(proof), protocol))
    with pytest.raises(ProbeError, match=r"weights\.pth "):
        checkpoint.read(path)
    assert not proof.exists()


@pytest.mark.parametrize("suffix", ["pt", "legacy.th", "safetensors"])
@pytest.mark.parametrize("share", [0.0001, 0.3, 0.99])
def test_a_truncated_file_is_refused(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(network().state_dict(), path)
    else:
        zipped = "legacy" not in suffix
        torch.save(network().state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(share * len(content)))])
    with pytest.raises(ProbeError, match=r"is truncated|holds more than tensors"):
        checkpoint.read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pt", None, "there is no file"),
        ("empty.pt", b"", "is empty"),
        ("empty.safetensors", b"", "is empty"),
        ("text.th", b"hello world, not a file", "is truncated, or not a file that torch.save"),
        ("text.safetensors", b"hello world, not a file", "truncated or not a safetensors file"),
        ("weights.ckpt", b"one", "is truncated, or not a file that torch.save"),
    ],
)
def test_other_files_are_refused(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ProbeError, match=message) as refusal:
        checkpoint.read(tmp_path / name)
    assert name in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "holds no named tensors but Tensor"),
        ({}, "holds no named tensors but dict"),
        ({"epoch": 3, "arch": "resnet20"}, r"but dict of 'epoch' \(int\), 'arch' \(str\)"),
        ({"state_dict": {"a": torch.tensor([1.0, float("nan")])}}, "a in .* is not finite"),
    ],
)
def test_pickles_without_usable_tensors_are_refused(
    content: object, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ProbeError, match=message):
        checkpoint.read(tmp_path / "weights.pt")


# ---- loading


def test_loading_copies_everything() -> None:
    source, target = network(), models.architecture("resnet20:width=2").build(seed=1)
    checkpoint.load_into(target, source.state_dict(), arch="resnet20:width=2", path="x.pt")
    assert equal(target.state_dict(), source.state_dict())


def test_counters_of_batches_may_be_absent() -> None:
    source, target = network(), models.architecture("resnet20:width=2").build(seed=1)
    target.bn1.num_batches_tracked.fill_(7)
    old = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    checkpoint.load_into(target, old, arch="resnet20:width=2", path="x.pt")
    assert all(torch.equal(target.state_dict()[key], value) for key, value in old.items())
    assert int(target.bn1.num_batches_tracked) == 7


def test_counters_that_the_network_lacks_are_ignored() -> None:
    model = network()
    extra = {**model.state_dict(), "more.num_batches_tracked": torch.tensor(3)}
    checkpoint.load_into(model, extra, arch="resnet20:width=2", path="x.pt")


def refusal_of(state: dict[str, Tensor], model: nn.Module, arch: str) -> str:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ProbeError) as refusal:
        checkpoint.load_into(model, state, arch=arch, path="x.pt")
    assert equal(model.state_dict(), before)
    return str(refusal.value)


def test_weights_of_another_depth_are_refused_both_ways() -> None:
    shallow, deep = network("resnet20"), network("resnet32")
    assert refusal_of(shallow.state_dict(), deep, "resnet32") == (
        f"x.pt does not fit resnet32: it lacks {BLOCK_4}; its shapes fit resnet20 or plain20"
    )
    assert refusal_of(deep.state_dict(), shallow, "resnet20") == (
        f"x.pt does not fit resnet20: it also has {BLOCK_4}; its shapes fit resnet32 or plain32"
    )


def test_a_partial_load_is_refused() -> None:
    model = network("resnet20")
    state = dict(model.state_dict())
    del state["linear.bias"]
    assert refusal_of(state, model, "resnet20") == (
        "x.pt does not fit resnet20: it lacks linear.bias; "
        "its shapes fit no architecture known here"
    )


def test_a_head_with_other_classes_is_refused_with_its_number() -> None:
    assert refusal_of(network("resnet20", 100).state_dict(), network("resnet20"), "resnet20") == (
        "x.pt does not fit resnet20: linear.bias is 100 where 10 is expected, "
        "linear.weight is 100×64 where 10×64 is expected; "
        "its shapes fit resnet20 with 100 classes or plain20 with 100 classes"
    )


# ---- identifying


def test_identify_names_what_fits() -> None:
    """Every name of fewer than a hundred layers, its keys in another order, its classes others."""
    same = {
        f"{kind}{n}": [f"resnet{n}", f"plain{n}"] for kind in ("resnet", "plain") for n in DEPTHS
    }
    for arch in models.names():
        if not re.search(r"\d{3}", arch):
            with torch.device("meta"):
                state = network(arch, 3).state_dict()
            shuffled = {key: state[key] for key in sorted(state)}
            assert checkpoint.identify(shuffled) == same.get(arch, [arch])


def test_a_network_of_another_width_is_none_of_the_names() -> None:
    assert checkpoint.identify(network("resnet20:width=2").state_dict()) == []


def test_classes_are_read_from_the_head() -> None:
    state = network("resnet20:width=2", 5).state_dict()
    assert checkpoint.classes_of(state, "resnet20:width=2") == 5
    assert checkpoint.classes_of(state, "resnet20") is None


# ---- published weights


@needs_published
@pytest.mark.parametrize(
    ("file", "arch"), [("resnet20-12fca82f.th", "resnet20"), ("resnet56-4bfd9763.th", "resnet56")]
)
def test_published_weights_load_completely(file: str, arch: str) -> None:
    published = torch.load(PUBLISHED / file, map_location="cpu", weights_only=True)["state_dict"]
    state, model = checkpoint.read(PUBLISHED / file), network(arch)
    checkpoint.load_into(model, state, arch=arch, path=file)
    loaded = model.state_dict()
    assert {"module." + key for key in state} == published.keys()
    assert all(torch.equal(loaded[k.removeprefix("module.")], v) for k, v in published.items())
    assert arch in checkpoint.identify(state)


@needs_published
def test_published_weights_of_another_depth_are_named() -> None:
    state = checkpoint.read(PUBLISHED / "resnet56-4bfd9763.th")
    message = refusal_of(state, network("resnet110"), "resnet110")
    assert message.endswith("its shapes fit resnet56 or plain56")
