"""Published weights: downloaded, read from a file, and as good as published."""

from __future__ import annotations

import io
import urllib.error
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from conftest import SHARED
from PIL import Image

from resnet_probe import models
from resnet_probe.errors import ProbeError
from resnet_probe.models import pretrained


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
        preset = weights.transforms()
        assert pretrained.normalize_spec(preset.mean, preset.std) == "imagenet"
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
