"""How large the residuals of a network are, and which way they point."""

from resnet_probe.studies.responses.quantities import COLUMNS, QUANTITIES, Quantity
from resnet_probe.studies.responses.study import responses
from resnet_probe.studies.responses.together import together

__all__ = ["COLUMNS", "QUANTITIES", "Quantity", "responses", "together"]
