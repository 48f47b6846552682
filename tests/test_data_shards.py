"""Archives of webdataset, and folders of the Hugging Face `datasets` library."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_data_layouts import encoded, noise, picture, shown, table
from toy_chains import TinyResNet, seeded

import resnet_probe as rp
from resnet_probe import ProbeError, data
from resnet_probe.runs.job import announcement


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
    (tmp_path / "map.csv").write_text("cat,0\ndog,1\n")
    one = rp.lesion(rp.prepare(model, data=spec, stream=True, workers=0, **how)).table
    two = rp.lesion(
        rp.prepare(
            model, data=f"hf:{saved(tmp_path / 'd', [0, 1, 2, 3])}",
            class_map=tmp_path / "map.csv", **how,
        )
    ).table  # fmt: skip
    assert one.equals(two)


# ---- which class a number is, whatever the first images are of


def stream(folder: Path, labels: Any, **info: Any) -> str:
    """As the `datasets` library saves a set, in batches of two rows."""
    folder.mkdir()
    made = pa.table({"image": [encoded(seed) for seed in range(len(labels))], "label": labels})
    with (
        pa.OSFile(str(folder / "data.arrow"), "wb") as file,
        pa.ipc.new_stream(file, made.schema) as writer,
    ):
        writer.write_table(made, max_chunksize=2)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return f"hf:{folder}"


@pytest.mark.parametrize("form", ["parquet", "hf", "webdataset", "csv"])
def test_a_limit_does_not_number_the_classes_anew(tmp_path: Path, form: str) -> None:
    labels = ["dog", "dog", "cat", "ant", "bee"]
    if form == "parquet":
        spec = table(tmp_path / "x.parquet", img=[encoded(seed) for seed in range(5)], label=labels)
    elif form == "hf":
        spec = stream(tmp_path / "x", labels)
    elif form == "webdataset":
        members = {f"{seed}.png": seed for seed in range(5)}
        members |= {f"{seed}.cls": label for seed, label in enumerate(labels)}
        spec = f"webdataset:{tar(tmp_path / 'x.tar', dict(sorted(members.items())))}"
    else:
        for seed in range(5):
            picture(tmp_path / f"{seed}.png", seed)
        rows = "".join(f"{seed}.png,{label}\n" for seed, label in enumerate(labels))
        (tmp_path / "x.csv").write_text(rows)
        spec = f"csv:{tmp_path / 'x.csv'}"
    for limit, known in ((None, [3, 3, 2, 0, 1]), (1, [3]), (3, [3, 3, 2])):
        found = data.load(spec, limit=limit)
        assert found.class_names == ("ant", "bee", "cat", "dog") and found.named
        assert found.labels.tolist() == known and len(found) == len(known)


def test_numbers_written_as_texts_are_numbers(tmp_path: Path) -> None:
    images = [encoded(seed) for seed in range(3)]
    found = data.load(table(tmp_path / "x.parquet", img=images, label=["10", "9", "2"]))
    assert found.labels.tolist() == [10, 9, 2] and not found.named


def prepared(spec: str, **options: Any) -> rp.Prepared:
    ready = {"normalize": "none", "input_shape": (3, 6, 6), **options}
    return rp.prepare(seeded(TinyResNet), data=spec, **ready)


def test_labels_that_count_from_one_are_refused_with_a_limit_too(tmp_path: Path) -> None:
    pixels = np.stack([noise(seed).transpose(2, 0, 1) for seed in range(3)])
    np.savez(tmp_path / "x.npz", images=pixels, labels=[1, 2, 5])
    with pytest.raises(ProbeError, match=r"label 5 of image 2 is outside the head's classes"):
        rp.lesion(prepared(f"npz:{tmp_path / 'x.npz'}"))
    with pytest.raises(ProbeError, match=r"labels up to 5, if not .* has 5 classes \(0–4\)"):
        prepared(f"npz:{tmp_path / 'x.npz'}", limit=2)


@pytest.mark.parametrize("form", ["texts", "numbers"])
def test_names_of_fewer_classes_say_nothing_of_which_they_are(tmp_path: Path, form: str) -> None:
    """As of ten classes of ImageNet beside a network of all."""
    if form == "texts":
        spec = table(tmp_path / "x.parquet", img=[encoded(0), encoded(1)], label=["cat", "dog"])
    else:
        features = {"label": {"names": ["dog", "cat"], "_type": "ClassLabel"}}
        spec = stream(tmp_path / "x", [0, 1], features=features)
    with pytest.raises(ProbeError, match=r"has 2 classes and .* 5, and nothing says which"):
        prepared(spec)
    (tmp_path / "map.csv").write_text("dog,4\ncat,1\n")
    known = [1, 4] if form == "texts" else [4, 1]
    assert prepared(spec, class_map=tmp_path / "map.csv").labels.tolist() == known


def test_as_many_names_as_classes_are_numbered_as_the_set_says(tmp_path: Path) -> None:
    features = {"label": {"names": ["e", "d", "c", "b", "a"], "_type": "ClassLabel"}}
    ready = prepared(stream(tmp_path / "x", [0, 3], features=features))
    assert ready.labels.tolist() == [0, 3] and ready.image_set.class_names[3] == "b"


def test_numbers_as_folders_say_that_they_are_in_alphabetical_order(tmp_path: Path) -> None:
    for name in ("0", "1", "2", "10"):
        picture(tmp_path / name / "a.png", 0)
    images = data.load(f"imagefolder:{tmp_path}")
    assert data.in_order_of(images, classes=4).note.endswith("of the folders (0, 1, 10, 2, …)")


def test_classes_that_have_no_image_are_said_before_a_study(tmp_path: Path) -> None:
    """As where a limit takes the first rows of a set in the order of its classes."""
    pixels = np.stack([noise(seed).transpose(2, 0, 1) for seed in range(7)])
    np.savez(tmp_path / "x.npz", images=pixels, labels=[0, 0, 1, 1, 2, 3, 4])
    said = [announcement(prepared(f"npz:{tmp_path / 'x.npz'}", limit=n)) for n in (7, 6, 5, 4)]
    assert [re.findall(r"x.npz(.*)", text)[0] for text in said] == [
        "", ", of 4 of 5 classes", ", of 3 of 5 classes", ""
    ]  # fmt: skip
