"""Files that are no files, no images, or made to take all time and memory: each in a sentence."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from resnet_probe import ProbeError, data
from resnet_probe.data import classes
from resnet_probe.data.preprocess import preprocess


@contextmanager
def bounded(seconds: float = 20, more: int = 2**30) -> Iterator[None]:
    """Fails what takes longer, or more memory than that."""

    def stop(*_: object) -> None:
        raise AssertionError(f"still running after {seconds} seconds")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def refusal(spec: str, **options: Any) -> str:
    with bounded(), pytest.raises(ProbeError) as caught:
        data.read(spec, workers=0, **options)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 700 and not re.search(r" object at 0x", said)
    return said


def encoded(width: int = 4, height: int = 4, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, kind)
    return buffer.getvalue()


def promising(width: int, height: int) -> bytes:
    """A small PNG that says it is so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def folder(place: Path, **files: bytes) -> str:
    (place / "a").mkdir(parents=True)
    for name, content in files.items():
        (place / "a" / f"{name}.png").write_bytes(content)
    return f"imagefolder:{place}"


# ---- what is no file


@pytest.mark.parametrize("kind", ["pipe", "device", "broken link", "loop"])
@pytest.mark.parametrize("place", ["imagefolder", "csv", "parquet", "npz", "class map"])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path, kind: str, place: str) -> None:
    spec = folder(tmp_path / "val", **{"0": encoded()})
    strange = tmp_path / "val/a/1.png" if place == "imagefolder" else tmp_path / "strange"
    if kind == "pipe":
        os.mkfifo(strange)
    else:
        target = {"device": "/dev/zero", "broken link": tmp_path / "none", "loop": strange}[kind]
        strange.symlink_to(target)
    release = threading.Timer(15, lambda: os.close(os.open(strange, os.O_WRONLY | os.O_NONBLOCK)))
    release.daemon = True
    if kind == "pipe":
        release.start()
    if place == "class map":
        with bounded(), pytest.raises(ProbeError) as caught:
            classes.read(strange)
        said = str(caught.value)
    else:
        said = refusal(spec if place == "imagefolder" else f"{place}:{strange}")
    release.cancel()
    assert "1.png" in said or "strange" in said


# ---- what is no image


def test_no_other_program_is_started_for_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None, raising=False)
    eps = encoded(kind="EPS")
    assert "0.png cannot be decoded as an image (of none of the formats" in refusal(
        folder(tmp_path / "val", **{"0": eps})
    )
    pq.write_table(pa.table({"img": [eps], "label": [0]}), tmp_path / "x.parquet")
    assert "row 1 of" in refusal(f"parquet:{tmp_path / 'x.parquet'}")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"", "cannot be decoded as an image"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded as an image"),
        (b"GIF89a" + bytes(3), "cannot be decoded as an image"),
        (b"II*\0" + bytes(20), "cannot be decoded as an image"),
        (encoded(kind="JPEG")[:200], "cannot be decoded as an image"),
        (encoded(kind="WEBP")[:30], "cannot be decoded as an image"),
    ],
)
def test_what_is_called_a_picture(tmp_path: Path, content: bytes, said: str) -> None:
    found = refusal(folder(tmp_path / "val", **{"0": content}))
    assert "0.png" in found and said in found
    pq.write_table(pa.table({"img": [content], "label": [0]}), tmp_path / "x.parquet")
    assert said in (row := refusal(f"parquet:{tmp_path / 'x.parquet'}")) or "no image" in row


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("sides", [(10**5, 10**5), (2**31 - 1, 1), (9000, 9000), (1, 2**27)])
@pytest.mark.parametrize("ready", [None, "resize=8,crop=8"])
def test_a_picture_of_too_many_pixels(tmp_path: Path, sides: tuple[int, int], ready: Any) -> None:
    how = ready and preprocess(ready, (8, 8))
    spec = folder(tmp_path / "val", **{"0": promising(*sides)})
    said = refusal(spec, preprocess=how)
    assert "0.png" in said and ("pixels" in said or "cannot be decoded" in said)


