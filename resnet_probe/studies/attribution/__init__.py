"""Each block's share of the decision: captum's attributions with the gates as features."""

from resnet_probe.studies.attribution.request import METHODS
from resnet_probe.studies.attribution.study import attribute
from resnet_probe.studies.attribution.table import COLUMNS

__all__ = ["COLUMNS", "METHODS", "attribute"]
