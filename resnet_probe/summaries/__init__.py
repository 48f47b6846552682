"""What the tables of the studies say, in a few lines for a person; computed from them alone."""

from resnet_probe.summaries.agreement import summarize_agreement
from resnet_probe.summaries.attribution import summarize_attribution
from resnet_probe.summaries.lens import summarize_lens
from resnet_probe.summaries.lesion import summarize_lesion
from resnet_probe.summaries.paths import summarize_paths
from resnet_probe.summaries.recalibration import summarize_recalibration
from resnet_probe.summaries.responses import summarize_responses

__all__ = [
    "summarize_agreement",
    "summarize_attribution",
    "summarize_lens",
    "summarize_lesion",
    "summarize_paths",
    "summarize_recalibration",
    "summarize_responses",
]
