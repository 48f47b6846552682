"""One page, one answer: what a report's sections say, its ledger says too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet_probe import judge
from resnet_probe.findings import short_paths, single_deletions
from resnet_probe.findings.verdict import FAILS, HOLDS, UNDECIDED
from resnet_probe.loading.request import Request
from resnet_probe.results import Result
from resnet_probe.runs.evidence import report_asks
from resnet_probe.studies.study import Run

QUANTITIES = {
    "lesion": (single_deletions, "veit2016/delete-one/relative"),
    "paths": (short_paths, "veit2016/gradient/short"),
}
"""What is said of one quantity by a section of the report, and by a claim of its ledger."""


@pytest.fixture(scope="module", params=[4, 40])
def results(request) -> dict[str, Result]:
    asked = Request(arch="resnet20", limit=request.param)
    network, asks = asked.prepared(), report_asks(full=False)
    few = {"paths": {"signs": 1, "samples": 20}}
    quick = [
        replace(ask, recalibrate=None, settings=few.get(ask.study, ask.settings)) for ask in asks
    ]
    jobs = {ask.study: ask.jobs(asked, network) for ask in quick if ask.study in QUANTITIES}
    return {study: job.measure(Run()) for study, (job,) in jobs.items()}


def test_no_quantity_has_two_verdicts(results):
    ledger = judge(results.values()).set_index("claim")
    for study, (find, claim) in QUANTITIES.items():
        if claim not in ledger.index:
            continue
        said, judged = find(results[study]), ledger.loc[[claim]].iloc[0]
        if judged["verdict"] not in (HOLDS, FAILS, UNDECIDED):
            continue
        assert said.estimate is not None
        assert said.estimate.value == pytest.approx(judged["value"], rel=1e-6, abs=1e-9), claim
        # Bounds that are wider on the page may leave open what the ledger decides, never deny it.
        assert said.verdict in (judged["verdict"], UNDECIDED), claim
    assert "veit2016/delete-one/relative" in ledger.index
