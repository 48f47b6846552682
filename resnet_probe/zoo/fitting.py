"""Which architectures a table of named tensors fits, by names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from resnet_probe import models

COUNTER = "num_batches_tracked"
SHOWN = 10
"""Of how many names a message says that they differ."""
# A VGG for small images lacks two linear layers; projections, at most four, are not counted.
EXTRA_LAYERS = range(-2, 5)
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Fit:
    """An architecture that fits, and the number of classes that it needs for that."""

    arch: str
    classes: int

    def __str__(self) -> str:
        usual = models.architecture(self.arch).classes
        return self.arch if self.classes == usual else f"{self.arch} with {self.classes} classes"


@dataclass(frozen=True)
class Skeleton:
    """The shapes of a network's tensors, and the name of its last layer."""

    shapes: dict[str, tuple[int, ...]]
    head: str


def fits(state: Mapping[str, Tensor], archs: Iterable[str] | None = None) -> list[Fit]:
    """Those of `archs` (default: all names) that have these tensors, for any classes."""
    shapes = {key: tuple(value.shape) for key, value in state.items() if is_weight(key)}
    candidates = plausible(shapes) if archs is None else archs
    found = (fit_of(shapes, arch) for arch in candidates)
    return [fit for fit in found if fit is not None]


def plausible(shapes: Shapes) -> list[str]:
    """The names worth building: the number in a name is nearly that of its layers with weights."""
    layers = sum(len(shape) > 1 for shape in shapes.values())

    def near(arch: str) -> bool:
        depth = re.search(r"\d+", arch)
        # A highway layer has two maps, its transform and its gate.
        found = layers // 2 if "highway" in arch else layers
        return depth is None or found - int(depth[0]) in EXTRA_LAYERS

    return [arch for arch in models.names() if near(arch)]


def fit_of(shapes: Shapes, arch: str) -> Fit | None:
    """How one architecture fits these shapes, the number of classes being free."""
    known = skeleton(arch)
    classes = shapes.get(known.head + ".weight", (0,))[0]
    expected = dict(known.shapes)
    for key in (known.head + ".weight", known.head + ".bias"):
        if key in expected:
            expected[key] = (classes, *expected[key][1:])
    return Fit(arch, classes) if expected == shapes else None


@cache
def skeleton(arch: str) -> Skeleton:
    """The shapes of an architecture, built without memory for its weights."""
    with torch.device("meta"):
        model = models.architecture(arch).build()
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items() if is_weight(k)}
    matrices = [key for key, shape in shapes.items() if len(shape) == 2]
    return Skeleton(shapes, matrices[-1].removesuffix(".weight"))


def difference(expected: Shapes, found: Shapes) -> str:
    """What keeps `found` from being `expected`, in words; empty if nothing does."""
    expected = {key: shape for key, shape in expected.items() if is_weight(key)}
    found = {key: shape for key, shape in found.items() if is_weight(key)}
    shapes = [
        f"{key} is {sides(found[key])} where {sides(shape)} is expected"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    parts = [first(shapes), first(missing, "it lacks "), first(unexpected, "it also has ")]
    return "; ".join(part for part in parts if part)


def first(items: list[str], lead: str = "") -> str:
    """The shortest items and how many more there are; empty for none."""
    items = sorted(items, key=len)
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return lead + ", ".join(items[:SHOWN]) + more if items else ""


def sides(shape: tuple[int, ...]) -> str:
    """`64×16×3×3`, or `a number` for a tensor without axes."""
    return "×".join(map(str, shape)) or "a number"


def is_weight(key: str) -> bool:
    """Whether a tensor must agree: all but batch norm's counters of batches."""
    return not key.endswith(COUNTER)
