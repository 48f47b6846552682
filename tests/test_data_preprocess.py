"""Resizing and cropping as the libraries do it, and pictures of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from resnet_probe import ProbeError, data
from resnet_probe.data.pictures import picture, pixels
from resnet_probe.data.preprocess import Preprocess, preprocess
from resnet_probe.models import from_timm, pretrained

SIZES = [(40, 60), (90, 31), (224, 224), (300, 260)]


def noise(seed: int, height: int, width: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def normalized(image: Image.Image, spec: str, normalize: str) -> torch.Tensor:
    ready = preprocess(spec, (1, 1))
    return data.normalization(normalize).apply(pixels(ready(image))[None])[0]


# ---- the published preprocessing, bit by bit


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet50", "IMAGENET1K_V1"),
        ("resnet50", "IMAGENET1K_V2"),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"),  # bicubic, 384
        ("mnasnet0_75", "IMAGENET1K_V1"),
        ("inception_v3", "IMAGENET1K_V1"),  # resized to 342
        ("efficientnet_v2_l", "IMAGENET1K_V1"),  # mean and deviation one half
    ],
)
def test_images_are_those_of_torchvisions_presets(name: str, weights: str) -> None:
    preset = torchvision.models.get_model_weights(name)[weights].transforms()
    side = preset.crop_size[0]
    spec = pretrained.preprocess_spec(
        preset.resize_size[0], (side, side), preset.interpolation.value
    )
    normalize = pretrained.normalize_spec(preset.mean, preset.std)
    for seed, size in enumerate(SIZES):
        image = noise(seed, *size)
        assert torch.equal(normalized(image, spec, normalize), preset(image))


@pytest.mark.parametrize(
    ("crop_pct", "mode", "interpolation", "size"),
    [(0.875, "center", "bicubic", (64, 64)), (0.95, "center", "bilinear", (72, 72)),
     (1.0, "squash", "bicubic", (48, 48)), (0.9, "squash", "bilinear", (48, 64))],
)  # fmt: skip
def test_images_are_those_of_timms_evaluation(
    crop_pct: float, mode: str, interpolation: str, size: tuple[int, int]
) -> None:
    timm = pytest.importorskip("timm")
    config = {"input_size": (3, *size), "crop_pct": crop_pct, "crop_mode": mode,
              "interpolation": interpolation}  # fmt: skip
    transform = timm.data.create_transform(**config, mean=(0.5,) * 3, std=(0.5,) * 3)
    for seed, sides in enumerate(SIZES):
        image = noise(seed, *sides)
        found = normalized(image, from_timm._preprocess("x", config), "mean=0.5,std=0.5")
        assert torch.equal(found, transform(image))


def test_another_way_to_crop_is_refused() -> None:
    with pytest.raises(ProbeError, match="in the way 'border', which is not known here"):
        from_timm._preprocess("x", {"crop_mode": "border"})


@pytest.mark.parametrize("crop", [(9, 14), (14, 9), (15, 15), (4, 3)])
def test_a_picture_smaller_than_the_crop_stands_on_black(crop: tuple[int, int]) -> None:
    image = noise(0, 10, 9)
    expected = torchvision.transforms.functional.center_crop(image, list(crop))
    assert np.array_equal(np.asarray(Preprocess(crop, None)(image)), np.asarray(expected))


# ---- specifications


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("none", Preprocess((6, 8), None)),
        ("resize=9", Preprocess((6, 8), 9)),
        ("crop=4", Preprocess((4, 4), None)),
        ("resize=12x16,crop=4x5", Preprocess((4, 5), (12, 16))),
        (" interpolation=bicubic, resize=9", Preprocess((6, 8), 9, "bicubic")),
    ],
)
def test_a_specification_is_read_and_written(spec: str, expected: Preprocess) -> None:
    found = preprocess(spec, (6, 8))
    assert found == expected
    assert preprocess(found.spec, (1, 1)) == found
    assert pixels(found(noise(0, 20, 30))).shape == (3, *expected.crop)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("resize", "'resize' is no preprocessing: give resize=N, crop=N and interpolation="),
        ("blur=3", "'blur=3' is no preprocessing"),
        ("resize=3,resize=4", "is no preprocessing"),
        ("resize=0", "'0' in 'resize=0' is no size"),
        ("crop=4x", "'4x' in 'crop=4x' is no size: give 256 or 256x320"),
        ("interpolation=best", "there is no interpolation 'best': give nearest, bilinear"),
    ],
)
def test_other_specifications_are_refused(spec: str, reason: str) -> None:
    with pytest.raises(ProbeError, match=reason):
        preprocess(spec, (6, 6))


def test_a_folder_is_made_ready_as_asked(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(3):
        noise(number, 10 + number, 12).save(tmp_path / "a" / f"{number}.png")
    ready = preprocess("resize=8x6,interpolation=bicubic", (8, 6))
    found = data.read(f"imagefolder:{tmp_path}", preprocess=ready)
    squeezed = [noise(n, 10 + n, 12).resize((6, 8), Image.Resampling.BICUBIC) for n in range(3)]
    assert torch.equal(found.images, torch.stack([pixels(each) for each in squeezed]))
    assert found.note == "stored as PNG, resized to 8×6 (bicubic), centre-cropped to 8×6"


# ---- pictures of every kind


def saved(image: Image.Image, file: Path, **options: object) -> np.ndarray:
    image.save(file, **options)
    return np.asarray(picture(file, where="here").image)


def test_gray_alpha_and_cmyk_become_rgb(tmp_path: Path) -> None:
    image = noise(0, 5, 7)
    gray = saved(image.convert("L"), tmp_path / "gray.png")
    assert np.array_equal(gray, np.stack([np.asarray(image.convert("L"))] * 3, axis=2))
    clear = image.copy()
    clear.putalpha(0)
    assert np.array_equal(saved(clear, tmp_path / "alpha.png"), np.asarray(image))
    cmyk = saved(image.convert("CMYK"), tmp_path / "cmyk.tif")
    assert np.abs(cmyk.astype(int) - np.asarray(image)).max() <= 1


def test_a_palette_with_transparent_entries_is_read_without_a_warning(tmp_path: Path) -> None:
    image = noise(0, 5, 7).quantize(8)
    found = saved(image, tmp_path / "p.png", transparency=bytes([0, 128]))
    assert np.array_equal(found, np.asarray(image.convert("RGB")))


def test_fractions_are_refused_and_not_taken_for_black(tmp_path: Path) -> None:
    for most in (1, 255):
        values = np.linspace(0, most, 35, dtype=np.float32).reshape(5, 7)
        Image.fromarray(values).save(tmp_path / "x.tif")
        with pytest.raises(
            ProbeError, match=r"x.tif cannot be decoded as an image .it holds fractions"
        ):
            picture(tmp_path / "x.tif", where="x.tif")


def test_sixteen_bits_of_gray_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 35).astype(np.uint16).reshape(5, 7)
    found = saved(Image.fromarray(values), tmp_path / "deep.png")
    assert np.abs(found[:, :, 0] - values / 257).max() < 1


def test_an_exif_orientation_is_left_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    image = noise(0, 8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "a" / "0.png", exif=exif)
    image.save(tmp_path / "a" / "1.png")
    found = data.load(f"imagefolder:{tmp_path}")
    assert torch.equal(found.images[0], found.images[1])
    assert found.note == "stored as PNG, 1 with an EXIF orientation that is left aside"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_normalized_values_are_the_same_on_cuda() -> None:
    images = torch.arange(256, dtype=torch.uint8).expand(3, 256).reshape(1, 3, 16, 16)
    scale = data.normalization("imagenet")
    assert torch.equal(scale.apply(images), scale.apply(images.cuda()).cpu())
