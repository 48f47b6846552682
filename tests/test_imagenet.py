"""Published weights by name, with their preprocessing, on folders of some of ImageNet's classes."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from toy_chains import TinyResNet, seeded

from resnet_probe import ProbeError, chain_of, cli, lesion, models
from resnet_probe.data.classes import imagenet_wnids
from resnet_probe.loading.networks import load_network
from resnet_probe.results.journal import Journal
from resnet_probe.studies.outcomes import answers

LABELS = {"n01440764": 0, "n02123045": 281}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's folder of downloaded weights, empty."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Two of each of two classes, in folders called by their WordNet ids."""
    draw, files = np.random.default_rng(0), []
    for number in range(4):
        files.append(tmp_path / "val" / list(LABELS)[number % 2] / f"{number}.jpg")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        values = draw.integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(values).resize((250 + number, 300)).save(files[-1])
    return files


def test_a_lesion_of_published_weights(
    cache: Path, photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    model = models.architecture("resnet18").build(seed=3).eval()
    with torch.no_grad():  # so that the logits of the photographs differ
        model.fc.weight.mul_(30)
    torch.save(model.state_dict(), cache / Path(weights.url).name)
    run = tmp_path / "run"
    given = ["--arch", "resnet18", "--pretrained", "--data", f"imagefolder:{tmp_path}/val"]
    assert cli.main(["lesion", *given, "--counts", "1", "--draws", "1", "--out", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "weights: torchvision IMAGENET1K_V1, known error 30.24 %" in shown
    with torch.no_grad():
        x = torch.stack([weights.transforms()(Image.open(file)) for file in photographs])
        ranks = model(x).argsort(1, descending=True)
    labels = torch.tensor([LABELS[file.parent.name] for file in photographs])
    places = (ranks == labels[:, None]).int().argmax(1)
    baseline = pd.read_csv(run / "table.csv").iloc[0]
    assert baseline["correct"] == int((places == 0).sum())
    assert baseline["top5_correct"] == int((places < 5).sum())
    identity = json.loads((run / "provenance.json").read_text())["identity"]
    assert identity["normalize"] == "imagenet"
    assert identity["data_note"] == (
        "stored as JPEG, shorter side resized to 256 (bilinear), centre-cropped to 224×224, "
        "2 of 1000 classes, by WordNet id"
    )


def test_the_preprocessing_belongs_to_the_weights(cache: Path) -> None:
    arch = models.architecture("regnet_y_400mf")
    for name, resize in (("IMAGENET1K_V1", 256), ("IMAGENET1K_V2", 232)):
        weights = torchvision.models.RegNet_Y_400MF_Weights[name]
        torch.save(arch.build(seed=0).state_dict(), cache / Path(weights.url).name)
        found = load_network("regnet_y_400mf", f"pretrained:{name}", None)
        assert found.source == f"torchvision {name}" and found.normalize == "imagenet"
        assert found.preprocess == f"resize={resize},crop=224x224,interpolation=bilinear"
        assert found.class_names[0] == "tench"


def test_a_transformer_is_built_for_the_size_of_its_weights(cache: Path) -> None:
    weights = torchvision.models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1
    with torch.device("meta"):
        from resnet_probe.models.pretrained import _built_for

        model = _built_for("vit_b_16", weights)
    assert model.image_size == 384


def test_names_of_other_libraries() -> None:
    plain = models.architecture("torchvision:vgg16")
    assert plain.family == "torchvision" and plain.input_shape == (3, 224, 224)
    assert models.architecture("vgg16").family == "vgg"
    assert models.architecture("efficientnet_b3").input_shape == (3, 300, 300)
    with pytest.raises(
        ProbeError, match=r"torchvision has no .* 'regnet_y'; did you mean regnet_y"
    ):
        models.architecture("torchvision:regnet_y")
    with pytest.raises(ProbeError, match='unknown architecture "regnet_y"'):
        models.architecture("regnet_y")
    with pytest.raises(ProbeError, match="the weights IMAGENET1K_FEATURES of vgg16 are without a"):
        plain.pretrained("IMAGENET1K_FEATURES")


# ---- timm


def test_a_network_of_timm_with_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm")
    arch = models.architecture("timm:resnet10t")
    assert (arch.family, arch.input_shape, arch.classes) == ("timm", (3, 176, 176), 1000)
    state = arch.build(seed=3).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    create, file = timm.create_model, {"file": str(tmp_path / "weights.pth")}
    monkeypatch.setattr(timm, "create_model", partial(create, pretrained_cfg_overlay=file))
    found = load_network("timm:resnet10t", "pretrained", None)
    assert found.source == "timm resnet10t.c3_in1k" and found.normalize == "imagenet"
    assert found.preprocess == "resize=201,crop=176x176,interpolation=bicubic"
    assert all(torch.equal(value, state[key]) for key, value in found.model.state_dict().items())
    ten = arch.build(10, seed=0)
    torch.save(ten.state_dict(), tmp_path / "ten.pth")
    assert load_network("timm:resnet10t", tmp_path / "ten.pth", None).model.num_classes == 10
    with pytest.raises(ProbeError, match="timm has no network 'resnet10x'; did you mean resnet10t"):
        models.architecture("timm:resnet10x")


def test_weights_of_timm_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")

    def offline(*given: object, **options: object) -> None:
        raise OSError("Name or service not known\nand more")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ProbeError, match=r"weights of timm:resnet26d .*\(Name or service not kno"):
        load_network("timm:resnet26d", "pretrained", None)


def test_without_timm_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ProbeError, match=r"needs the package timm, .* pip install timm"):
        models.architecture("timm:resnet26d")


# ---- top five


def test_top_five_are_those_of_a_sort() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 120, generator=draw)
    labels = torch.where(torch.arange(50) % 3 > 0, logits.argsort(1)[:, -4], logits.argmin(1))
    found = answers(logits[None], labels)
    ranks = np.argsort(np.argsort(-logits.numpy(), axis=1), axis=1)[np.arange(50), labels]
    assert found["sum.top5_correct"].tolist() == [(ranks < 5).sum()] == [33]
    assert np.array_equal((found["answer"][0] == labels).numpy(), ranks == 0)
    assert "sum.top5_correct" not in answers(logits[None, :, :99], labels % 99)


def test_top_five_are_kept_for_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_probe.studies.outcomes.KEEP_EVERY", 8)
    model = seeded(TinyResNet)
    model.head = seeded(lambda: torch.nn.Linear(8, 120))
    x = torch.randn(48, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = model.eval()(x).detach().argsort(1, descending=True)[:, 3]  # the fourth best
    chain = chain_of(model, x[:1])
    whole = lesion(chain, x, labels, batch=8).table
    assert whole["correct"][0] == 0 and whole["top5_correct"][0] == 48
    assert whole["top5_error_pct"][0] == 0 and whole["top5_delta_pct"][0] == 0
    expected = 100 - 100 * whole["top5_correct"] / 48
    assert np.allclose(whole["top5_error_pct"], expected)

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    journal = Journal(tmp_path / "run", {})
    with pytest.raises(KeyboardInterrupt):
        lesion(chain, x, labels, batch=8, journal=journal, progress=stop)
    assert journal.steps
    assert lesion(chain, x, labels, batch=8, journal=journal).table.equals(whole)


def test_the_wordnet_ids_are_part_of_the_package() -> None:
    assert len(imagenet_wnids()) == 1000
