"""Several networks of one architecture in a zoo: which one a name picks, and on which images."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_zoo import card, network

from resnet_probe import zoo
from resnet_probe.errors import ProbeError

ARCH = "vgg16_bn:width=4"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for changes in (
        {"data": "digits", "seed": 0},
        {"data": "cifar10-jpeg", "seed": 2, "note": "CIFAR-10, JPEG re-encoded"},
        {"data": "cifar10-jpeg", "seed": 1},
        {"data": "cifar10-jpeg", "seed": 0, "effective_paths": 3},
        {"data": "cifar100", "seed": 0},
    ):
        zoo.save(zoo.rounded(network(seed=len(changes))), card(**changes), tmp_path)
    return tmp_path


def test_names_tell_seed_regime_and_data_apart(folder: Path) -> None:
    assert [each.stem for each in zoo.cards(folder)] == [
        "vgg16_bn-width-4-cifar10-jpeg-seed1",
        "vgg16_bn-width-4-cifar10-jpeg-seed2",
        "vgg16_bn-width-4-cifar100",
        "vgg16_bn-width-4-digits",
        "vgg16_bn-width-4-effective-paths-3-cifar10-jpeg",
    ]


@pytest.mark.parametrize(
    ("which", "stem"),
    [
        ("digits", "vgg16_bn-width-4-digits"),
        ("cifar10-jpeg", "vgg16_bn-width-4-cifar10-jpeg-seed1"),
        ("cifar10", "vgg16_bn-width-4-cifar10-jpeg-seed1"),
        ("cifar100", "vgg16_bn-width-4-cifar100"),
        ("vgg16_bn-width-4-cifar10-jpeg-seed2", "vgg16_bn-width-4-cifar10-jpeg-seed2"),
        (
            "vgg16_bn-width-4-effective-paths-3-cifar10-jpeg",
            "vgg16_bn-width-4-effective-paths-3-cifar10-jpeg",
        ),
    ],
)
def test_a_name_picks_one(which: str, stem: str, folder: Path) -> None:
    assert zoo.find(ARCH, which, folder=folder).stem == stem


@pytest.mark.parametrize("which", ["cifar", "vgg16_bn", "resnet20-digits"])
def test_part_of_a_word_picks_none(which: str, folder: Path) -> None:
    with pytest.raises(ProbeError, match=f"no weights of {ARCH} for {which}: it has {ARCH} on"):
        zoo.find(ARCH, which, folder=folder)


def test_weights_for_other_images_are_offered() -> None:
    with pytest.raises(ProbeError, match="; give zoo=cifar10-jpeg and where its test images lie,"):
        zoo.find("plain56", "digits")


def test_other_networks_for_the_same_images_are_offered() -> None:
    there = ", ".join(card.arch for card in zoo.cards() if card.data == "digits")
    with pytest.raises(ProbeError, match=f"data=, or another network: on digits it has {there}$"):
        zoo.find("preresnet110", "digits")
    assert "resnet110" in there.split(", ")


def test_images_of_ones_own_get_a_hint(folder: Path) -> None:
    with pytest.raises(ProbeError, match="for images of your own give zoo="):
        zoo.find(ARCH, "parquet:x.parquet", folder=folder)


def test_a_card_keeps_its_other_evaluations(tmp_path: Path) -> None:
    other = zoo.Evaluation("lossless", "stored as PNG", 3, 4, "ab")
    written = zoo.save(zoo.rounded(network()), card(also=(other,)), tmp_path)
    assert zoo.cards(tmp_path) == [written] and written.also[0].error_pct == 25


def test_the_images_of_a_card_come_from_its_set_or_a_file(tmp_path: Path) -> None:
    from resnet_probe.zoo.images import source_of

    assert source_of(card(data="digits"), None) == "digits"
    with pytest.raises(ProbeError, match="are not part of the package: give data=parquet"):
        source_of(card(data="cifar10-jpeg"), None)
    with pytest.raises(ProbeError, match=f"are not in {tmp_path}"):
        source_of(card(data="cifar10-jpeg"), tmp_path)
    with pytest.raises(ProbeError, match="there is no folder"):
        source_of(card(data="cifar10-jpeg"), tmp_path / "no")
