"""Images in folders: one subfolder a class."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

import torch
from PIL import Image

from resnet_probe.data.decode import Picture, encodings_note, picture
from resnet_probe.data.image_set import ImageSet, of_one_size
from resnet_probe.errors import ProbeError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
CROP_SHARE = 0.875  # 224 of 256, as ImageNet results are reported


def load_folder(
    folder: Path, split: str, size: tuple[int, int] | None, limit: int | None
) -> ImageSet:
    """The images of one folder, ``[n, 3, height, width]``; the folder is the set for any split.

    Classes are the subfolders in alphabetical order. Images come one of each class in turn, so
    that the first n are spread over the classes. With ``size`` (height, width) an image is
    resized and centre-cropped (see ``cropped``); without it all must have one size. Raises
    ProbeError if there is no such folder, a class without images, or an undecodable image.
    """
    name = f"imagefolder:{folder}"
    classes = class_folders(folder)
    files = interleaved([images_in(each) for each in classes])[:limit]
    images, encodings, resized = [], set(), False
    for file, _ in files:
        found = picture(file, where=str(file))
        shown = found if size is None else Picture(cropped(found.image, size), found.encoding)
        resized |= shown.image is not found.image
        images.append(shown.pixels())
        encodings.add(found.encoding)
    crop = f", resized and centre-cropped to {size[0]}×{size[1]}" if size and resized else ""
    return ImageSet(
        name=name,
        split=split,
        images=of_one_size(images, name=name, advice=": give a size to resize them"),
        labels=torch.tensor([label for _, label in files], dtype=torch.int64),
        class_names=tuple(each.name for each in classes),
        note=encodings_note(encodings) + crop,
    )


def class_folders(folder: Path) -> list[Path]:
    """The subfolders in alphabetical order; ProbeError if there are none."""
    if not folder.is_dir():
        raise ProbeError(f"there is no folder {folder} to read images from")
    found = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]
    if not found:
        raise ProbeError(f"{folder} has no subfolders: expected one for each class")
    return sorted(found, key=lambda each: each.name)


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a class's folder; ProbeError if there are none."""
    found = [each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES]
    if not found:
        raise ProbeError(
            f"{folder} holds no images: expected files ending in {', '.join(sorted(SUFFIXES))}"
        )
    return sorted(found, key=lambda each: each.name)


def interleaved(classes: list[list[Path]]) -> list[tuple[Path, int]]:
    """``(file, class)``: the first of each class, the second of each, and so on."""
    turns = zip_longest(*classes)
    return [(file, label) for turn in turns for label, file in enumerate(turn) if file is not None]


def cropped(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize the shorter side to size / 0.875 and crop the centre, as ImageNet is evaluated.

    An image that already has the size is left alone, pixel by pixel.
    """
    from torchvision.transforms import functional

    height, width = size
    if image.size == (width, height):
        return image
    shorter = round(max(height, width) / CROP_SHARE)
    return functional.center_crop(functional.resize(image, [shorter]), [height, width])
