"""What is done to a picture before it becomes numbers: resize it, crop its centre."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image

from resnet_probe.errors import ProbeError, did_you_mean

CROP_SHARE = 0.875  # 224 of 256, as ImageNet results are reported
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
AS_IT_IS = "none"
SPEC = "resize=N, crop=N and interpolation=" + "|".join(INTERPOLATIONS)
Sides = tuple[int, int]
MOST_PIXELS = 2**26
"""Pixels of the largest picture that is decoded, resized or cropped to: 8,192 × 8,192."""


@dataclass(frozen=True)
class Preprocess:
    """Resize, then crop the centre to `crop` (height, width).

    `resize` is one number, for the shorter side, or (height, width), which squeezes the picture
    to that shape; None does not resize. With `spare`, a picture that has the size of the crop
    is left alone, pixel by pixel.
    """

    crop: Sides
    resize: int | Sides | None
    interpolation: str = "bilinear"
    spare: bool = False

    def __post_init__(self) -> None:
        for sides in (self.crop, self.resize):
            height, width = sides if isinstance(sides, tuple) else (sides or 1, 1)
            check_pixels(width, height, f"preprocessing to {height}×{width}")

    @classmethod
    def usual(cls, crop: Sides) -> Preprocess:
        """The shorter side to crop / 0.875, bilinear: how ImageNet is usually evaluated."""
        return cls(crop, round(max(crop) / CROP_SHARE), spare=True)

    def __call__(self, image: Image.Image) -> Image.Image:
        """The resized and cropped picture: pixel by pixel what torchvision's presets give."""
        if not self.touches(image.size):
            return image
        if self.resize is not None:
            method = Image.Resampling[self.interpolation.upper()]
            image = image.resize(self._resized(*image.size), method)
        return _centre(image, *self.crop)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of what the picture is resized to."""
        if isinstance(self.resize, tuple):
            return self.resize[::-1]
        shorter = self.resize or 0
        if width <= height:
            sides = shorter, int(shorter * height / width)
        else:
            sides = int(shorter * width / height), shorter
        check_pixels(*sides, f"its shorter side resized to {shorter}, an image of {height}×{width}")
        return sides

    def touches(self, size: tuple[int, int]) -> bool:
        """Whether a picture of that size (width, height) comes out as another."""
        has_size = size == (self.crop[1], self.crop[0])
        return not (has_size and (self.spare or self.resize is None))

    def check(self, size: tuple[int, int]) -> None:
        """Raises `ProbeError` for a picture of that size (width, height) that becomes too large."""
        if self.resize is not None and self.touches(size):
            self._resized(*size)

    @property
    def spec(self) -> str:
        """What `preprocess` reads back."""
        sides = self.resize
        text = "x".join(map(str, sides)) if isinstance(sides, tuple) else str(sides)
        resize = "" if sides is None else f"resize={text},"
        height, width = self.crop
        crop = str(height) if height == width else f"{height}x{width}"
        return f"{resize}crop={crop},interpolation={self.interpolation}"

    def __str__(self) -> str:
        crop = "×".join(map(str, self.crop))
        if self.resize is None:
            return f"centre-cropped to {crop}"
        how = f" ({self.interpolation})"
        if isinstance(self.resize, int):
            return f"shorter side resized to {self.resize}{how}, centre-cropped to {crop}"
        return f"resized to {'×'.join(map(str, self.resize))}{how}, centre-cropped to {crop}"


def check_pixels(width: int, height: int, what: str) -> None:
    """Raises `ProbeError` for more pixels than fit the memory of most machines."""
    if width * height > MOST_PIXELS:
        raise ProbeError(
            f"{what} has {height:,}×{width:,} pixels: at most {MOST_PIXELS:,} can be held"
        )


def _centre(image: Image.Image, height: int, width: int) -> Image.Image:
    """The centre of a picture, on black where it is smaller than that."""
    if image.width < width or image.height < height:
        larger = max(image.width, width), max(image.height, height)
        ground = Image.new(image.mode, larger)
        ground.paste(image, ((larger[0] - image.width) // 2, (larger[1] - image.height) // 2))
        image = ground
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def preprocess(spec: str, crop: Sides) -> Preprocess:
    """`resize=256,crop=224,interpolation=bicubic`, in part or whole, or `none`.

    `crop` (height, width) is what the network takes, used where the specification has none;
    without `resize` the picture is cropped as it is, `resize=HxW` squeezes it. Raises
    ProbeError for anything else.
    """
    if spec == AS_IT_IS:
        return Preprocess(crop, None)
    known: dict[str, str] = {}
    for part in spec.replace(" ", "").split(","):
        key, equals, value = part.partition("=")
        if key not in ("resize", "crop", "interpolation") or not equals or key in known:
            raise ProbeError(f"{spec!r} is no preprocessing: give {SPEC}, or {AS_IT_IS}")
        known[key] = value
    how = known.get("interpolation", "bilinear")
    if how not in INTERPOLATIONS:
        there = ", ".join(INTERPOLATIONS) + did_you_mean(how, INTERPOLATIONS)
        raise ProbeError(f"there is no interpolation {how!r}: give {there}")
    resize = _sides(known["resize"], spec) if "resize" in known else None
    cut = _sides(known["crop"], spec) if "crop" in known else crop
    return Preprocess((cut, cut) if isinstance(cut, int) else cut, resize, how)


def _sides(text: str, spec: str) -> int | Sides:
    found = re.fullmatch(r"([1-9]\d{0,4})(?:[x×]([1-9]\d{0,4}))?", text)
    if found is None:
        raise ProbeError(f"{text!r} in {spec!r} is no size: give 256 or 256x320 (height×width)")
    return (int(found[1]), int(found[2])) if found[2] else int(found[1])
