"""Which class of a network each folder of images is: by WordNet id, name, file or order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from resnet_probe.data.class_map import WORDNET_ID, ClassMap, read
from resnet_probe.data.given_set import GivenSet
from resnet_probe.data.image_set import ImageSet
from resnet_probe.data.streamed_set import StreamedSet
from resnet_probe.errors import ProbeError

IMAGENET = 1000
ORDER = "classes in the alphabetical order of the folders"


def in_order_of(
    images: ImageSet | StreamedSet | GivenSet,
    *,
    classes: int,
    names: Sequence[str] = (),
    class_map: Path | None = None,
    network: str = "the network",
) -> ImageSet | StreamedSet | GivenSet:
    """The same images with the network's own class numbers as labels.

    Tried in turn: the file `class_map` (read by `resnet_probe.data.class_map`), which may give
    several folders one class; the network's `names`, and for 1000 classes the WordNet ids and names
    of ImageNet's; and, where there are as many folders as classes, their alphabetical order.  The
    note says by which.

    Raises `ProbeError` for a folder that is none of the classes, naming the nearest, for two
    folders of one class without a file that says so, and where fewer folders than classes do not
    say which they are.
    """
    folders = images.class_names
    known = _map_for(folders, classes, names, class_map)
    if known is None:
        if len(folders) == classes:
            return replace(images, note=_with(images.note, ORDER))
        raise ProbeError(
            f"{images.name} has {len(folders)} classes and {network} {classes}, and nothing says "
            "which are which: give --class-map FILE"
        )
    found = [_index(known, folder, images.name, network) for folder in folders]
    outside = [index for index in found if not 0 <= index < classes]
    if outside:
        raise ProbeError(
            f"{known.source} has a class {outside[0]}: {network} has {classes} (0–{classes - 1})"
        )
    twice = next((index for index in found if found.count(index) > 1), None)
    if twice is not None and class_map is None:
        same = [folder for folder, index in zip(folders, found, strict=True) if index == twice]
        raise ProbeError(f"{images.name}: the folders {' and '.join(same)} are the same class")
    called = list(names) if len(names) == classes else [str(index) for index in range(classes)]
    if len(names) != classes:
        for folder, index in zip(folders, found, strict=True):
            called[index] = folder
    return replace(
        images,
        labels=torch.tensor(found, dtype=torch.int64)[images.labels],
        class_names=tuple(called),
        note=_with(images.note, f"{len(folders)} of {classes} classes, by {known.source}"),
    )


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """The WordNet ids of ImageNet's 1000 classes (Russakovsky et al. 2015), in their order."""
    return tuple(Path(__file__).with_name("imagenet_wnids.txt").read_text().split())


@cache
def imagenet_names() -> tuple[str, ...]:
    """The names of the same classes, as torchvision's weights carry them."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def _map_for(
    folders: Sequence[str], classes: int, names: Sequence[str], class_map: Path | None
) -> ClassMap | None:
    if class_map is not None:
        return read(class_map)
    source, called = "name", names if len(names) == classes else ()
    pairs = [(name, index) for index, name in enumerate(called)]
    if classes == IMAGENET:
        source = "WordNet id" if all(WORDNET_ID.fullmatch(each) for each in folders) else "name"
        for known in (imagenet_wnids(), () if called else imagenet_names()):
            pairs += [(name, index) for index, name in enumerate(known)]
    found = ClassMap.of(pairs, source)
    # As many folders as classes and none of their names: they are numbered some other way.
    ordered = len(folders) == classes and not any(found.classes(folder) for folder in folders)
    return None if ordered or not pairs else found


def _index(known: ClassMap, folder: str, images: str, network: str) -> int:
    found = known.classes(folder)
    if len(found) == 1:
        return next(iter(found))
    near = known.near(folder)
    hint = f"nearest: {', '.join(near)}; " if near and not found else ""
    what = f"several classes ({', '.join(map(str, sorted(found)))})" if found else "no class"
    raise ProbeError(
        f"the folder {folder!r} in {images} is {what} of {network} by {known.source} "
        f"({hint}a WordNet id, a class name, or --class-map FILE says which it is)"
    )


def _with(note: str, more: str) -> str:
    return f"{note}, {more}" if note else more
