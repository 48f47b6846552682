"""CIFAR-10, CIFAR-100 and Fashion-MNIST: downloaded once, checked by torchvision's MD5 sums."""

from __future__ import annotations

import http.client
import socket
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnet_probe.data.image_set import ImageSet
from resnet_probe.errors import ProbeError

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


def load_torchvision(name: str, split: str, root: Path | None) -> ImageSet:
    """``[n, 3, 32, 32]``, or ``[n, 3, 28, 28]`` with three equal channels for Fashion-MNIST.

    ``root`` is the folder that holds the files, or gets them; default: the platform's cache
    folder of this package. Raises ProbeError, saying which files to put where, if they are not
    there and cannot be fetched.
    """
    found = fetched(name, split, root if root is not None else default_root())
    return ImageSet(
        name=name,
        split=split,
        images=channels_first(np.asarray(found.data)),
        labels=torch.as_tensor(found.targets, dtype=torch.int64),
        class_names=tuple(found.classes),
    )


def default_root() -> Path:
    """Where downloads go: the platform's cache folder of this package."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("resnet_probe"))


def fetched(name: str, split: str, root: Path) -> Any:
    """torchvision's data set, from ``root`` or from the network."""
    from torchvision import datasets

    kind, files = SETS[name]
    folder = root.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with patience(), warnings.catch_warnings():
            # The published CIFAR pickles are older than the NumPy that complains about them.
            warnings.filterwarnings("ignore", category=np.exceptions.VisibleDeprecationWarning)
            return getattr(datasets, kind)(str(folder), train=split == "train", download=True)
    except FAILURES as error:
        raise ProbeError(
            f"{name} is not in {folder} and could not be downloaded there ({reason(error)}): "
            f"put {files} there, or name the folder that holds it"
        ) from error


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
    """``[n, h, w]`` or ``[n, h, w, 3]`` to ``[n, 3, h, w]``."""
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    if pixels.dim() == 3:
        return pixels[:, None].repeat(1, 3, 1, 1)
    return pixels.permute(0, 3, 1, 2).contiguous()
