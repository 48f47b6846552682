"""Data sets by name: everything after this package sees tensors of images and labels."""

from __future__ import annotations

from resnet_probe.data.catalog import load, names, slug
from resnet_probe.data.image_set import ImageSet
from resnet_probe.data.normalize import Normalization, measure, normalization

__all__ = ["ImageSet", "Normalization", "load", "measure", "names", "normalization", "slug"]
