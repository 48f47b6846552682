"""The documentation as pages: written questions, every refusal of the source, the reference."""

from resnet_probe.guide.build import build
from resnet_probe.guide.refusals import KINDS, Refusal, kind_of, refusals

__all__ = ["KINDS", "Refusal", "build", "kind_of", "refusals"]
