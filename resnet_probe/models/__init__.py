"""Architectures by name: `architecture("resnet20:shortcut=B").build(seed=0)`."""

from resnet_probe.models.architecture import Architecture
from resnet_probe.models.options import ABOUT
from resnet_probe.models.pretrained import Pretrained
from resnet_probe.models.registry import architecture, groups, names, options_of

__all__ = ["ABOUT", "Architecture", "Pretrained", "architecture", "groups", "names", "options_of"]
