"""Data as people have it: nested folders, lists, archives of arrays, parts, and CIFAR's forms."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from toy_chains import TinyResNet, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, data
from resnet_probe.data import cifar


def noise(seed: int, side: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def encoded(seed: int, side: int = 6) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(seed, side)).save(buffer, "PNG")
    return buffer.getvalue()


def shown(found: data.ImageSet) -> np.ndarray:
    return torch.cat(list(found.pieces())).permute(0, 2, 3, 1).numpy()


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(seed))
    return path


# ---- folders


def test_images_anywhere_below_a_class(tmp_path: Path) -> None:
    for seed, name in enumerate(["a/1.png", "a/sub/0.png", "a/sub/deeper/2.png", "b/3.png"]):
        picture(tmp_path / name, seed)
    found = data.load(f"imagefolder:{tmp_path}")
    assert found.labels.tolist() == [0, 1, 0, 0]
    assert np.array_equal(shown(found), np.stack([noise(seed) for seed in (0, 3, 1, 2)]))


@pytest.mark.parametrize(
    "stray",
    ["a/._0.png", "__MACOSX/a/._0.png", "__MACOSX/0.png", "a/__MACOSX/0.png", ".git/0.png",
     "a/.hidden/0.png", "a/@eaDir/0.png", "a/.DS_Store", "a/Thumbs.db", ".DS_Store"],
)  # fmt: skip
def test_what_systems_leave_is_left_out(tmp_path: Path, stray: str) -> None:
    for name in ("a/0.png", "b/0.png"):
        picture(tmp_path / name, 0)
    (tmp_path / stray).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / stray).write_bytes(b"\0\5\x16\7")
    found = data.load(f"imagefolder:{tmp_path}")
    assert len(found) == 2 and found.class_names == ("a", "b")


def test_a_link_back_to_its_own_folder_is_not_followed_forever(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "0.png", 0)
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert data.load(f"imagefolder:{tmp_path}").labels.tolist() == [0, 1]


# ---- a list of files


@pytest.mark.parametrize(
    "lines",
    [
        "x/0.png,dog\nx/1.png,cat\nx/2.png,dog",
        "path,label\nx/0.png,dog\nx/1.png,cat\n\nx/2.png,dog\n",
        "\ufeffclass,width,file\ndog,6,x/0.png\ncat,6,x/1.png\ndog,6,x/2.png",
        'filename , label \n"x/0.png",dog\nx/1.png, cat\nx/2.png,dog',
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_list_of_paths_and_names(tmp_path: Path, lines: str, stream: bool) -> None:
    for seed in range(3):
        picture(tmp_path / "x" / f"{seed}.png", seed)
    (tmp_path / "test.csv").write_text(lines, encoding="utf-8")
    spec = f"csv:{tmp_path / 'test.csv'}"
    found = data.read(spec, stream=stream, workers=0)
    assert found.class_names == ("cat", "dog") and found.labels.tolist() == [1, 0, 1]
    assert np.array_equal(shown(found), np.stack([noise(seed) for seed in range(3)]))
    assert data.read(spec, limit=2).labels.tolist() == [1, 0]
    assert data.slug(spec) == f"{tmp_path.name}-test"


def test_a_list_with_the_numbers_of_classes_needs_no_map(tmp_path: Path) -> None:
    for seed in range(3):
        picture(tmp_path / f"{seed}.png", seed)
    (tmp_path / "test.csv").write_text("".join(f"{n}.png,{n + 2}\n" for n in range(3)))
    spec = f"csv:{tmp_path / 'test.csv'}"
    ready = rp.prepare(seeded(TinyResNet), data=spec, normalize="none", input_shape=(3, 6, 6))
    assert ready.labels.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no images"),
        ("path,label\n", "lists no images"),
        ("0.png\n", "line 1 of .* has no path and label: 0.png"),
        ("0.png,1\n1.png,\n", "line 2 of"),
        ("0.png,1000000\n", "has a label 1,000,000: labels are the numbers of classes, below"),
        ("nowhere.png,1\n", "there is no file .*nowhere.png to read an image from"),
        ("a" * 200_000 + ",1\n", "cannot be read as a list of images .field larger than"),
    ],
)
def test_lists_that_name_no_images(tmp_path: Path, text: str, said: str) -> None:
    picture(tmp_path / "0.png", 0)
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ProbeError, match=said):
        data.load(f"csv:{tmp_path / 'x.csv'}")


# ---- arrays


@pytest.mark.parametrize("form", ["n h w", "n h w 1", "n h w 3", "n 3 h w", "n 1 h w"])
@pytest.mark.parametrize("names", ["{}", "{}_test", "test_{}", "val_{}"])
def test_arrays_of_every_form(tmp_path: Path, form: str, names: str) -> None:
    pixels = np.stack([noise(seed) for seed in range(4)])
    gray = pixels[..., :1]
    written = {
        "n h w": gray[..., 0],
        "n h w 1": gray,
        "n h w 3": pixels,
        "n 3 h w": pixels.transpose(0, 3, 1, 2),
        "n 1 h w": gray.transpose(0, 3, 1, 2),
    }[form]
    labels = np.array([[3], [0], [1], [1]], dtype=np.uint64)
    arrays = {names.format("images"): written, names.format("labels"): labels,
              "train_images": written[:1], "train_labels": labels[:1]}  # fmt: skip
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    found = data.load(f"npz:{tmp_path / 'x.npz'}")
    assert np.array_equal(shown(found), pixels if "3" in form else gray.repeat(3, axis=3))
    assert found.labels.tolist() == [3, 0, 1, 1] and found.class_names == tuple("0123")
    assert len(data.load(f"npz:{tmp_path / 'x.npz'}", split="train")) == 1


# ---- parquet


def table(path: Path, **columns: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return f"parquet:{path}"


@pytest.mark.parametrize(
    "columns",
    [
        {"picture": "struct", "kind": [2, 0, 1]},
        {"pixels": "bytes", "digit": pa.array([2, 0, 1], pa.uint8())},
        {"image": "struct", "thumbnail": "bytes", "label": [2, 0, 1], "width": [6, 6, 6]},
        {"img": "struct", "coarse_label": [0, 0, 0], "fine_label": [2, 0, 1]},
        {"image": "bytes", "label": ["dog", "ant", "cat"], "id": [7, 8, 9]},
    ],
)
def test_columns_of_any_name(tmp_path: Path, columns: dict[str, Any]) -> None:
    bytes_ = [encoded(seed) for seed in range(3)]
    made = {"struct": [{"bytes": each, "path": None} for each in bytes_], "bytes": bytes_}
    written = {key: made[value] if isinstance(value, str) else value
               for key, value in columns.items()}  # fmt: skip
    found = data.load(table(tmp_path / "x.parquet", **written))
    assert found.labels.tolist() == [2, 0, 1]
    assert np.array_equal(shown(found), np.stack([noise(seed) for seed in range(3)]))
    words = isinstance(columns.get("label"), list) and isinstance(columns["label"][0], str)
    assert found.class_names == (("ant", "cat", "dog") if words else ("0", "1", "2"))


@pytest.mark.parametrize(
    "columns", [{"a": [b"x"], "b": [b"x"], "label": [1]}, {"img": [b"x"], "a": [1], "b": [1]},
                {"img": [b"x"]}, {"label": [1]}, {"img": [1.5], "label": [1]}],
)  # fmt: skip
def test_columns_that_cannot_be_told_apart_are_listed(tmp_path: Path, columns: Any) -> None:
    with pytest.raises(ProbeError, match=f"has the columns {next(iter(columns))} .*expected one"):
        data.load(table(tmp_path / "x.parquet", **columns))


def test_the_parts_of_a_set_are_one_set(tmp_path: Path) -> None:
    for name, seeds in (("train-00000-of-00001", [9]), ("test-00000-of-00002", [0, 1]),
                        ("test-00001-of-00002", [2])):  # fmt: skip
        table(tmp_path / "data" / f"{name}.parquet", img=[encoded(s) for s in seeds], label=seeds)
    whole = table(tmp_path / "whole" / "x.parquet", img=[encoded(s) for s in range(3)],
                  label=[0, 1, 2])  # fmt: skip
    folder = f"parquet:{tmp_path / 'data'}"
    assert data.load(folder).fingerprint() == data.load(whole).fingerprint()
    assert data.load(f"{folder}/test-*.parquet").fingerprint() == data.load(whole).fingerprint()
    assert data.load(folder, limit=2).labels.tolist() == [0, 1]
    assert data.load(folder, split="train").labels.tolist() == [9]
    with pytest.raises(ProbeError, match=r"no parquet file in .*none-"):
        data.load(f"{folder}/none-*.parquet")


# ---- CIFAR


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
NAMES = [f"class {n}" for n in range(10)]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of batches, which torchvision takes for the published ones; nothing elsewhere."""
    from torchvision.datasets import CIFAR10

    def written(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    folder = tmp_path / "made" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    batches = [["data_batch_1", PIXELS[:2], [1, 0]], ["data_batch_2", PIXELS[2:4], [5, 9]],
               ["test_batch", PIXELS[4:], [7]]]  # fmt: skip
    sums = [[name, written(name, {"data": pixels.reshape(len(pixels), -1), "labels": labels})]
            for name, pixels, labels in batches]  # fmt: skip
    monkeypatch.setattr(CIFAR10, "train_list", sums[:2])
    monkeypatch.setattr(CIFAR10, "test_list", sums[2:])
    meta = {**CIFAR10.meta, "md5": written("batches.meta", {"label_names": NAMES})}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr(cifar, "usual_places", lambda: [tmp_path / "usual"])
    return folder


def archived(folder: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


def in_parquet(folder: Path) -> Path:
    for split, rows, labels in (("train", range(4), [1, 0, 5, 9]), ("test", [4], [7])):
        bytes_ = []
        for row in rows:
            buffer = io.BytesIO()
            Image.fromarray(PIXELS[row].transpose(1, 2, 0)).save(buffer, "PNG")
            bytes_.append({"bytes": buffer.getvalue(), "path": None})
        names = {"info": {"features": {"label": {"names": NAMES}}}}
        made = pa.table({"img": bytes_, "label": labels})
        made = made.replace_schema_metadata({"huggingface": json.dumps(names)})
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(made, folder / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize(
    "form", ["batches", "their folder", "renamed", "archive", "its folder", "Keras", "parquet",
             "in data", "in plain_text", "by name", "hub", "hub by its owner", "one file"],
)  # fmt: skip
@pytest.mark.parametrize("asked", [True, False])
def test_cifar10_in_every_form(tmp_path: Path, published: Path, form: str, asked: bool) -> None:
    base, usual = tmp_path / "made", tmp_path / "usual"
    snapshot = Path("snapshots/0123/plain_text")
    root = {
        "batches": lambda: published,
        "their folder": lambda: base,
        "renamed": lambda: Path(shutil.copytree(published, base / "cifar10")).parent,
        "archive": lambda: archived(published, base / "cifar-10-python.tar.gz"),
        "its folder": lambda: archived(published, tmp_path / "t/cifar-10-python.tar.gz").parent,
        "Keras": lambda: archived(published, tmp_path / "k/cifar-10-batches-py.tar.gz").parent,
        "parquet": lambda: in_parquet(tmp_path / "p"),
        "in data": lambda: in_parquet(tmp_path / "p" / "data").parent,
        "in plain_text": lambda: in_parquet(tmp_path / "p" / "plain_text").parent,
        "by name": lambda: in_parquet(tmp_path / "p" / "cifar10").parent,
        "hub": lambda: in_parquet(tmp_path / "h/datasets--cifar10" / snapshot).parents[3],
        "hub by its owner": lambda: in_parquet(
            tmp_path / "h/datasets--uoft-cs--cifar10" / snapshot
        ).parents[3],
        "one file": lambda: in_parquet(tmp_path / "p") / "test-00000-of-00001.parquet",
    }[form]()
    if not asked:
        if root.is_file():
            pytest.skip("a place is a folder")
        shutil.copytree(root, usual)
    found = data.load("cifar10", root=root if asked else None)
    assert (found.name, found.class_names) == ("cifar10", tuple(NAMES))
    assert np.array_equal(torch.cat(list(found.pieces())).numpy(), PIXELS[4:])
    assert found.labels.tolist() == [7]
    if form != "one file":
        train = data.load("cifar10", split="train", root=root if asked else None, limit=3)
        assert train.labels.tolist() == [1, 0, 5]


def test_batches_that_are_not_the_published_ones_are_not_unpickled(
    tmp_path: Path, published: Path
) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (tmp_path / "it-ran").mkdir, ()

    (published / "test_batch").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(ProbeError, match=r"test_batch in .* is not the published one"):
        data.load("cifar10", root=published.parent)
    assert not (tmp_path / "it-ran").exists()
    (published / "batches.meta").unlink()
    with pytest.raises(ProbeError, match=r"lacks batches.meta"):
        data.load("cifar10", split="train", root=published)


def test_an_archive_of_something_else(tmp_path: Path, published: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(b"\x1f\x8bno archive")
    with pytest.raises(ProbeError, match="is not the archive of cifar10"):
        data.load("cifar10", root=path)
    path = archived(tmp_path / "made", tmp_path / "t" / "cifar-10-python.tar.gz")
    with pytest.raises(ProbeError, match="lacks test_batch"):
        data.load("cifar10", root=path)
    (tmp_path / "x.txt").write_text("nothing")
    with pytest.raises(ProbeError, match=r"x\.txt holds no cifar10: get cifar-10-python"):
        data.load("cifar10", root=tmp_path / "x.txt")
