"""Architectures by name: `architecture("resnet20:shortcut=B").build(seed=0)`."""

from resnet_probe.models.architecture import Architecture
from resnet_probe.models.pretrained import Pretrained
from resnet_probe.models.registry import architecture, names

__all__ = ["Architecture", "Pretrained", "architecture", "names"]
