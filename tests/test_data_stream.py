"""Images that stay on disk: the same numbers as from memory, whatever the workers."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_chains import TinyResNet, seeded

from resnet_probe import ProbeError, agreement, attribute, chain_of, data, lens, lesion, paths
from resnet_probe import responses as measure_responses
from resnet_probe.data import image_set, read_ahead
from resnet_probe.data.image_set import on_demand
from resnet_probe.data.preprocess import Preprocess
from resnet_probe.engine.images import ImageStream
from resnet_probe.results.journal import Journal

SCALE = data.normalization("imagenet")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """80 photographs' worth of noise in five classes, of several sizes and kinds."""
    place = tmp_path_factory.mktemp("val")
    draw = np.random.default_rng(0)
    for number in range(80):
        pixels = draw.integers(0, 256, (10 + number % 7, 12, 3), dtype=np.uint8)
        file = place / "abcde"[number % 5] / f"{number:02d}.{('png', 'jpg')[number % 2]}"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(file)
    return f"imagefolder:{place}"


def both(folder: str, **options: int) -> tuple[data.ImageSet, data.ImageSet]:
    ready = Preprocess.usual((8, 8))
    held = data.read(folder, preprocess=ready, stream=False, workers=0)
    streamed = data.read(folder, preprocess=ready, stream=True, **options)
    assert isinstance(held.images, torch.Tensor) and isinstance(streamed.images, ImageStream)
    return held, streamed


def test_a_streamed_set_is_the_set_in_memory(folder: str) -> None:
    held, streamed = both(folder, workers=0)
    assert (streamed.name, streamed.note, streamed.shape) == (held.name, held.note, held.shape)
    assert torch.equal(streamed.labels, held.labels)
    assert streamed.class_names == held.class_names == tuple("abcde")
    assert streamed.fingerprint() == held.fingerprint()
    assert torch.equal(torch.cat(list(streamed.pieces())), held.images)


def test_the_same_images_have_one_fingerprint_however_they_were_made_fewer(folder: str) -> None:
    held, streamed = both(folder, workers=0)
    ready = Preprocess.usual((8, 8))
    for limit in (1, 33, 80, 99):
        found = {
            held.take(limit).fingerprint(),
            streamed.take(limit).fingerprint(),
            *(data.read(folder, preprocess=ready, limit=limit, stream=stream).fingerprint()
              for stream in (False, True)),
        }  # fmt: skip
        assert len(found) == 1
    assert held.take(7).fingerprint() != held.take(8).fingerprint()
    assert held.fingerprint() != data.load(folder, size=(6, 6)).fingerprint()


def test_a_folder_has_the_fingerprint_of_its_files(folder: str) -> None:
    """Old runs carry it: files in their order, behind what is done to them, then the labels."""
    place = Path(folder.partition(":")[2])
    files = [place / "abcde"[n % 5] / f"{n:02d}.{('png', 'jpg')[n % 2]}" for n in range(10)]
    pixels = hashlib.sha256(b"resize=9,crop=8,interpolation=bilinearTrue")
    for file in files:
        pixels.update(hashlib.sha256(file.read_bytes()).digest())
    labels = struct.pack("<10q", *(list(range(5)) * 2))
    expected = hashlib.sha256(pixels.hexdigest().encode() + labels).hexdigest()
    assert data.load(folder, size=(8, 8), limit=10).fingerprint() == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_any_range_is_that_range(folder: str, workers: int) -> None:
    held, streamed = both(folder, workers=workers)
    before = torch.get_rng_state()
    x, lazy = held.on(CPU, SCALE), streamed.on(CPU, SCALE)
    assert isinstance(x, torch.Tensor) and isinstance(lazy, ImageStream)
    assert lazy.shape == x.shape and len(lazy) == 80 and lazy.device == CPU
    # one image, on from there, over the boundary of a chunk, back, to the end, and again
    for start, stop in [(0, 1), (0, 30), (30, 37), (37, 80), (5, 40), (79, 80), (0, 80)]:
        assert torch.equal(lazy[start:stop].to(CPU), x[start:stop])
    assert torch.equal(lazy[20:][10:50].to(CPU, torch.float64), x[30:70].double())
    assert torch.equal(lazy[-1], x[-1])
    assert torch.equal(torch.cat([part.to(CPU) for part in lazy.split(33)]), x)
    assert lazy[3:5].to().is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.get_rng_state(), before)


