"""Archives of webdataset, and folders of the Hugging Face `datasets` library."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_data_layouts import encoded, noise, shown
from toy_chains import TinyResNet, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, data


def tar(path: Path, members: dict[str, Any]) -> Path:
    """An archive of these files: texts as they are, numbers as the image of that seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, value in members.items():
            content = encoded(value) if isinstance(value, int) else str(value).encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("stream", [False, True])
def test_shards_in_their_order(tmp_path: Path, stream: bool) -> None:
    tar(tmp_path / "a-000.tar", {"0.png": 0, "0.cls": "2", "1.cls": "0\n", "1.png": 1})
    tar(tmp_path / "a-001.tar", {
        "__MACOSX/._2.png": "left out", "d/2.PNG": 2, "d/2.json": '{"label": 1, "text": "x"}',
        "d/2.txt": "a caption", "README": "no sample", "x.y/3.seg.png": "beside", "x.y/3.cls": "1",
        "x.y/3.png": 3,
    })  # fmt: skip
    found = data.read(f"webdataset:{tmp_path}/a-{{000..001}}.tar", stream=stream)
    assert found.labels.tolist() == [2, 0, 1, 1] and found.class_names == ("0", "1", "2")
    assert isinstance(found.images, torch.Tensor) != stream and len(found.files) == 4
    assert np.array_equal(shown(found), np.stack([noise(seed) for seed in range(4)]))
    for other in (f"{tmp_path}/a-*.tar", f"{tmp_path}", f"{tmp_path}/a-00{{0,1}}.tar"):
        assert data.load(f"webdataset:{other}").fingerprint() == found.fingerprint()
    assert data.load(f"webdataset:{tmp_path}", limit=3).labels.tolist() == [2, 0, 1]


def test_names_of_classes_and_splits(tmp_path: Path) -> None:
    for seed, name in enumerate(["train-0", "val-0", "val-1"]):
        tar(tmp_path / f"{name}.tar", {f"{seed}.png": seed, f"{seed}.cls": ["b", "a", "b"][seed]})
    found = data.load(f"webdataset:{tmp_path}")
    assert found.labels.tolist() == [0, 1] and found.class_names == ("a", "b")
    assert data.load(f"webdataset:{tmp_path}", split="train").class_names == ("b",)


GOOD = {"0.png": 0, "0.cls": "0"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"0.png": 0}, r"sample 0 of .*x\.tar has no class: expected 0\.cls"),
        ({"0.png": 0, "0.json": '{"text": 1}'}, "has no class"),
        ({"0.png": 0, "0.json": "{"}, "has no class"),
        ({"0.cls": "0"}, r"sample 0 of .*x\.tar has no image"),
        ({"0.png": 0, "0.jpg": 1, "0.cls": "0"}, "has 2 images: expected one"),
        ({"0.png": "no image", "0.cls": "0"}, r"0\.png in .*x\.tar cannot be decoded"),
        ({"README.md": "x"}, "README of .* has no image|holds no images"),
        ({}, "holds no images"),
        ({"0.png": 0, "0.cls": "9" * 9}, "below 1,000,000"),
        ({"0.png": 0, "0.cls": 1}, r"0\.cls in .* holds no number or name of a class"),
    ],
)
def test_archives_without_images_and_classes(tmp_path: Path, members: Any, said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        data.load(f"webdataset:{tar(tmp_path / 'x.tar', members)}")


@pytest.mark.parametrize("kept", [0, 1, 700, 1500])
def test_an_archive_that_is_cut_short(tmp_path: Path, kept: int) -> None:
    path = tar(tmp_path / "x.tar", {"0.cls": "0", "0.png": 0, "1.png": 1})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ProbeError, match=r"x\.tar"):
        data.load(f"webdataset:{path}")


