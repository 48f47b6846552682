"""What the tables of the studies say, for a person; computed from them alone.

`summarize_…` give the lines that a command prints.  The others give a `Finding`: one sentence
whose every number has a name and a value, and, where the table tests a claim, its verdict.
"""

from resnet_probe.summaries.agreement import summarize_agreement
from resnet_probe.summaries.answer_depth import answer_depth
from resnet_probe.summaries.attribution import summarize_attribution
from resnet_probe.summaries.block_shares import block_shares
from resnet_probe.summaries.deletion import other_orders, several_deletions, single_deletions
from resnet_probe.summaries.finding import Finding
from resnet_probe.summaries.lens import summarize_lens
from resnet_probe.summaries.lesion import summarize_lesion
from resnet_probe.summaries.paths import summarize_paths
from resnet_probe.summaries.recalibration import summarize_recalibration
from resnet_probe.summaries.residual_size import small_residuals
from resnet_probe.summaries.responses import summarize_responses
from resnet_probe.summaries.sentence import Sentence
from resnet_probe.summaries.short_paths import short_paths

__all__ = [
    "Finding",
    "Sentence",
    "answer_depth",
    "block_shares",
    "other_orders",
    "several_deletions",
    "short_paths",
    "single_deletions",
    "small_residuals",
    "summarize_agreement",
    "summarize_attribution",
    "summarize_lens",
    "summarize_lesion",
    "summarize_paths",
    "summarize_recalibration",
    "summarize_responses",
]
