"""A study by parts of the images: what it sums up over them, and how parts become the whole.

The arrays that a `Summed` study gathers over parts of the images, put together here, are those of
one run, and so is the table that it makes of them.  The name of an array says how:

| name | |
|---|---|
| `sum.…` | added up |
| `any.…` | true where it is in any part |
| `….count`, `….mean`, `….m2` | moments, merged (Chan, Golub and LeVeque 1979) |
| all others | one entry an image along the last axis: put in the order of the images |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_probe.errors import ProbeError
from resnet_probe.settings import Settings, option, whole_number
from resnet_probe.stats.moments import FIELDS, Moments
from resnet_probe.studies.study import Arrays, Share, Study, Summed

SUM, ANY = "sum.", "any."
MOST = 100_000
"""Parts of one study."""


@dataclass(frozen=True, order=True)
class Part:
    """One of several parts of the images, written `2/8`."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Part:
        """Raises `ProbeError` for anything but `NUMBER/OF` with 1 ≤ NUMBER ≤ OF."""
        number, of = (whole_number(part) for part in str(text).partition("/")[::2])
        if number is None or of is None or not 1 <= number <= of <= MOST:
            raise ProbeError(
                f"part={text!r} is no part: write which of how many, such as 2/8 for the second of "
                "eight"
            )
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def rows(self, images: int, together: int = 1) -> NDArray[np.int64]:
        """The numbers of its images, from 0, in their order.

        The images, or groups of so many that belong `together`, are put in the order of a hash of
        their number and dealt to the parts in turn: no part is like a stretch of the data, the
        sizes differ by one at most, and the parts of eight lie inside those of four.
        """
        groups = -(-images // together)
        order = np.argsort(_hashed(np.arange(groups, dtype=np.uint64)))
        mine = np.sort(order[self.number - 1 :: self.of])
        rows = (mine[:, None] * together + np.arange(together)).ravel()
        return rows[rows < images].astype(np.int64)


def _hashed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection that leaves no order: splitmix64 (Steele, Lea & Flood 2014, OOPSLA)."""
    with np.errstate(over="ignore"):
        z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


@dataclass(frozen=True, kw_only=True)
class Portion(Settings):
    """Which part of the images a run takes, and how many take one together."""

    part: Part | None = option(
        None,
        "measure the second of eight parts of the images; `merge` puts them together",
        read=Part.read,
        metavar="2/8",
        group="run",
    )
    processes: int | None = option(
        None,
        "measure with so many processes, each a part of the images on the same share of the cores "
        "(default: 1, or those that torchrun has started)",
        least=1,
        metavar="N",
        group="run",
    )


def summed(study: Study, settings: Any) -> Summed:
    """How the study goes by parts; raises `ProbeError` where it does not, or not so."""
    if study.sums is None:
        raise ProbeError(f"part= is not for {study.name}: it needs all images in one run")
    if reason := study.sums.hindered(settings):
        raise ProbeError(f"part= is not for this {study.name}: {reason}")
    return study.sums


def share_of(study: Study, settings: Any, part: Part, images: int) -> Share:
    """The images of a part; raises as `summed` does, and for more parts than the images make."""
    together = summed(study, settings).together(settings, images)
    most = -(-images // together)
    if part.of > most:
        groups = f" that go together by {together}" if together > 1 else ""
        raise ProbeError(f"part={part}: {images:,} images{groups} make {most:,} parts at most")
    return Share(part.rows(images, together), images)


def joined(parts: Sequence[Arrays], shares: Sequence[Share]) -> Arrays:
    """The arrays of all images from those of parts, whose images are `shares`."""
    order = np.argsort(np.concatenate([share.rows for share in shares]))
    names = dict.fromkeys(name for part in parts for name in part)
    found: Arrays = {}
    for name in names:
        base, _, last = name.rpartition(".")
        if last in FIELDS and all(f"{base}.{one}" in names for one in FIELDS):
            found[name] = getattr(_merged(parts, base), last)
        elif name.startswith(SUM):
            found[name] = np.sum([part[name] for part in parts], axis=0)
        elif name.startswith(ANY):
            found[name] = np.any([part[name] for part in parts], axis=0)
        else:
            found[name] = np.concatenate([part[name] for part in parts], axis=-1)[..., order]
    return found


def _merged(parts: Sequence[Arrays], base: str) -> Moments:
    return Moments.stack([Moments.of_name(base, part) for part in parts]).pooled()
