"""The handwritten digits that scikit-learn carries: data that needs no download.

1,797 images of 8×8 pixels with values 0–16, the test part of "Optical Recognition of
Handwritten Digits" (Alpaydin and Kaynak 1998, UCI Machine Learning Repository). Both halves
hold digits by the same 13 writers, so an error measured here says nothing about new writers.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_probe.data.image_set import ImageSet

SIDE = 16
# Coprime to 1,797, so that i ↦ i · STRIDE mod 1,797 visits every image once. Arithmetic, and not
# a random generator, because the halves must be the same in every version of every library.
STRIDE = 1009


def load_digits(split: str) -> ImageSet:
    """One half of the digits, ``[899 (train) or 898 (test), 3, 16, 16]``, ten classes.

    Bilinear upsampling by 2 (pixel centres, edges repeated), values times 255/16 and rounded,
    three equal channels. In each class the halves differ by at most one image; together they
    are all the images, each once, and every prefix mixes the classes.
    """
    from sklearn import datasets

    bunch = datasets.load_digits()
    rows = half(bunch.target, split)
    return ImageSet(
        name="digits",
        split=split,
        images=upsampled(torch.from_numpy(bunch.images[rows])),
        labels=torch.from_numpy(bunch.target[rows].astype(np.int64)),
        class_names=tuple(str(digit) for digit in range(10)),
    )


def half(labels: np.ndarray, split: str) -> np.ndarray:
    """The rows of one stratified half, in a fixed order that is the same everywhere."""
    order = np.arange(len(labels)) * STRIDE % len(labels)
    by_class = np.argsort(labels[order], kind="stable")
    places = by_class[0::2] if split == "train" else by_class[1::2]
    return order[np.sort(places)]


def upsampled(images: Tensor) -> Tensor:
    """Gray ``[n, 8, 8]`` with values 0–16 to uint8 ``[n, 3, 16, 16]``."""
    gray = images.to(torch.float64)[:, None] * (255 / 16)
    large = F.interpolate(gray, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return large.round().to(torch.uint8).repeat(1, 3, 1, 1)
