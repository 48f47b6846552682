"""What the tables of the studies say, for a person; computed from them alone.

`summarize_…` give the lines that a command prints.  The others give a `Finding`: one sentence
whose every number has a name and a value, and, where the table tests a claim, its verdict.
"""

from resnet_probe.findings.agreement import summarize_agreement, true_ensemble
from resnet_probe.findings.append import summarize_append
from resnet_probe.findings.atlas import summarize_atlas
from resnet_probe.findings.attribution import block_shares, summarize_attribution
from resnet_probe.findings.control import same_size, summarize_control
from resnet_probe.findings.flow import summarize_flow
from resnet_probe.findings.gates import best_gates, foretold, summarize_gates
from resnet_probe.findings.greedy import summarize_greedy, what_remeasuring_buys
from resnet_probe.findings.influence import effective_depth, summarize_influence
from resnet_probe.findings.interactions import additive, summarize_interactions
from resnet_probe.findings.lens import answer_depth, summarize_lens
from resnet_probe.findings.lesion import (
    other_orders,
    several_deletions,
    single_deletions,
    summarize_lesion,
)
from resnet_probe.findings.paths import path_coherence, short_paths, summarize_paths
from resnet_probe.findings.responses import score_of_cost, small_residuals, summarize_responses
from resnet_probe.findings.sentence import Finding, Sentence
from resnet_probe.findings.sweeps import cuts, ranges, values_of_branches

__all__ = [
    "Finding",
    "Sentence",
    "additive",
    "answer_depth",
    "best_gates",
    "block_shares",
    "cuts",
    "effective_depth",
    "foretold",
    "other_orders",
    "path_coherence",
    "ranges",
    "same_size",
    "score_of_cost",
    "several_deletions",
    "short_paths",
    "single_deletions",
    "small_residuals",
    "summarize_agreement",
    "summarize_append",
    "summarize_atlas",
    "summarize_attribution",
    "summarize_control",
    "summarize_flow",
    "summarize_gates",
    "summarize_greedy",
    "summarize_influence",
    "summarize_interactions",
    "summarize_lens",
    "summarize_lesion",
    "summarize_paths",
    "summarize_responses",
    "true_ensemble",
    "values_of_branches",
    "what_remeasuring_buys",
]