@pytest.mark.parametrize("sides", [(1, 65_000), (65_000, 1)])
def test_a_thin_picture_does_not_grow_out_of_memory(tmp_path: Path, sides: Any) -> None:
    spec = folder(tmp_path / "val", **{"0": encoded(*sides)})
    for stream in (False, True):
        said = refusal(spec, preprocess=preprocess("resize=256,crop=224", (224, 224)),
                       stream=stream)  # fmt: skip
        assert "0.png is too large: its shorter side resized to 256" in said
    ready = preprocess("resize=8x8,crop=8", (8, 8))
    assert data.read(spec, preprocess=ready).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    "spec", ["resize=100000", "crop=99999", "resize=99999x99999", "resize=" + "9" * 5000, "crop=0"]
)
def test_sizes_out_of_range(spec: str) -> None:
    with pytest.raises(ProbeError, match=r"is no size|at most") as caught:
        preprocess(spec, (8, 8))
    assert len(str(caught.value)) < 11_000


@pytest.mark.parametrize("spec", ["mean=nan,std=1", "mean=0,std=nan", "mean=inf,std=1",
                                  "mean=0,std=1e999", "mean=0,std=1e-999"])  # fmt: skip
def test_numbers_that_are_none(spec: str) -> None:
    with pytest.raises(ProbeError, match="is not a normalization"):
        data.normalization(spec)


def test_sizes_that_differ_in_a_data_set_of_ones_own(tmp_path: Path) -> None:
    folder(tmp_path / "val", **{"0": encoded(), "1": encoded(4, 6)})
    given = ImageFolder(tmp_path / "val", ToTensor())
    with pytest.raises(ProbeError, match=r"the given ImageFolder holds images of different sizes"):
        data.given(given)
    pair = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ProbeError, match="different sizes: image 1 has the shape"):
        data.given(([torch.zeros(3, 4, 4), torch.zeros(3, 4, 6)], pair))
    batches = [(torch.zeros(1, 3, 4, 4), pair[:1]), (torch.zeros(1, 3, 4, 6), pair[:1])]
    with pytest.raises(ProbeError, match="those of batch 1 are"):
        data.given(batches)


# ---- labels and metadata


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (pa.array([0, 10**9]), "has a label 1,000,000,000"),
        (pa.array([0, 2**62]), "labels are the numbers of classes"),
        (pa.array([0, 2**64 - 1], pa.uint64()), "labels are the numbers of classes"),
        (pa.array([0, -1]), "row 2 of .* has the label -1: expected 0 or more"),
        (pa.array([0, None], pa.int64()), "row 2 of .* has no label"),
    ],
)
def test_labels_that_number_no_class(tmp_path: Path, labels: Any, said: str) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"img": [encoded()] * 2, "label": labels}), path)
    assert re.search(said, refusal(f"parquet:{path}"))


def test_one_image_in_many_rows_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    once = pa.DictionaryArray.from_arrays(pa.array([0] * 400), [encoded() + bytes(2**22)])
    rows = pa.table({"img": once, "label": [0] * 400})
    pq.write_table(rows, path, dictionary_pagesize_limit=2**30, store_schema=False)
    with bounded(60, more=2**30):
        assert len(data.load(f"parquet:{path}").images) == 400


@pytest.mark.parametrize("kind", [pa.uint8(), pa.uint16(), pa.uint64(), pa.int8()])
def test_labels_of_every_whole_type(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"img": [encoded()] * 2, "label": pa.array([3, 0], kind)})
    pq.write_table(table, path)
    assert data.load(f"parquet:{path}").labels.tolist() == [3, 0]


