"""Data sets by name: everything after this package sees tensors of images and labels."""

from __future__ import annotations

from resnet_probe.data.catalog import beside, load, names, read, slug
from resnet_probe.data.classes import in_order_of
from resnet_probe.data.image_set import ImageSet, measure
from resnet_probe.data.normalize import Normalization, normalization
from resnet_probe.data.own import given
from resnet_probe.data.preprocess import Preprocess, preprocess
from resnet_probe.data.tokens import load_text

AnySet = ImageSet

__all__ = [
    "AnySet",
    "ImageSet",
    "Normalization",
    "Preprocess",
    "beside",
    "given",
    "in_order_of",
    "load",
    "load_text",
    "measure",
    "names",
    "normalization",
    "preprocess",
    "read",
    "slug",
]
