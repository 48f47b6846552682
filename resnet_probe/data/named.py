"""Sets by name: scikit-learn's digits, and those that torchvision fetches once.

The digits need no download: 1,797 images of 8×8 pixels with values 0–16, the test part of "Optical
Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI Machine Learning Repository). Both
halves hold digits by the same 13 writers, so an error measured here says nothing about new writers.
"""

from __future__ import annotations

import http.client
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_probe.data.cifar import CLASSES, load_cifar
from resnet_probe.data.image_set import ImageSet
from resnet_probe.errors import ProbeError

SIDE = 16
# Coprime to 1,797, so that i ↦ i · STRIDE mod 1,797 visits every image once. Arithmetic, and not
# a random generator, because the halves must be the same in every version of every library.
STRIDE = 1009
# name: torchvision's class, and where the published files go below the data root
SETS = {
    "cifar10": ("CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", "cifar-100-python.tar.gz"),
    "fashion_mnist": (
        "FashionMNIST",
        "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz in FashionMNIST/raw",
    ),
}
PATIENCE_S = 30.0
FAILURES = (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError)


def load_digits(split: str) -> ImageSet:
    """One half of the digits, `[899 (train) or 898 (test), 3, 16, 16]`, ten classes.

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
    """Gray `[n, 8, 8]` with values 0–16 to uint8 `[n, 3, 16, 16]`."""
    gray = images.to(torch.float64)[:, None] * (255 / 16)
    large = F.interpolate(gray, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return large.round().to(torch.uint8).repeat(1, 3, 1, 1)


def load_torchvision(name: str, split: str, root: Path | None, limit: int | None) -> ImageSet:
    """`[n, 3, 32, 32]`, or `[n, 3, 28, 28]` with three equal channels for Fashion-MNIST.

    `root` is the folder that holds the files, or gets them; default: the platform's cache folder of
    this package. CIFAR is also taken in its other forms (`cifar.load_cifar`). Raises `ProbeError`,
    saying where to get which files, if they are not there and cannot be fetched.
    """
    if name in CLASSES:
        found = load_cifar(name, split, root, limit)
        if found is not None:
            return found
        if root is not None and root.is_file():
            raise ProbeError(f"{root} holds no {name}: {_forms(name)}")
    folder = (root if root is not None else default_root()).expanduser()
    fetched = fetch(name, split, folder)
    if name in CLASSES:
        found = load_cifar(name, split, folder, limit)
        assert found is not None  # torchvision has just put it there
        return found
    return ImageSet(
        name=name,
        split=split,
        images=channels_first(np.asarray(fetched.data)),
        labels=torch.as_tensor(fetched.targets, dtype=torch.int64),
        class_names=tuple(fetched.classes),
    ).take(limit)


def default_root() -> Path:
    """Where downloads go: the platform's cache folder of this package."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("resnet_probe"))


def fetch(name: str, split: str, folder: Path) -> Any:
    """torchvision's data set, from `folder` or from the network."""
    from torchvision import datasets

    kind, _ = SETS[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with patience():
            return getattr(datasets, kind)(str(folder), train=split == "train", download=True)
    except FAILURES as error:
        raise ProbeError(
            f"{name} is not in {folder} and could not be downloaded there ({reason(error)}): "
            f"{_forms(name)}"
        ) from error


def _forms(name: str) -> str:
    """What may be put where, in words."""
    files = SETS[name][1]
    if name not in CLASSES:
        return f"put {files} there, or name the folder that holds it"
    return (
        f"get {files} from www.cs.toronto.edu/~kriz/cifar.html, or the parquet files of {name} "
        "from the Hugging Face hub, and name the file or its folder as data_root="
    )


@contextmanager
def patience() -> Iterator[None]:
    """Give up on a silent network: torchvision downloads without a time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def reason(error: BaseException) -> str:
    """The first words of an error that may come with many lines."""
    lines = [line.strip(" <>") for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def channels_first(images: np.ndarray) -> Tensor:
    """`[n, h, w]` or `[n, h, w, 3]` to `[n, 3, h, w]`."""
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    if pixels.dim() == 3:
        return pixels[:, None].repeat(1, 3, 1, 1)
    return pixels.permute(0, 3, 1, 2).contiguous()
