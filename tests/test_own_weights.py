"""Weights as people have them: any name, wrapper and setting; and files that are none."""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import resnet_probe as rp
from resnet_probe import ProbeError, models
from resnet_probe.loading.networks import load_network
from resnet_probe.zoo import checkpoint

ARCH = "resnet:depth=8,width=4"
STATE = models.architecture(ARCH).build(seed=3).state_dict()
X = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def loaded(path: Path, key: str | None = None) -> dict[str, Tensor]:
    return load_network(ARCH, path, None, weights_key=key).model.state_dict()


def same(found: dict[str, Tensor], wanted: dict[str, Tensor] = STATE) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in wanted)


def refusal(path: Path) -> str:
    with pytest.raises(ProbeError) as caught:
        loaded(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- names, parts, folders


@pytest.mark.parametrize("suffix", [".ckpt", ".pth.tar", ".bin", ".PTH", ".model", ""])
@pytest.mark.parametrize("old", [False, True])
def test_what_a_file_is_called_does_not_matter(tmp_path: Path, suffix: str, old: bool) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(STATE, path, _use_new_zipfile_serialization=not old)
    assert same(loaded(path))


def test_safetensors_under_another_name(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    assert same(loaded((tmp_path / "w.safetensors").rename(tmp_path / "w.bin")))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_parts_by_their_index_or_folder(tmp_path: Path, suffix: str) -> None:
    halves = [dict(list(STATE.items())[start::2]) for start in (0, 1)]
    files = [f"model-{n}-of-2.{suffix}" for n in (1, 2)]
    for name, half in zip(files, halves, strict=True):
        written(tmp_path / name, half)
    by = {key: name for name, half in zip(files, halves, strict=True) for key in half}
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    index = tmp_path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": by}))
    assert same(loaded(index)) and same(loaded(tmp_path))
    (tmp_path / files[1]).unlink()
    assert f"there is no file {tmp_path / files[1]}" in refusal(tmp_path)
    for wrong in ({"a": "../w"}, [1], "x", {"a": 3}):
        index.write_text(json.dumps({"weight_map": wrong}))
        assert "is no index" in (said := refusal(index)) or "beside it" in said
    index.write_text('{"weight_map": ' + "[" * 5000 + "]" * 5000 + "}")
    assert "is no index of weights" in refusal(index)


def test_a_folder_of_one_file_and_a_folder_of_none(tmp_path: Path) -> None:
    assert "and holds none of them" in refusal(tmp_path)
    written(tmp_path / "pytorch_model.bin", STATE)
    (tmp_path / "config.json").write_text("{}")
    assert same(loaded(tmp_path))


def test_a_file_in_the_cache_of_torch_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    written(tmp_path / "checkpoints" / "net-0123.pth", STATE)
    assert same(loaded(Path("net-0123.pth")))


# ---- wrappers and candidates


@pytest.mark.parametrize("foreign", [3, "resnet", None, torch.tensor(3)], ids=str)
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net.backbone."])
def test_a_foreign_entry_does_not_keep_a_prefix(tmp_path: Path, foreign: Any, prefix: str) -> None:
    content = {prefix + key: value for key, value in STATE.items()} | {"epoch": foreign}
    assert same(loaded(written(tmp_path / "w.pth", content)))


def test_lightning_keeps_its_network_beside_a_loss(tmp_path: Path) -> None:
    state = {f"model.{key}": value for key, value in STATE.items()} | {"loss.w": torch.ones(3)}
    content = {"state_dict": state, "optimizer_states": [{"state": {0: {"m": torch.ones(2)}}}],
               "epoch": 3, "hyper_parameters": {"lr": 0.1}}  # fmt: skip
    assert same(loaded(written(tmp_path / "w.ckpt", content)))


def test_of_several_sets_one_is_chosen(tmp_path: Path) -> None:
    averaged = {key: value + 1 if value.is_floating_point() else value
                for key, value in STATE.items()}  # fmt: skip
    path = written(tmp_path / "w.pth", {"state_dict": STATE, "state_dict_ema": averaged})
    assert "2 sets of weights (state_dict, state_dict_ema): choose one with weights_key=" in (
        refusal(path)
    )
    assert same(loaded(path, "state_dict")) and same(loaded(path, "state_dict_ema"), averaged)
    network = load_network(ARCH, path, None, weights_key="state_dict_ema")
    assert network.source == "w.pth (state_dict_ema)"
    with pytest.raises(ProbeError, match="no weights called weights_key='ema': it has state_dict"):
        loaded(path, "ema")
    with pytest.raises(ProbeError, match="give weights="):
        load_network(ARCH, None, None, weights_key="ema")


def test_the_only_set_that_fits_needs_no_choice(tmp_path: Path) -> None:
    content = {"generator": {"a.weight": torch.ones(2)}, "student": {"model": STATE}}
    assert same(loaded(written(tmp_path / "w.pth", content)))


# ---- what stands beside weights


class Settings(dict[str, Any]):
    pass


@pytest.mark.parametrize(
    "extra",
    [argparse.Namespace(lr=0.1, data=Path("x")), np.float64(0.93), np.arange(3), np.array(["a"]),
     defaultdict(list, a=[1]), Settings(lr=1), nn.BatchNorm1d(2), nn.Linear, OrderedDict(a=1)],
    ids=lambda extra: type(extra).__name__,
)  # fmt: skip
@pytest.mark.parametrize("old", [False, True])
def test_settings_are_passed_over(tmp_path: Path, extra: Any, old: bool) -> None:
    path = tmp_path / "w.pth"
    if old and isinstance(extra, nn.Module | type):
        pytest.skip("torch itself keeps the source of a module in its old format")
    before = set(torch.serialization.get_safe_globals())
    content = {"settings": [extra], "state_dict": STATE, "extra": extra}
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    assert same(loaded(path))
    assert set(torch.serialization.get_safe_globals()) == before


class Runs:
    """Pickled, it is a call of some function."""

    def __init__(self, call: Any, *given: Any) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.given


@pytest.mark.parametrize("call", [eval, exec, os.mkdir, getattr, __import__])
def test_calls_are_refused_and_not_made(tmp_path: Path, call: Any) -> None:
    proof = tmp_path / "it-ran"
    given = (str(proof),) if call is os.mkdir else (f"open({str(proof)!r}, 'w')",)
    path = written(tmp_path / "w.pth", {"state_dict": STATE, "extra": Runs(call, *given)})
    assert "asks to run" in refusal(path) and not proof.exists()


def test_the_objects_of_others_are_never_made(tmp_path: Path) -> None:
    path = written(tmp_path / "w.pth", {"state_dict": STATE, "x": Runs(np.save, "it-ran", 3)})
    assert same(loaded(path)) and not Path("it-ran.npy").exists()


def test_a_whole_model_is_called_one(tmp_path: Path) -> None:
    path = written(tmp_path / "w.pth", nn.BatchNorm1d(2))
    assert "an object of the class BatchNorm1d: save its weights alone" in refusal(path)
    scripted = tmp_path / "s.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.BatchNorm1d(2)).save(str(scripted))
    assert "is a TorchScript archive" in refusal(scripted)


def test_a_file_that_holds_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = dict(STATE)
    content["state_dict"] = {"model": content}
    assert "holds itself: its entry 'state_dict.model'" in refusal(
        written(tmp_path / "w.pt", content)
    )


# ---- what is no file of weights


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is an HTML page"),
        (b"\n <HTML lang=en>", "is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a git-LFS pointer"),
        (b"", "is empty"),
        (b"\x1f\x8b" + bytes(30), "is a gzip archive"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"just text", "is truncated"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
def test_other_files_are_called_what_they_are(
    tmp_path: Path, content: bytes, called: str, suffix: str
) -> None:
    assert called in refusal(written(tmp_path / f"w{suffix}", content))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert "is a named pipe" in refusal(tmp_path / "pipe.pth")
    (tmp_path / "link.pth").symlink_to(tmp_path / "nowhere")
    assert "is a link to" in refusal(tmp_path / "link.pth")
    assert "is a device" in refusal(Path("/dev/zero"))
    assert "File name too long" in refusal(tmp_path / ("w" * 300))


# ---- tensors that are not weights


W = STATE["conv1.weight"]


UNFIT = {
    "float8_e4m3fn": lambda: W.to(torch.float8_e4m3fn),
    "complex64": lambda: W.to(torch.complex64),
    "torch.int8 where": lambda: W.to(torch.int8),
    "torch.bool where": lambda: W.to(torch.bool),
    "a sparse tensor": W.to_sparse,
    "on the meta device": lambda: W.to("meta"),
    "quantized": lambda: torch.quantize_per_tensor(W, 0.01, 0, torch.qint8),
    "repetitions of a few numbers": lambda: torch.zeros(1).expand(2**30, 2**30),
    "is not finite": lambda: W * float("inf"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("called", UNFIT)
def test_unfit_tensors_are_refused_by_name(tmp_path: Path, called: str) -> None:
    said = refusal(written(tmp_path / "w.pt", STATE | {"conv1.weight": UNFIT[called]()}))
    assert said.startswith("conv1.weight in ") and called in said


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_floats_are_taken(tmp_path: Path, dtype: torch.dtype) -> None:
    found = loaded(written(tmp_path / "w.pt", STATE | {"conv1.weight": W.to(dtype)}))
    assert torch.equal(found["conv1.weight"], W.to(dtype).float())


def test_few_repetitions_are_written_out(tmp_path: Path) -> None:
    ones = torch.ones(1).expand(W.shape)
    found = loaded(written(tmp_path / "w.pt", STATE | {"conv1.weight": ones}))
    assert torch.equal(found["conv1.weight"], torch.ones(W.shape))


def test_missing_names_are_listed_shortest_first(tmp_path: Path) -> None:
    part = {key: value for key, value in STATE.items() if "layer" not in key}
    listed = refusal(written(tmp_path / "w.pt", part)).split("it lacks ")[1].split(" and ")[0]
    names = listed.split(", ")
    assert len(names) == 10 and names == sorted(names, key=len)


# ---- a card beside safetensors, or something else


@pytest.mark.parametrize(
    "beside", ["{}", '{"lr": 0.1}', "[1, 2]", "x: 1", "[" * 4000 + "]" * 4000, '{"arch": "resnet"}']
)
def test_a_json_file_of_another_program(tmp_path: Path, beside: str) -> None:
    path = written(tmp_path / "w.safetensors", STATE)
    path.with_suffix(".json").write_text(beside)
    ready = rp.prepare(ARCH, weights=path, data=(X, torch.arange(6)))
    assert same(ready.network.model.state_dict()) and ready.network.known_error_pct is None


def test_a_seed_beyond_any_generator() -> None:
    for seed in ("9" * 20, str(2**63), "-1", "1.5", "٣", "", "9" * 5000):
        with pytest.raises(ProbeError, match="names no seed") as caught:
            load_network(ARCH, f"initial:{seed}", "digits")
        assert len(str(caught.value)) < 200
    assert load_network(ARCH, f"initial:{2**63 - 1}", "digits").model is not None


def test_read_alone_says_what_there_is(tmp_path: Path) -> None:
    path = written(tmp_path / "w.pt", {"a": {"x": torch.ones(1)}, "b": {"x": torch.zeros(1)}})
    with pytest.raises(ProbeError, match=r"2 sets of weights \(a, b\)"):
        checkpoint.read(path)
    assert checkpoint.read(path, key="b")["x"].item() == 0