@pytest.mark.parametrize(
    "metadata",
    [
        "[" * 2000 + "]" * 2000,
        json.dumps({"info": {"features": {"label": {"names": "cat"}}}}),
        json.dumps({"info": {"features": {"label": {"names": [1, 2]}}}}),
        json.dumps({"info": {"features": {"label": {"names": ["one"]}}}}),
        json.dumps({"info": {"features": []}}),
        "null",
        "1e999",
        "\x00",
    ],
)
def test_metadata_that_name_no_classes(tmp_path: Path, metadata: str) -> None:
    table = pa.table({"img": [encoded()] * 2, "label": [1, 0]})
    path = tmp_path / "x.parquet"
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
    assert data.load(f"parquet:{path}").class_names == ("0", "1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1e999}', "cannot be read as a class map"),
        ('{"a": true}', "'a' is True"),
        ('{"a": ' + "9" * 400 + "}", "beyond 1,000,000"),
        ('{"a": -1000000}', "beyond 1,000,000"),
        ("[" * 3000 + "]" * 3000, "cannot be read as a class map"),
        ('"tench"', "neither an object nor a list"),
        ("{}", "names no classes"),
        ("[[]]", "names no classes"),
        ("[1.5]", "cannot be read as a class map"),
        ('[["a", ["b"]]]', "a name of class 0 is ['b'], and no text"),
        ('{"7": {"name": "tench"}}', "a name of class 7 is {'name': 'tench'}, and no text"),
        ('{"7": null}', "a name of class 7 is None, and no text"),
    ],
)
def test_class_maps_of_other_types(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with bounded(), pytest.raises(ProbeError, match=re.escape(said)) as caught:
        classes.read(tmp_path / "map.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["a" + "," * 200_000 + "x", "a" + " " * 200_000 + "1x",
                                  "a" + "1" * 200_000, "a," * 100_000 + "1"])  # fmt: skip
def test_a_long_line_of_a_class_map_is_read_in_time(tmp_path: Path, line: str) -> None:
    (tmp_path / "map.csv").write_text(f"{line}\nb,2\n")
    with bounded(5):
        classes.read(tmp_path / "map.csv")


# ---- arrays


def array_head(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    buffer = io.BytesIO()
    form = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (array_head((2**20, 2**20)) + bytes(10), "is said to have the shape"),
        (array_head((-1, 4, 4)) + bytes(10), "x.npz"),
        (array_head((0, 2**64)) + bytes(10), "x.npz"),
        (array_head((-(2**70), -1)) + bytes(10), "x.npz"),
        (array_head((1,), "|O") + bytes(10), "x.npz"),
        (array_head((1, 4, 4), "<f4") + bytes(64), "are float32 of shape"),
        (array_head((1, 2, 4, 5)) + bytes(40), "with 1 or 3 channels"),
        (b"\x93NUMPY\x09\x00garbage", "cannot be read as an archive"),
        (b"", "cannot be read as an archive"),
        (b"\x93NUMPY\x01\0\xb8\x0b" + b"(" * 3000, "cannot be read as an archive"),
        (b"\x93NUMPY\x01\0\x04\0{1:2", "cannot be read as an archive"),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, images: bytes, said: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", array_head((1,), "<i8") + bytes(8))
    assert said in refusal(f"npz:{tmp_path / 'x.npz'}")


def test_archives_without_images(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, other=np.zeros(3))
    assert "holds other: expected an array called images" in refusal(f"npz:{path}")
    for labels, said in (
        ([0.5], "are float64"),
        ([[0, 1]], "of shape (1, 2)"),
        ([-3], "has the label -3"),
        ([10**7], "has a label 10,000,000"),
    ):
        np.savez(path, images=np.zeros((1, 4, 4), np.uint8), labels=np.array(labels))
        assert said in refusal(f"npz:{path}")
    np.save(tmp_path / "y.npy", np.zeros(3))
    assert "is not an .npz archive" in refusal(f"npz:{tmp_path / 'y.npy'}")


@pytest.mark.parametrize("workers", [-1, 10**6])
def test_workers_out_of_range(workers: int) -> None:
    with pytest.raises(ProbeError, match=f"workers={workers}: give 0"):
        data.read("digits", workers=workers)
