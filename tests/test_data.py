"""Data sets by name: pixels against independent recomputation, and every refusal."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import socket
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SHARED
from PIL import Image

from resnet_probe import data
from resnet_probe.data import ImageSet
from resnet_probe.data.named import half
from resnet_probe.errors import ProbeError

TEST_HALF = "1cd2c50495c4281e127188f5f57f2af0f9c60c0c98a4bf67f66fa11988050dde"
TRAIN_HALF = "5ef5d29b460b0c3f8f14f82f48108700a8793cb7e0b1ab52ac0546ba91070b42"


def small_set(**changes: object) -> ImageSet:
    pixels = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    options = {"images": pixels, "labels": torch.tensor([1, 0]), **changes}
    return ImageSet(name="small", split="test", class_names=("a", "b"), **options)


def noise(seed: int, height: int = 6, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def parquet(path: Path, images: list[bytes | None], labels: list[int], **options: str) -> str:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    column = pa.array([{"bytes": each, "path": "x"} for each in images], kind)
    names = [options.get("image", "img"), options.get("label", "label")]
    table = pa.table([column, pa.array(labels, pa.int64())], names=names)
    if "metadata" in options:
        table = table.replace_schema_metadata({"huggingface": options["metadata"]})
    pq.write_table(table, path)
    return f"parquet:{path}"


# ---- an image set


def test_fingerprint_is_the_hash_of_shape_pixels_and_labels() -> None:
    pixels = bytes(range(120))
    labels = struct.pack("<qq", 1, 0)
    expected = hashlib.sha256(b"(2, 3, 4, 5)" + pixels + labels).hexdigest()
    assert small_set().fingerprint() == expected
    strided = small_set().images.contiguous(memory_format=torch.channels_last)
    assert small_set(images=strided).fingerprint() == expected
    assert small_set(labels=torch.tensor([0, 1])).fingerprint() != expected


def test_take_gives_the_first_images() -> None:
    everything = small_set()
    assert torch.equal(everything.take(1).images, everything.images[:1])
    assert everything.take(1).labels.tolist() == [1]
    assert everything.take(None) is everything
    assert len(everything.take(99)) == 2
    with pytest.raises(ProbeError, match="a limit of 0 images"):
        everything.take(0)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": torch.zeros(2, 3, 4, 5)},
        {"images": torch.zeros(2, 4, 5, dtype=torch.uint8)},
        {"labels": torch.tensor([1])},
        {"labels": torch.tensor([1, 0], dtype=torch.int32)},
    ],
)
def test_other_shapes_and_types_are_refused(changes: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ProbeError, match=r"of small are torch\.\w+ of shape"):
        small_set(**changes)


# ---- digits


def test_the_halves_hold_every_digit_once_and_are_stratified() -> None:
    from sklearn.datasets import load_digits

    labels = load_digits().target
    train, test = half(labels, "train"), half(labels, "test")
    assert sorted([*train, *test]) == list(range(1797))
    counts = [np.bincount(labels[rows], minlength=10) for rows in (train, test)]
    assert np.abs(counts[0] - counts[1]).max() == 1
    assert len(np.unique(labels[test[:50]])) == 10


@pytest.mark.parametrize("split", ["train", "test"])
def test_digits_are_upsampled_as_documented(split: str) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rows = half(bunch.target, split)
    # Twice the size, pixel centres aligned: 3/4 of the nearer pixel and 1/4 of the next one.
    up = np.zeros((16, 8))
    for pixel in range(8):
        for place, weight in ((2 * pixel, 0.75), (2 * pixel + 1, 0.75)):
            up[place, pixel] += weight
        up[max(2 * pixel - 1, 0), pixel] += 0.25
        up[min(2 * pixel + 2, 15), pixel] += 0.25
    expected = np.rint(up @ bunch.images[rows] @ up.T * 255 / 16)
    found = data.load("digits", split=split)
    assert found.images.shape == (len(rows), 3, 16, 16)
    for channel in range(3):
        assert np.array_equal(found.images[:, channel].numpy(), expected)
    assert np.array_equal(found.labels.numpy(), bunch.target[rows])


def test_the_halves_are_the_same_forever() -> None:
    assert data.load("digits").fingerprint() == TEST_HALF
    assert data.load("digits", split="train").fingerprint() == TRAIN_HALF


# ---- parquet


def test_parquet_gives_the_stored_pixels(tmp_path: Path) -> None:
    pixels = [noise(seed) for seed in range(3)]
    spec = parquet(tmp_path / "x.parquet", [encoded(each) for each in pixels], [4, 0, 2])
    found = data.load(spec)
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), np.stack(pixels))
    assert found.labels.tolist() == [4, 0, 2]
    assert found.class_names == ("0", "1", "2", "3", "4")
    assert (found.name, found.note) == (spec, "stored as PNG")


def test_parquet_says_how_its_images_are_stored(tmp_path: Path) -> None:
    images = [encoded(noise(0)), encoded(noise(1), "JPEG")]
    spec = parquet(tmp_path / "x.parquet", images, [0, 1], image="image")
    assert data.load(spec).note == "stored as JPEG and PNG"
    assert data.load(spec, limit=1).note == "stored as PNG"


def test_parquet_reads_gray_images_and_the_names_of_classes(tmp_path: Path) -> None:
    names = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    gray = noise(0)[:, :, 0]
    spec = parquet(tmp_path / "x.parquet", [encoded(gray)], [0], metadata=json.dumps(names))
    found = data.load(spec)
    assert found.class_names == ("cat", "dog")
    assert all(np.array_equal(channel.numpy(), gray) for channel in found.images[0])


def test_parquet_reads_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_probe.data.parquet.BATCH", 2)
    images = [encoded(noise(seed)) for seed in range(5)]
    spec = parquet(tmp_path / "x.parquet", images, [0, 1, 2, 3, 4])
    assert data.load(spec).labels.tolist() == [0, 1, 2, 3, 4]
    assert data.load(spec, limit=3).labels.tolist() == [0, 1, 2]


def test_parquet_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    good, path = encoded(noise(0)), tmp_path / "x.parquet"

    def refused(message: str, spec: str) -> None:
        with pytest.raises(ProbeError, match=message):
            data.load(spec)

    refused("there is no file .*none.parquet", f"parquet:{tmp_path}/none.parquet")
    refused("there is no parquet file in", f"parquet:{tmp_path}")
    refused("holds no rows", parquet(path, [], []))
    refused("row 2 of .* has no image", parquet(path, [good, None], [0, 0]))
    refused("row 2 of .* cannot be decoded", parquet(path, [good, good[:60]], [0, 0]))
    refused("row 1 of .* cannot be decoded", parquet(path, [b"no image"], [0]))
    sizes = "image 2 is 6×7 .* where the first is 6×6"
    refused(sizes, parquet(path, [good, encoded(noise(0, 6, 7))], [0, 0]))
    path.write_bytes(b"PAR1 and nothing else")
    refused("is not a parquet file", f"parquet:{path}")


@pytest.mark.skipif(not (SHARED / "cifar10").exists(), reason="../shared/cifar10 is not here")
def test_the_encodings_of_cifar10_are_told_apart() -> None:
    file = "test-00000-of-00001.parquet"
    lossless = data.load(f"parquet:{SHARED}/cifar10-lossless/{file}")
    assert (tuple(lossless.images.shape), lossless.note) == ((846, 3, 32, 32), "stored as PNG")
    assert data.load(f"parquet:{SHARED}/cifar10/{file}", limit=10).note == "stored as JPEG"


# ---- folders


def image_folder(folder: Path, classes: dict[str, list[np.ndarray]]) -> str:
    for name, images in classes.items():
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return f"imagefolder:{folder}"


def test_a_folder_gives_its_classes_in_turn(tmp_path: Path) -> None:
    dogs, cats, ants = [noise(seed) for seed in range(5)], [noise(9)], [noise(10)]
    spec = image_folder(tmp_path, {"dog": dogs, "ant": ants, "cat": cats})
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    found = data.load(spec)
    assert found.class_names == ("ant", "cat", "dog")
    assert found.labels.tolist() == [0, 1, 2, 2, 2, 2, 2]
    expected = np.stack([*ants, *cats, *dogs])
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), expected)
    assert found.note == "stored as PNG"
    assert data.load(spec, limit=2).labels.tolist() == [0, 1]


def test_a_folder_is_cropped_as_imagenet_is_evaluated(tmp_path: Path) -> None:
    from torchvision.models import ResNet50_Weights

    pixels = [noise(0, 300, 260), noise(1, 200, 333)]
    found = data.load(image_folder(tmp_path, {"a": pixels}), size=(224, 224))
    published = ResNet50_Weights.IMAGENET1K_V1.transforms(antialias=True)
    expected = torch.stack([published(Image.fromarray(each)) for each in pixels])
    normalized = data.normalization("imagenet").apply(found.images)
    torch.testing.assert_close(normalized, expected, rtol=0, atol=1e-5)
    assert found.note == (
        "stored as PNG, shorter side resized to 256 (bilinear), centre-cropped to 224×224"
    )


def test_an_image_of_the_right_size_is_left_alone(tmp_path: Path) -> None:
    spec = image_folder(tmp_path, {"a": [noise(0, 6, 8)]})
    found = data.load(spec, size=(6, 8))
    assert np.array_equal(found.images[0].permute(1, 2, 0).numpy(), noise(0, 6, 8))
    assert found.note == "stored as PNG"


def test_a_folder_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="there is no folder"):
        data.load(f"imagefolder:{tmp_path}/none")
    with pytest.raises(ProbeError, match="has no subfolders"):
        data.load(f"imagefolder:{tmp_path}")
    spec = image_folder(tmp_path, {"a": [noise(0), noise(0, 6, 7)]})
    with pytest.raises(ProbeError, match=r"6×7 .* where the first is 6×6: give a size"):
        data.load(spec)
    (tmp_path / "a" / "0.png").write_bytes(b"no image")
    with pytest.raises(ProbeError, match=r"0\.png cannot be decoded"):
        data.load(spec)
    (tmp_path / "b").mkdir()
    with pytest.raises(ProbeError, match="b holds no images"):
        data.load(spec)


# ---- sets that torchvision downloads


def test_cifar10_is_read_from_its_published_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)

    def written(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    batch = {"data": pixels.reshape(2, -1), "labels": [1, 0]}
    names = {"label_names": ["plane", "car"]}
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", written("test_batch", batch)]])
    monkeypatch.setattr(CIFAR10, "train_list", [])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": written("batches.meta", names)})
    found = data.load("cifar10", root=tmp_path)
    assert np.array_equal(found.images.numpy(), pixels)
    assert (found.labels.tolist(), found.class_names) == ([1, 0], ("plane", "car"))


def test_fashion_mnist_gets_three_equal_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import FashionMNIST

    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
    contents = {
        "images-idx3": struct.pack(">4I", 0x803, 2, 28, 28) + pixels.tobytes(),
        "labels-idx1": struct.pack(">2I", 0x801, 2) + bytes([9, 3]),
    }
    resources = []
    for part in ("train", "t10k"):
        for kind, content in contents.items():
            packed = folder / f"{part}-{kind}-ubyte.gz"
            packed.write_bytes(gzip.compress(content))
            resources.append((packed.name, hashlib.md5(packed.read_bytes()).hexdigest()))
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    found = data.load("fashion_mnist", root=tmp_path)
    assert all(np.array_equal(found.images[:, channel], pixels) for channel in range(3))
    assert found.labels.tolist() == [9, 3]
    assert found.class_names[9] == "Ankle boot"


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist"])
def test_without_a_network_it_says_where_the_files_go(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: object, **options: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(ProbeError) as refusal:
        data.load(name, root=tmp_path / "here")
    message = str(refusal.value)
    assert f"{name} is not in {tmp_path / 'here'} and could not be downloaded" in message
    assert "Name or service not known" in message
    assert ".gz" in message and "\n" not in message
    assert socket.getdefaulttimeout() is None


def test_a_data_root_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProbeError, match=r"cifar10 is not in .*file/root"):
        data.load("cifar10", root=tmp_path / "file" / "root")


# ---- names


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", r"no data set 'digit': there are digits, cifar10, .*; did you mean digits\?"),
        ("cifar", r"did you mean cifar10 or cifar100\?"),
        ("digits:3", "no data set 'digits:3'"),
        ("parquet:", "names no FILE: give parquet:FILE"),
        ("imagefolder", "names no DIR: give imagefolder:DIR"),
    ],
)
def test_unknown_names_are_refused(spec: str, message: str) -> None:
    for function in (data.load, data.slug):
        with pytest.raises(ProbeError, match=message):
            function(spec)


def test_only_two_splits() -> None:
    with pytest.raises(ProbeError, match="no split 'validation': give train or test"):
        data.load("digits", split="validation")


def test_a_limit_leaves_at_least_one_image(tmp_path: Path) -> None:
    for spec in ("digits", image_folder(tmp_path, {"a": [noise(0), noise(1)]})):
        with pytest.raises(ProbeError, match="a limit of -1 images"):
            data.load(spec, limit=-1)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("digits", "digits"),
        ("parquet:/x/cifar10-lossless/test-00000-of-00001.parquet", "cifar10-lossless-test"),
        ("parquet:/x/a b/some=file.parquet", "a-b-some-file"),
        ("imagefolder:/imagenet/val/", "imagenet-val"),
        ("imagefolder:/", "imagefolder"),
    ],
)
def test_slugs_name_folders(spec: str, expected: str) -> None:
    assert data.slug(spec) == expected


# ---- normalization


def test_normalization_is_the_documented_formula() -> None:
    spec = "mean=0.1,0.2,0.3,std=0.5,0.25,2"
    images = torch.arange(360).remainder(256).to(torch.uint8).view(4, 3, 5, 6)
    found = data.normalization(spec).apply(images)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 2])
    expected = (images.permute(0, 2, 3, 1).numpy() / 255 - mean) / std
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(data.normalization(spec).apply(images / 255), found)


def test_normalization_by_name() -> None:
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert torch.equal(data.normalization("none").apply(images), torch.ones(1, 3, 2, 2))
    assert data.normalization("imagenet").std == (0.229, 0.224, 0.225)
    with pytest.raises(ProbeError, match=r"shape \(3, 2, 2\) cannot be normalized"):
        data.normalization("none").apply(images[0])


@pytest.mark.parametrize("spec", ["mean=0.5,std=0.25", "mean=0.1,0.2,0.3,std=1,2,3", "cifar10"])
def test_a_normalization_is_called_what_reads_it_back(spec: str) -> None:
    assert data.normalization(spec).name == spec
    assert len(data.normalization(spec).mean) == 3


@pytest.mark.parametrize(
    "spec", ["imagnet", "mean=1,2,std=1", "mean=0,std=0", "mean=0.5", "mean=0,std=-1", "mean=,std="]
)
def test_other_normalizations_are_refused(spec: str) -> None:
    with pytest.raises(ProbeError, match="is not a normalization: give imagenet, cifar10, none or"):
        data.normalization(spec)


def test_measure_is_the_mean_over_all_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_probe.data.image_set.PIECE", 3)
    images = torch.from_numpy(np.stack([noise(seed) for seed in range(7)])).permute(0, 3, 1, 2)
    images[:, 2] = 51
    found = data.measure(small_set(images=images, labels=torch.zeros(7, dtype=torch.int64)))
    values = images.numpy() / 255
    np.testing.assert_allclose(found.mean, values.mean(axis=(0, 2, 3)), atol=5e-5)
    np.testing.assert_allclose(found.std[:2], values.std(axis=(0, 2, 3))[:2], atol=5e-5)
    assert (found.mean[2], found.std[2]) == (0.2, 1.0)
    assert data.normalization(found.name) == found
