"""A network trained on parquet files, from the training into the zoo and out again."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from resnet_probe import data, loading, zoo
from resnet_probe.cli import main
from resnet_probe.errors import ProbeError
from resnet_probe.zoo import adding, store, verify

ARCH = "resnet20:width=4"


def write_images(path: Path, *, start: int, images: int, kind: str) -> Path:
    """Digits as encoded pictures, in the layout in which CIFAR-10 is published."""
    digits = data.load("digits", split="test")
    rows = []
    for number in range(start, start + images):
        place = io.BytesIO()
        Image.fromarray(digits.images[number].permute(1, 2, 0).numpy()).save(place, format=kind)
        rows.append({"img": {"bytes": place.getvalue(), "path": None}})
    labels = digits.labels[start : start + images].tolist()
    rows = [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_images(folder / "set" / "train.parquet", start=0, images=60, kind="JPEG")
    write_images(folder / "set" / "test.parquet", start=60, images=30, kind="JPEG")
    write_images(folder / "set" / "same-size.parquet", start=10, images=30, kind="JPEG")
    write_images(folder / "lossless" / "test.parquet", start=60, images=12, kind="PNG")
    arguments = ["--data", f"parquet:{folder}/set/train.parquet", "--recipe", "digits"]
    arguments += ["--test-data", f"parquet:{folder}/set/test.parquet", "--batch", "20"]
    done = main(
        ["train", "--arch", ARCH, *arguments, "--epochs", "2", "--seed", "3", "--processes", "1",
         "--out", str(folder / "run")]
    )  # fmt: skip
    assert done == 0
    return folder


@pytest.fixture
def shelf(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with that network under its name."""
    (trained,) = (photographs / "run").glob("*.json")
    added = main(
        ["zoo", "add", str(trained), "--name", "digits-jpeg", "--note", "digits, JPEG re-encoded",
         "--also", f"digits-lossless=parquet:{photographs}/lossless/test.parquet",
         "--to", str(tmp_path / "zoo")]
    )  # fmt: skip
    assert added == 0
    for function in (store.find, store.weights, store.load, verify.verify, verify.check):
        monkeypatch.setitem(function.__kwdefaults__, "folder", tmp_path / "zoo")
    monkeypatch.setattr(store.cards, "__defaults__", (tmp_path / "zoo",))
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "zoo")
    return tmp_path / "zoo"


def test_a_card_in_the_zoo_says_what_its_data_are(shelf: Path, photographs: Path) -> None:
    (card,) = zoo.cards(shelf)
    assert (card.stem, card.data, card.note) == (
        "resnet20-width-4-digits-jpeg-seed3",
        "digits-jpeg",
        "digits, JPEG re-encoded",
    )
    (other,) = card.also
    assert (other.name, other.note, other.images) == ("digits-lossless", "stored as PNG", 12)
    assert "--seed 3" in card.command and card.images == 30


@pytest.mark.parametrize(("off", "taken"), [(1, True), (2, False)])
def test_a_count_that_another_device_rounded_is_made_anew(
    off: int, taken: bool, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "ROUNDING", 1 / 30)
    shutil.copytree(photographs / "run", tmp_path / "run")
    (path,) = (tmp_path / "run").glob("*.json")
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "correct": said["correct"] + off}))
    images = data.load(f"parquet:{photographs}/set/test.parquet")
    with nullcontext() if taken else pytest.raises(ProbeError, match="about other images"):
        card = adding.add(path, images, name="digits-jpeg", folder=tmp_path / "zoo")
        assert card.correct == said["correct"]


def test_the_history_of_the_training_comes_along(shelf: Path, photographs: Path) -> None:
    (card,) = zoo.cards(shelf)
    table = pd.read_csv(photographs / "run" / "history" / "table.csv")
    assert set(card.history) == set(table.columns) - {"epoch"}
    assert card.history["test_error_pct"] == [round(each, 2) for each in table["test_error_pct"]]
    (path,) = shelf.glob("*.json")
    (line,) = (line for line in path.read_text().splitlines() if '"train_loss"' in line)
    assert line.count(",") == 2  # two epochs on one line


def test_prepare_finds_weights_by_name_and_images_by_content(
    shelf: Path, photographs: Path
) -> None:
    ready = loading.prepare(ARCH, zoo="digits-jpeg", data_root=photographs)
    assert ready.image_set.name == f"parquet:{photographs}/set/test.parquet"
    assert ready.network.source == "bundled resnet20-width-4-digits-jpeg-seed3"
    named = f"parquet:{photographs}/lossless/test.parquet"
    ready = loading.prepare(ARCH, zoo="resnet20-width-4-digits-jpeg-seed3", data=named)
    assert ready.image_set.name == named and len(ready.images) == 12


def test_a_study_says_which_weights_and_their_error(
    shelf: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--arch", ARCH, "--zoo", "digits-jpeg", "--data-root", str(photographs)]
    assert main(["lesion", *given, "--out", str(tmp_path / "l")]) == 0
    said = capsys.readouterr().out
    assert "bundled resnet20-width-4-digits-jpeg-seed3, known error" in said
    assert "% on digits-jpeg (digits, JPEG re-encoded)" in said
    (card,) = zoo.cards(shelf)
    assert pd.read_csv(tmp_path / "l" / "table.csv")["correct"][0] == card.correct


def test_verify_finds_images_by_their_content_and_skips_by_name(
    shelf: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "verify"]) == 0
    said = capsys.readouterr().out
    assert said.count("skipped, ") == 2 and "2 skipped: their images are not here: give" in said
    assert main(["zoo", "verify", "--data-root", str(photographs)]) == 0
    said = capsys.readouterr().out
    assert said.count("as its card says") == 2 and "skipped" not in said
    (path,) = shelf.glob("*.json")
    wrong = json.loads(path.read_text())
    wrong["also"][0]["correct"] += 1
    path.write_text(json.dumps(wrong))
    assert main(["zoo", "verify", "--data-root", str(photographs)]) == 1
    assert f"the card says {wrong['also'][0]['correct']}" in capsys.readouterr().out


def test_list_shows_both_errors(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "list"]) == 0
    said = capsys.readouterr().out
    (card,) = zoo.cards(shelf)
    row = next(line for line in said.splitlines() if line.startswith(card.stem)).split()
    assert row[2:6] == [
        "digits-jpeg",
        f"{card.error_pct:.2f}",
        f"{card.also[0].error_pct:.2f}",
        "2",
    ]
    assert "digits-jpeg: digits, JPEG re-encoded, 30 test images" in said
    assert "also: digits-lossless, 12 images (stored as PNG)" in said


def test_other_images_than_the_card_is_about_are_refused(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained,) = (photographs / "run").glob("*.json")
    given = ["--data", f"parquet:{photographs}/set/same-size.parquet", "--to", str(tmp_path / "z")]
    assert main(["zoo", "add", str(trained), "--name", "x", *given]) == 2
    assert "is about other images than parquet" in capsys.readouterr().err
    assert main(["zoo", "add", str(trained), "--name", "x y"]) == 2
    assert "is no name of a data set" in capsys.readouterr().err
    assert not (tmp_path / "z").exists()


def test_trained_weights_alone_are_tested_on_test_images(photographs: Path) -> None:
    (weights,) = (photographs / "run").glob("*.safetensors")
    ready = loading.prepare(ARCH, weights=weights)
    assert ready.image_set.name == f"parquet:{photographs}/set/test.parquet"
