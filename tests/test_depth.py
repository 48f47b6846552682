"""Effective depth by function: the fewest blocks that stay near, by hand."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from toy_chains import scalar_chain

from resnet_probe import lesion
from resnet_probe.findings import summarize_lesion
from resnet_probe.findings.depth import depth_by_function, least_blocks


def table_of(rows):
    names = ["edits", "delta_pct", "joint_low_pct", "joint_high_pct"]
    return pd.DataFrame(rows, columns=names)


def test_the_fewest_blocks_and_what_the_intervals_allow():
    nan = float("nan")
    table = table_of([(0, 0, nan, nan), (1, 0.2, -0.5, 0.9), (3, 0.8, 0.1, 1.4), (5, 4, 0.5, 8)])
    found = least_blocks(table, 9, "delta_pct", 1.0)
    assert found == (6, 4, 8)
    assert least_blocks(table[table["edits"] != 3], 9, "delta_pct", 0.1) == (9, 8, 9)


def test_of_a_chain_whose_later_blocks_change_nothing():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    chain = scalar_chain([0.7, 0.0, 0.0, 1e-3, 0.0])
    result = lesion(chain, x, x.argmax(1), edit="ranges")
    numbers = depth_by_function(result).sentence.numbers
    assert numbers["blocks"] == 5
    assert numbers["error"] == 0  # no positive factor changes an answer
    loss = torch.nn.functional.cross_entropy
    whole = loss(chain(x), x.argmax(1)).item()
    alone = loss(x * 1.001, x.argmax(1)).item()
    assert alone - whole > 0.1 and numbers["loss"] == 1
    log_p, log_q = chain(x).log_softmax(1), x.log_softmax(1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(1).mean().item()
    assert divergence < 0.1 and numbers["kl"] == 0
    assert "Effective depth" in summarize_lesion(result)


@pytest.mark.parametrize("column", ["kl_from_whole"])
def test_what_has_no_interval_has_no_ends(column):
    table = pd.DataFrame({"edits": [0, 2], column: [0.0, 0.05]})
    found = least_blocks(table, 4, column, 0.1)
    assert found.value == 2 and found.low != found.low