def test_what_is_no_archive(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", GOOD)
    with tarfile.open(tmp_path / "y.tar", "w:gz") as archive:
        archive.add(path)
    (tmp_path / "page.tar").write_text("<!doctype html>")
    for name, said in (
        ("y.tar", "gzip archive: unpack it first"), ("page.tar", "an HTML page"),
        ("none.tar", "there is no file"), ("n*.tar", "no tar file in"),
        ("{0..999999999999}.tar", "too many archives"), ("{0..999}{0..999}.tar", "1,000,000 arch"),
        ("{5..1}.tar", "0 archives"),
    ):  # fmt: skip
        with pytest.raises(ProbeError, match=said):
            data.load(f"webdataset:{tmp_path / name}")


# ---- Hugging Face datasets


FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


def saved(folder: Path, seeds: list[int], *, shards: int = 1, **state: Any) -> Path:
    """What `Dataset.save_to_disk` writes: arrow streams, and two records."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{n:05}-of-{shards:05}.arrow" for n in range(shards)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for name, some in zip(names, np.array_split(seeds, shards), strict=True):
        images = pa.array([{"bytes": encoded(int(s)), "path": None} for s in some], kind)
        table = pa.table({"image": images, "label": pa.array([int(s) % 2 for s in some])})
        with (
            pa.OSFile(str(folder / name), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(table, max_chunksize=2)
    listed = {"_data_files": [{"filename": name} for name in names], **state}
    (folder / "state.json").write_text(json.dumps(listed))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def test_a_saved_data_set(tmp_path: Path) -> None:
    found = data.load(f"hf:{saved(tmp_path / 'd', [0, 1, 2, 3, 4], shards=2)}")
    assert found.labels.tolist() == [0, 1, 0, 1, 0] and found.class_names == ("cat", "dog")
    assert np.array_equal(shown(found), np.stack([noise(seed) for seed in range(5)]))
    assert len(data.load(f"hf:{tmp_path / 'd'}", limit=3)) == 3
    assert found.note == "stored as PNG" and data.slug(f"hf:{tmp_path / 'd'}").endswith("-d")


def test_saved_splits(tmp_path: Path) -> None:
    for name, seeds in (("train", [0, 1]), ("validation", [2])):
        saved(tmp_path / "d" / name, seeds)
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    whole = f"hf:{tmp_path / 'd'}"
    assert len(data.load(whole)) == 1 and len(data.load(whole, split="train")) == 2
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["extra"]}')
    with pytest.raises(ProbeError, match=r"has the splits extra: expected test or validation"):
        data.load(whole)


def test_the_layout_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, seeds in (("train-00000-of-00001", [0]), ("test-00000-of-00001", [1, 2])):
        made = pa.table({"image": [{"bytes": encoded(s)} for s in seeds], "label": seeds})
        pq.write_table(made, tmp_path / "data" / f"{name}.parquet")
    found = data.load(f"hf:{tmp_path}")
    assert found.labels.tolist() == [1, 2]
    assert found.fingerprint() == data.load(f"parquet:{tmp_path}").fingerprint()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("state.json", "{", "is not JSON"),
        ("state.json", "[]", "is no record"),
        ("state.json", "{}", "lists no arrow files"),
        ("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}', "lists no arrow files"),
        ("state.json", '{"_data_files": [{"filename": "x.arrow"}]}', "there is no file"),
        ("state.json", '{"_data_files": [1], "_indices_data_files": [2]}', r"flatten_indices\(\)"),
        ("data-00000-of-00001.arrow", "no arrow", r"is not an arrow file"),
        ("data-00000-of-00001.arrow", "", "is not an arrow file"),
    ],
)
def test_saved_data_sets_that_are_damaged(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (saved(tmp_path / "d", [0]) / name).write_text(content)
    with pytest.raises(ProbeError, match=said):
        data.load(f"hf:{tmp_path / 'd'}")


def test_folders_that_hold_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="no parquet file in"):
        data.load(f"hf:{tmp_path}")
    with pytest.raises(ProbeError, match="there is no folder"):
        data.load(f"hf:{tmp_path / 'none'}")
    path = saved(tmp_path / "d", [0, 1, 2]) / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ProbeError, match="cannot be read"):
        data.load(f"hf:{tmp_path / 'd'}")


def test_a_study_on_both(tmp_path: Path) -> None:
    members = {
        f"{n}.{end}": n if end == "png" else str(n % 2) for n in range(4) for end in ("png", "cls")
    }
    spec = f"webdataset:{tar(tmp_path / 'x.tar', members)}"
    model, how = seeded(TinyResNet), {"normalize": "none", "preprocess": "none"}
    one = rp.lesion(rp.prepare(model, data=spec, stream=True, workers=0, **how)).table
    two = rp.lesion(
        rp.prepare(model, data=f"hf:{saved(tmp_path / 'd', [0, 1, 2, 3])}", **how)
    ).table
    assert one.equals(two)
