"""Random networks: every study against plain PyTorch in double precision.

    pytest tests/campaigns/test_studies.py --campaign-size 300 --campaign-seed 60000

Each seed is one network with images, and goes through all studies.  What is expected is made from
what the studies say of themselves and from the network itself, which is no chain (`plain.py`).
"""

from __future__ import annotations

from functools import lru_cache

import pytest
from campaigns import studies_of_edits, studies_of_gradients, studies_of_sets, studies_of_states
from campaigns.case import Case
from campaigns.children import seeds

from resnet_probe.runs.catalogue import ROWS

pytestmark = pytest.mark.campaign
SOME = 2
"""Networks a run of the test suite."""
CHECKS = (
    studies_of_edits.CHECKS
    | studies_of_gradients.CHECKS
    | studies_of_sets.CHECKS
    | studies_of_states.CHECKS
)


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        pairs = [(seed, row.name) for seed in seeds(metafunc.config, SOME) for row in ROWS]
        metafunc.parametrize(("seed", "study"), pairs)


case = lru_cache(maxsize=1)(Case.of)


def test_a_study_of_a_random_network(seed, study):
    if case(seed).faint:
        pytest.skip("a branch gives nothing but rounding")
    CHECKS[study](case(seed))
