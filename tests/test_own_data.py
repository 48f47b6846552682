"""A network and images of the user's own, from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from toy_chains import TinyResNet, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, cli

MODULE = """
import torch
from torch import nn
from toy_chains import TinyPlain, TinyResNet
def build():
    return TinyResNet()
def plain():
    return TinyPlain()
class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(7, 5, 3, padding=1)
    def forward(self, x):
        return self.b(torch.cat([x, self.a(x)], 1)).mean((2, 3))
class Gray(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.stem, self.branch = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 10)
    def forward(self, x):
        h = self.stem(x)
        return self.fc((h + torch.relu(self.branch(h))).mean((2, 3)))
def two():
    return Gray(2)
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    (tmp_path / "own_net").mkdir()
    (tmp_path / "own_net" / "nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "own_net"]:
        del sys.modules[name]


@pytest.fixture
def val(tmp_path: Path) -> str:
    draw = np.random.default_rng(0)
    for number in range(20):
        file = tmp_path / "val" / "abcde"[number % 5] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (9 + number % 3, 11, 3), np.uint8)).save(file)
    return "imagefolder:val/"


def refused(capsys, *given: str) -> str:
    assert cli.main(list(given)) == 2
    return capsys.readouterr().err


def test_a_study_of_ones_own_network_and_images(val: str, capsys) -> None:
    model = seeded(TinyResNet)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, "w.pt")
    given = ["--model", "own_net.nets:build", "--weights", "w.pt", "--data", val]
    given += ["--input", "3x8x8", "--normalize", "mean=0.5,std=0.25"]
    for out, how in (("held", "--no-stream"), ("streamed", "--stream")):
        assert cli.main(["lesion", *given, how, "--workers", "0", "--out", out]) == 0
    tables = [pd.read_csv(Path(out) / "table.csv") for out in ("held", "streamed")]
    assert tables[0].equals(tables[1])
    identities = [
        json.loads(Path(out, "provenance.json").read_text())["identity"]
        for out in ("held", "streamed")
    ]
    assert identities[0] == identities[1]
    assert "centre-cropped to 8×8" in identities[0]["data_note"]
    ready = rp.prepare(model, data=val, normalize="mean=0.5,std=0.25", input_shape=(3, 8, 8))
    with torch.no_grad():
        right = model.eval()(ready.images).argmax(1) == ready.labels
    assert tables[0]["correct"][0] == int(right.sum())
    assert ready.image_set.fingerprint() == identities[0]["data_sha256"]


def test_responses_of_ones_own_network(val: str) -> None:
    given = ["--model", "own_net.nets:build", "--data", val, "--input", "3x8x8"]
    assert cli.main(["responses", *given, "--normalize", "none", "--out", "run"]) == 0
    assert set(pd.read_csv("run/table.csv")["arch"]) == {"own_net.nets:build@3x8x8"}


def test_a_plain_network_is_measured_by_its_layers(val: str, capsys) -> None:
    given = ["--model", "own_net.nets:plain", "--data", val, "--input", "3x8x8"]
    assert cli.main(["lesion", *given, "--normalize", "none", "--out", "run"]) == 0
    said = "own_net.nets:plain@3x8x8 has no residual blocks: its 3 layers are measured instead"
    assert capsys.readouterr().out.count(said) == 1
    assert (pd.read_csv("run/table.csv")["kind"] == "delete").sum() == 3
    assert cli.main(["describe", "--model", "own_net.nets:plain", "--input", "3×8×8"]) == 0
    assert said in capsys.readouterr().out
    message = refused(capsys, "paths", *given, "--normalize", "none", "--out", "other")
    assert "is a plain network" in message and not Path("other").exists()


def test_neither_blocks_nor_layers_are_refused_for_the_blocks(val: str, capsys) -> None:
    given = ["--model", "own_net.nets:Dense", "--data", val, "--input", "3x8x8"]
    message = refused(capsys, "lesion", *given, "--normalize", "none")
    assert "has no residual block: its parallel paths meet in cat" in message


def test_describe_takes_a_network_of_ones_own(capsys) -> None:
    assert cli.main(["describe", "--model", "own_net.nets:build", "--input", "3x8x8"]) == 0
    assert "3 blocks in 2 stages, images of 3×8×8, 5 classes" in capsys.readouterr().out
    assert "give --input" in refused(capsys, "describe", "--model", "own_net.nets:build")
    both = refused(capsys, "describe", "--model", "own_net.nets:build", "--arch", "resnet20")
    assert "one network at a time" in both


def test_a_named_network_on_images_of_another_size(val: str) -> None:
    Path("map.csv").write_text("a,9\nb,1\nc,2\nd,3\ne,0\n")
    ready = rp.prepare(
        "resnet20:width=4", weights="initial:0", data=val, normalize="none",
        input_shape=(3, 16, 16), preprocess="resize=20x18", class_map="map.csv",
    )  # fmt: skip
    assert ready.labels.tolist() == [9, 1, 2, 3, 0] * 4
    assert ready.chain.input_shape == (3, 16, 16)
    assert "resized to 20×18 (bilinear), centre-cropped to 16×16" in ready.image_set.note


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--data", "digits", "--input", "3x8x8"],
         "digits are 3×16×16 and --input says 3×8×8: give --input 3x16x16"),
        (["--data", "digits", "--input", "3x16x16", "--preprocess", "resize=9"],
         "the images of digits lie ready; it is for imagefolder:DIR, csv:FILE, "
         "webdataset:TAR, parquet:FILE and hf:DIR"),
        (["--data", "digits", "--input", "3x16x16", "--stream"], "only an imagefolder, a csv"),
        (["--data", "digits", "--input", "3x16x16", "--workers", "-1"],
         "--workers -1: at least 0 is needed"),
        (["--data", "imagefolder:val", "--input", "3x8x8", "--preprocess", "x"], "no preproc"),
        (["--data", "imagefolder:val", "--input", "3x8x8", "--class-map", "no.csv"],
         "there is no file no.csv to read a class map from"),
        (["--data", "imagefolder:val", "--input", "3x8x8", "--pretrained"],
         "has no pretrained weights"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(val: str, capsys, given, reason) -> None:
    arguments = ["--model", "own_net.nets:build", "--normalize", "none", "--out", "run", *given]
    assert reason in refused(capsys, "lesion", *arguments)
    assert not list(Path.cwd().glob("run*"))


def test_a_network_of_one_channel_takes_images_in_gray(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--model", "own_net.nets:Gray", "--data", "digits", "--normalize", "mean=0.3,std=0.4")
    assert cli.main(["lesion", *given, "--input", "1x16x16"]) == 0
    assert "898 images of digits (in gray)" in capsys.readouterr().out
    ready = rp.prepare("own_net.nets:Gray@1x16x16", data="digits", normalize="mean=0.3,std=0.4")
    digits = rp.data.read("digits")  # three equal channels
    x = (digits.pixels[:, :1].float() / 255 - 0.3) / 0.4
    with torch.no_grad():
        right = (ready.network.model(x).argmax(1) == digits.labels).sum().item()
    table = pd.read_csv("runs/lesion-own_net.nets-Gray-1x16x16-digits/table.csv")
    assert table["correct"].iloc[0] == right
    said = refused(capsys, "lesion", *given[:-1], "imagenet", "--input", "1x16x16")
    assert "--normalize imagenet has three numbers, and the images have one channel" in said


def test_a_network_of_two_channels_needs_a_loader() -> None:
    with pytest.raises(ProbeError, match="takes images of 2×16×16, and those of digits have 3"):
        rp.prepare("own_net.nets:two@2x16x16", data="digits", normalize="none")