def test_bytes_in_memory_are_normalized_when_needed(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, _ = both(folder)
    x = held.on(CPU, SCALE)
    monkeypatch.setattr(image_set, "AS_FLOAT", 80 * 3 * 8 * 8 * 4 - 1)
    lazy = held.on(CPU, SCALE)
    assert isinstance(lazy, ImageStream)
    assert torch.equal(lazy.to(CPU), x)


def test_a_folder_beyond_the_threshold_is_left_on_disk(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = Preprocess.usual((8, 8))
    monkeypatch.setattr("resnet_probe.data.folder.IN_MEMORY", 80 * 3 * 8 * 8)
    assert isinstance(data.read(folder, preprocess=ready).images, torch.Tensor)
    monkeypatch.setattr("resnet_probe.data.folder.IN_MEMORY", 80 * 3 * 8 * 8 - 1)
    assert isinstance(data.read(folder, preprocess=ready).images, ImageStream)


STUDIES = {
    "lesion": lesion,
    "lens": lens,
    "responses": measure_responses,
    "paths": lambda *given, **options: paths(*given, method="every", samples=2, **options),
    "attribute": lambda *given, **options: attribute(*given, methods=["ablation"], **options),
    "agreement": lambda *given, **options: agreement(*given, counts=[1], draws=2, **options),
}


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_gives_the_same_table(folder: str, study: str) -> None:
    held, streamed = both(folder, workers=0)
    chain, read = chain_of(seeded(TinyResNet), held.on(CPU, SCALE)[:1]), []

    def spy(start: int, stop: int) -> torch.Tensor:
        read.append(stop - start)
        return streamed.images[start:stop].to()

    tables = [
        STUDIES[study](chain, each.on(CPU, SCALE)[:40], each.labels[:40], batch=16).table
        for each in (held, replace(streamed, images=on_demand(spy, streamed.shape)))
    ]
    assert tables[0].equals(tables[1])
    assert max(read) == 16  # a batch, and never more of the set, is in memory


def test_a_resumed_run_gives_the_same_table(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_probe.studies.outcomes.KEEP_EVERY", 16)
    held, streamed = both(folder, workers=0)
    chain = chain_of(seeded(TinyResNet), held.on(CPU, SCALE)[:1])
    whole = lesion(chain, held.on(CPU, SCALE), held.labels, batch=8).table

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    journal = Journal(tmp_path / "run", {"study": "lesion"})
    with pytest.raises(KeyboardInterrupt):
        lesion(chain, streamed.on(CPU, SCALE), streamed.labels, batch=8, journal=journal,
               progress=stop)  # fmt: skip
    assert 0 < len(journal.steps) < 80 / 16
    resumed = lesion(chain, streamed.on(CPU, SCALE), streamed.labels, batch=8, journal=journal)
    assert resumed.table.equals(whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_named_by_its_file(folder: str, tmp_path: Path, workers: int) -> None:
    import shutil

    copy = Path(shutil.copytree(folder.partition(":")[2], tmp_path / "val"))
    broken = copy / "c" / "52.png"
    broken.write_bytes(broken.read_bytes()[:-60])  # the head is whole, the pixels are not
    ready = Preprocess.usual((8, 8))
    streamed = data.read(f"imagefolder:{copy}", preprocess=ready, stream=True, workers=workers)
    read = streamed.on(CPU, SCALE)
    assert len(read[:16].to(CPU)) == 16
    with pytest.raises(ProbeError, match=r"c/52\.png cannot be decoded as an image \([^\n]*$"):
        read.to(CPU)
    assert not active_children()
    with pytest.raises(ProbeError, match=r"c/52\.png cannot be decoded"):
        data.load(f"imagefolder:{copy}", size=(8, 8))


def test_only_a_folder_is_left_on_disk() -> None:
    with pytest.raises(ProbeError, match="digits lies in memory: only an imagefolder"):
        data.read("digits", stream=True)


def test_a_stream_is_read_in_its_order_alone(folder: str) -> None:
    lazy = both(folder, workers=0)[1].on(CPU, SCALE)
    with pytest.raises(ProbeError, match="give no step"):
        lazy[::2]
    with pytest.raises(IndexError):
        lazy[80]


def test_few_images_start_no_processes(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    loader = read_ahead.DataLoader

    def spy(*given: object, **options: object) -> object:
        used.append(int(str(options["num_workers"])))
        return loader(*given, **{**options, "num_workers": 0})

    monkeypatch.setattr(read_ahead, "DataLoader", spy)
    streamed = both(folder, workers=7)[1]
    streamed.images[0:40].to()
    streamed.images[20:60].to()  # 60 images are left from here: fewer than are worth a process
    assert used[-2:] == [7, 0]


def test_gray_is_what_pillow_makes_of_it(folder: str) -> None:
    held, streamed = both(folder, workers=0)
    pillow = [Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L") for image in held.images]
    expected = torch.stack([torch.from_numpy(np.array(each))[None] for each in pillow])
    for images in (held, streamed):
        gray = images.of_channels(1)
        assert gray.shape == (80, 1, 8, 8) and "gray" in gray.note
        assert torch.equal(gray.pixels, expected)
        assert torch.equal(torch.cat(list(gray.pieces())), expected)
        assert images.of_channels(3) is images and gray.of_channels(1) is gray
        assert gray.fingerprint() != images.fingerprint()
        scaled = gray.on(CPU, data.normalization("mean=0.5,std=0.2"))
        part = scaled[20:33] if isinstance(scaled, torch.Tensor) else scaled[20:33].to()
        assert torch.equal(part, (expected[20:33].float() / 255 - 0.5) / 0.2)
        with pytest.raises(ProbeError, match="has three numbers, and the images have one channel"):
            first = gray.take(1).on(CPU, SCALE)
            first.to() if isinstance(first, ImageStream) else None
    once = held.of_channels(1).fingerprint()
    assert once == streamed.of_channels(1).fingerprint()


def test_an_image_that_was_gray_is_what_it_was() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    labels = torch.zeros(1, dtype=torch.int64)
    images = data.ImageSet("x", "", every.repeat(1, 3, 1, 1), labels, ("a",))
    assert torch.equal(images.of_channels(1).pixels, every)
