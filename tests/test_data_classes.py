"""Folders that hold some of a network's classes: by WordNet id, by name, by a file, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_probe import ProbeError, data
from resnet_probe.data.classes import imagenet_names, imagenet_wnids


def folders(place: Path, *names: str) -> data.AnySet:
    for name in names:
        (place / name).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(place / name / "0.png")
    return data.read(f"imagefolder:{place}")


def test_the_table_is_that_of_imagenet() -> None:
    wnids = imagenet_wnids()
    assert len(wnids) == len(set(wnids)) == 1000
    assert list(wnids) == sorted(wnids)  # the classes were numbered in the order of the ids
    # As in the development kit of ILSVRC 2012, and in every list of the classes.
    known = {"n01440764": "tench", "n02123045": "tabby", "n02504458": "African elephant",
             "n07747607": "orange", "n15075141": "toilet tissue"}  # fmt: skip
    for wnid, name in known.items():
        assert imagenet_names()[wnids.index(wnid)] == name
    assert wnids.index("n02123045") == 281


def test_the_table_is_that_of_timm() -> None:
    info = pytest.importorskip("timm.data").ImageNetInfo("imagenet-1k")
    assert tuple(info.label_names()) == imagenet_wnids()


def test_wordnet_ids_and_names(tmp_path: Path) -> None:
    found = data.in_order_of(folders(tmp_path, "n01440764", "n02123045"), classes=1000)
    assert found.labels.tolist() == [0, 281]
    assert found.note.endswith("2 of 1000 classes, by WordNet id")
    assert found.class_names[281] == "n02123045"
    named = folders(tmp_path / "named", "African_elephant", "Tench", "n07747607", "toilet tissue")
    found = data.in_order_of(named, classes=1000)
    assert sorted(found.labels.tolist()) == [0, 386, 950, 999]
    assert found.note.endswith("4 of 1000 classes, by name")


def test_two_classes_whose_names_differ_by_a_capital_are_told_apart(tmp_path: Path) -> None:
    assert imagenet_names()[264] == "Cardigan" and imagenet_names()[474] == "cardigan"
    found = data.in_order_of(folders(tmp_path, "cardigan"), classes=1000)
    assert found.labels.tolist() == [474]
    with pytest.raises(ProbeError, match=r"is several classes \(264, 474\)"):
        data.in_order_of(folders(tmp_path / "x", "CARDIGAN"), classes=1000)


def test_the_networks_own_names_come_first(tmp_path: Path) -> None:
    images = folders(tmp_path, "ship", "cat")
    found = data.in_order_of(images, classes=3, names=("ship", "dog", "cat"))
    assert found.labels.tolist() == [2, 0]
    assert found.class_names == ("ship", "dog", "cat")
    assert found.fingerprint() != images.fingerprint()


def test_as_many_folders_as_classes_are_in_alphabetical_order(tmp_path: Path) -> None:
    images = folders(tmp_path, "b", "a")
    for names in ((), ("ship", "dog")):
        found = data.in_order_of(images, classes=2, names=names)
        assert found.labels.tolist() == [0, 1] and found.class_names == ("a", "b")
        assert found.note == "stored as PNG, classes in the alphabetical order of the folders"


@pytest.mark.parametrize(
    ("names", "classes", "reason"),
    [
        (["n01440764", "n0144076"], 1000, r"folder 'n0144076' .*did you mean n01440764"),
        (
            ["tenchh"],
            1000,
            r"'tenchh' in .* is no class of resnet50 by name .*did you mean tench\?",
        ),
        (["n01440764", "n99999999"], 1000, "'n99999999' in .* by WordNet id"),
        (["a", "b"], 3, "has 2 classes and resnet50 3, and nothing says which .* class_map="),
        (["a", "b", "c"], 2, "has 3 classes and resnet50 2"),
        (["tench", "Tench"], 1000, "the folders Tench and tench are the same class"),
    ],
)
def test_folders_that_are_no_classes_are_refused(
    tmp_path: Path, names: list[str], classes: int, reason: str
) -> None:
    images = folders(tmp_path, *names)
    with pytest.raises(ProbeError, match=reason):
        data.in_order_of(images, classes=classes, network="resnet50")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.csv", "cat,2\nship,0\n"),
        ("map.txt", "cat 2\nship\t0\n"),
        ("map.txt", "ship\nbig dog\ncat\n"),
        ("map.txt", "n01440764 ship, boat\nn01443537 dog\nn01484850 cat, tiger cat\n"),
        ("map.json", json.dumps({"cat": 2, "ship": 0})),
        ("map.json", json.dumps({"0": ["n01440764", "ship"], "1": "dog", "2": ["x", "cat"]})),
        ("map.json", json.dumps(["ship", "dog", "cat"])),
        ("map.json", json.dumps([["ship", "boat"], ["dog"], ["cat"]])),
    ],
)
def test_a_file_says_which_class_a_folder_is(tmp_path: Path, name: str, text: str) -> None:
    images = folders(tmp_path / "val", "cat", "ship")
    (tmp_path / name).write_text(text)
    found = data.in_order_of(images, classes=4, class_map=tmp_path / name)
    assert found.labels.tolist() == [2, 0]
    assert found.class_names == ("ship", "1", "cat", "3")
    assert found.note == f"stored as PNG, 2 of 4 classes, by {name}"


def test_a_file_may_give_folders_one_class(tmp_path: Path) -> None:
    images = folders(tmp_path / "val", "pug", "cat", "poodle")
    (tmp_path / "map.csv").write_text("pug,1\ncat,0\npoodle,1\n")
    found = data.in_order_of(images, classes=2, class_map=tmp_path / "map.csv")
    assert found.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("absent.csv", None, "there is no file .*absent.csv to read a class map from"),
        ("map.json", "{", "map.json cannot be read as a class map"),
        ("map.json", '{"cat": 1.5}', "map.json cannot be read"),
        ("map.json", "3", "neither an object nor a list"),
        ("map.json", "[]", "names no classes"),
        ("map.txt", "cat\n\nship\n", "line 2 is empty"),
        ("map.csv", "cat,0\n", "'ship' in .* is no class of the network by map.csv"),
        ("map.csv", "cat,0\nship,9\n", r"map.csv has a class 9: the network has 4 \(0–3\)"),
    ],
)
def test_files_that_do_not_say_it_are_refused(
    tmp_path: Path, name: str, text: str | None, reason: str
) -> None:
    images = folders(tmp_path / "val", "cat", "ship")
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ProbeError, match=reason):
        data.in_order_of(images, classes=4, class_map=tmp_path / name)


def test_labels_follow_their_images(tmp_path: Path) -> None:
    for name, count in (("n02123045", 1), ("n01440764", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            value = 100 if name == "n02123045" else 200
            pixels = np.full((4, 4, 3), value, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    found = data.in_order_of(data.read(f"imagefolder:{tmp_path}", limit=3), classes=1000)
    pixels = torch.cat(list(found.pieces()))[:, 0, 0, 0]
    assert [(int(p), int(y)) for p, y in zip(pixels, found.labels, strict=True)] == [
        (200, 0), (100, 281), (200, 0)
    ]  # fmt: skip
