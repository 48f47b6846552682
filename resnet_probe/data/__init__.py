"""Data sets by name: everything after this package sees tensors of images and labels."""

from __future__ import annotations

from typing import TypeAlias

from resnet_probe.data.catalog import load, names, read, slug
from resnet_probe.data.classes import in_order_of
from resnet_probe.data.given_set import GivenSet, given
from resnet_probe.data.image_set import ImageSet
from resnet_probe.data.normalize import Normalization, measure, normalization
from resnet_probe.data.preprocess import Preprocess, preprocess
from resnet_probe.data.streamed_set import StreamedSet

AnySet: TypeAlias = ImageSet | StreamedSet | GivenSet

__all__ = [
    "AnySet",
    "GivenSet",
    "ImageSet",
    "Normalization",
    "Preprocess",
    "StreamedSet",
    "given",
    "in_order_of",
    "load",
    "measure",
    "names",
    "normalization",
    "preprocess",
    "read",
    "slug",
]
