"""Which class of a network each folder of images is: by WordNet id, name, file or order."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from resnet_probe.data.files import said, text_of
from resnet_probe.data.folder import MOST_CLASSES
from resnet_probe.data.image_set import ImageSet
from resnet_probe.errors import ProbeError, did_you_mean

IMAGENET = 1000
ORDER = "classes in the alphabetical order of the "
WORDNET_ID = re.compile(r"n\d{8}")
Indices = defaultdict[str, set[int]]


def in_order_of(
    images: ImageSet,
    *,
    classes: int,
    names: Sequence[str] = (),
    class_map: Path | None = None,
    network: str = "the network",
) -> ImageSet:
    """The same images with the network's own class numbers as labels.

    Tried in turn: the file `class_map` (see `read`), which may give
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
            return replace(images, note=_with(images.note, _order(images)))
        raise ProbeError(
            f"{images.name} has {len(folders)} classes and {network} {classes}, and nothing says "
            "which are which: give class_map="
        )
    found = [_index(known, folder, images.name, network) for folder in folders]
    outside = [index for index in found if not 0 <= index < classes]
    if outside:
        raise ProbeError(
            f"{known.source} has a class {outside[0]}: {network} has {classes} (0–{classes - 1})"
        )
    twice = next((index for index, times in Counter(found).items() if times > 1), None)
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
    hint = "" if found else known.near(folder)
    what = f"several classes ({', '.join(map(str, sorted(found)))})" if found else "no class"
    raise ProbeError(
        f"the folder {folder!r} in {images} is {what} of {network} by {known.source} "
        f"(a WordNet id, a class name, or class_map= says which it is){hint}"
    )


def _order(images: ImageSet) -> str:
    """In which order the classes are, with the first names where these could be numbers, too."""
    names = images.class_names
    told = ORDER + ("folders" if images.name.startswith("imagefolder:") else "names")
    numbers = all(name.isdecimal() for name in names)
    if numbers and list(names) != sorted(names, key=int):
        told += f" ({', '.join(names[:4])}, …)"
    return told


def _with(note: str, more: str) -> str:
    return f"{note}, {more}" if note else more


@dataclass
class ClassMap:
    """The numbers of the classes of each name; `source` says where that is from."""

    source: str
    exact: Indices = field(default_factory=lambda: defaultdict(set))
    loose: Indices = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, names: Iterable[tuple[str, int]], source: str) -> ClassMap:
        """From (name, class) pairs; a class may have several names."""
        made = cls(source)
        for name, index in names:
            made.exact[name].add(index)
            made.loose[_plain(name)].add(index)
        return made

    def classes(self, folder: str) -> set[int]:
        """The classes that a folder may mean: by its name, else but for case, blanks and `_`."""
        return self.exact.get(folder) or self.loose.get(_plain(folder)) or set()

    def near(self, folder: str) -> str:
        """The names most like it, as a hint."""
        return did_you_mean(folder, self.exact) or did_you_mean(_plain(folder), self.loose)


def read(path: Path) -> ClassMap:
    """The classes in a file.

    Text or CSV: a line a class, in the network's order, or lines of a name and its number; JSON:
    `{"name": 3}`, `{"3": "name"}`, `{"3": ["n01440764", "tench"]}` or a list in order.

    Raises `ProbeError` for a file that is missing or holds none of these.
    """
    path = path.expanduser()
    text = text_of(path, what="a class map")
    try:
        pairs = _from_json(json.loads(text)) if path.suffix == ".json" else _from_lines(text)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ProbeError(f"{path} cannot be read as a class map ({said(error)})") from error
    if not pairs:
        raise ProbeError(f"{path} names no classes")
    beyond = next((index for _, index in pairs if abs(index) >= MOST_CLASSES), None)
    if beyond is not None:
        raise ProbeError(f"{path} has a class of a number beyond {MOST_CLASSES:,}")
    return ClassMap.of(pairs, path.name)


def _from_json(found: Any) -> list[tuple[str, int]]:
    if isinstance(found, list):
        found = dict(enumerate(found))
    if not isinstance(found, Mapping):
        raise ValueError("neither an object nor a list")
    pairs: list[tuple[str, int]] = []
    for key, value in found.items():
        if isinstance(value, bool):
            raise ValueError(f"{str(key)[:40]!r} is {value}")
        if isinstance(value, int):
            pairs.append((str(key), value))
        else:
            called = value if isinstance(value, list) else [value]
            pairs += [(_name_of(name, key), int(key)) for name in called]
    return pairs


def _name_of(name: Any, key: Any) -> str:
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise ValueError(f"a name of class {str(key)[:40]} is {str(name)[:40]}, and no text")
    return str(name)


def _from_lines(text: str) -> list[tuple[str, int]]:
    lines = [line.strip() for line in text.strip().splitlines()]
    numbered = [_name_and_number(line) for line in lines]
    if all(numbered):
        return [pair for pair in numbered if pair]
    pairs = []
    for index, line in enumerate(lines):
        if not line:
            raise ValueError(f"line {index + 1} is empty")
        first, *rest = line.split(maxsplit=1)
        wordnet = WORDNET_ID.fullmatch(first) is not None
        names = [first, *rest] if wordnet else [line]
        aliases = [part.strip() for name in names for part in name.split(",")]
        pairs += [(alias, index) for alias in dict.fromkeys([*names, *aliases]) if alias]
    return pairs


def _name_and_number(line: str) -> tuple[str, int] | None:
    """`tench, 0`, `tench;0` or `tench 0`; a line of any length is looked at once."""
    rest = line.rstrip("0123456789")
    name = rest.rstrip(",; \t")
    digits = line[len(rest) :]
    return (name, int(digits)) if name and name != rest and 0 < len(digits) < 10 else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
