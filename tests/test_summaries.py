"""What the studies say in words, on tables whose answer is known."""

from __future__ import annotations

import pandas as pd
import pytest
from figure_tables import ranges as long_ranges
from lesion_tables import deep
from test_figures_studies import agreement_of, attribution_of, lens_of, responses_of

from resnet_probe.findings import (
    summarize_agreement,
    summarize_attribution,
    summarize_lens,
    summarize_lesion,
    summarize_responses,
)
from resnet_probe.findings.lesion import re_estimated
from resnet_probe.findings.sentence import unit_of_points
from resnet_probe.findings.sweeps import ranges
from resnet_probe.results import Result


def network(arch: str, mean: float, layers: int, *, plain: bool = False) -> pd.DataFrame:
    """Layers of one size, and ratios of 0.2 but for one block of 0.9."""
    rows: list[dict] = [
        {"place": "network", "quantity": "response_std", "value": mean, "number": 0, "name": "",
         "ci_low": mean - 0.01, "ci_high": mean + 0.01, "taken": "", "block": 0}
    ]  # fmt: skip
    rows += [
        {"place": "layer", "quantity": "response_std", "value": mean, "number": i, "taken": "norm",
         "name": "", "block": 0}
        for i in range(layers)
    ]  # fmt: skip
    for block in range(1, 5):
        place = {"place": "block", "number": block, "block": block, "name": f"layer1.{block - 1}"}
        ratio = float("nan") if plain else 0.9 if block == 3 else 0.2
        rows.append({**place, "quantity": "ratio", "value": ratio})
        cosine = {"value": -0.1 * block, "ci_low": -0.1 * block - 0.15,
                  "ci_high": -0.1 * block + 0.15}  # fmt: skip
        if not plain:
            rows.append({**place, "quantity": "cosine_gradient_sum", **cosine})
    return pd.DataFrame(rows).assign(arch=arch, images=100)


def said(*networks: pd.DataFrame) -> str:
    return summarize_responses(Result("responses", pd.concat(networks, ignore_index=True), {}))


def test_deeper_is_smaller_and_residual_below_plain():
    means = ((20, 0.7), (56, 0.4), (110, 0.3))
    residual = [network(f"resnet{depth}", mean, depth - 1) for depth, mean in means]
    text = said(*residual, network("plain20", 0.9, 19, plain=True))
    assert "resnet20 > resnet56 > resnet110: holds here (0.700, 0.400, 0.300)" in text
    assert "residual below plain, resnet20 < plain20: holds here (0.700 against 0.900)" in text
    assert "resnet56 < plain20: holds" in text
    assert "0.700 (95 % CI 0.690–0.710), 19 layers, behind batch norm" in text
    assert "resnet20: ‖F‖/‖shortcut‖ has the median 0.20 over blocks; at least twice that: " \
        "blocks 3 (layer1.2) 0.90" in text  # fmt: skip
    assert "in 3 of 4 blocks; in the last one -0.40 (95 % CI -0.55 to -0.25)" in text
    assert "plain20: no block has two terms to compare" in text


def test_what_does_not_hold_is_said_too():
    text = said(network("resnet20", 0.3, 19), network("resnet56", 0.4, 55),
                network("plain20", 0.2, 19, plain=True))  # fmt: skip
    assert "resnet20 > resnet56: does not hold here (0.300, 0.400)" in text
    assert "resnet20 < plain20: does not hold here" in text
    close = said(network("resnet20", 0.401, 19), network("resnet56", 0.4, 55))
    assert "resnet20 > resnet56: is not decided here (0.401, 0.400)" in close
    near = said(network("resnet20", 0.395, 19), network("plain20", 0.4, 19, plain=True))
    assert "resnet20 < plain20: is not decided here (0.395 against 0.400)" in near


def test_layers_taken_elsewhere_are_not_compared():
    other = network("preresnet20", 5.0, 19).replace({"taken": {"norm": "convolution"}})
    text = said(network("resnet20", 0.7, 19), other)
    assert "deeper is smaller" not in text and "of the convolutions themselves" in text
    mixed = network("own", 5.0, 3)
    mixed.loc[1, "taken"] = "convolution"
    assert "3 layers, behind batch norm where a layer has it" in said(mixed)


def test_undefined_ratios_are_named():
    table = network("resnet20", 0.7, 19)
    table.loc[(table["quantity"] == "ratio") & (table["block"] == 2), "value"] = float("nan")
    assert "not defined on these images (nothing varies): ratio of block 2 (layer1.1)" in said(
        table
    )


def test_all_quantities_of_the_other_tables():
    table = responses_of().assign(name="x", taken="norm")
    mean = table[table["place"] == "layer"].iloc[:1].assign(place="network")
    assert "19 layers" in summarize_responses(Result("responses", pd.concat([table, mean]), {}))


def test_where_the_lens_first_agrees():
    table = lens_of().assign(name="layer", carried_by="2 parameter-free", correct=5)
    text = summarize_lens(Result("lens", table, {}))
    assert "50 % of the images have the final answer from block 4 (layer) on, of 9: 50.0 %" in text
    assert "90 % of the images have the final answer from block 8 (layer) on, of 9: 90.0 %" in text
    assert "statistics re-estimated at each depth" in text
    assert "carried on by the shortcuts behind (2 parameter-free)" in text
    table.loc[6, "agreement_pct"] = 20.0  # an early agreement that does not last
    assert "50 % of the images have the final answer from block 7" in summarize_lens(
        Result("lens", table, {})
    )


def test_shares_sums_and_interactions():
    table = attribution_of()
    table["permutations"], table["permutation_se"], table["name"] = 20, 0.25, "layer"
    ends = [
        {"method": method, "metric": metric, "unit": unit, "block": 0, "value": value,
         "ci_low": value - 1, "ci_high": value + 1}
        for method, value in (("network", 90.0), ("none", 54.0))
        for metric, unit in (("accuracy", "percentage points"), ("loss", "nats"), ("margin", "x"))
    ]  # fmt: skip
    whole = pd.concat([pd.DataFrame(ends), table], ignore_index=True)
    facts = {"gap_loss_pct": 0.5, "gap_margin_pct": None, "steps": 64.0}
    text = summarize_attribution(Result("attribute", whole, facts))
    assert "accuracy: 90.000 % (95 % CI 89.000–91.000 %) with all blocks, 54.000 %" in text
    assert "Shapley values add up to 36.00 of 36.00 points (20 random orders, standard error of a "\
        "block at most 0.25)" in text  # fmt: skip
    assert "deleted alone, points of accuracy, largest: 9 (layer) 8.00, 8 (layer) 7.00" in text
    assert "8 of 36 pairs cost more and 7 less (by chance about 2)" in text
    rows = table[(table["metric"] == "loss") & table["class"].isna()].set_index("method")
    beyond, each = rows["value"]["interactions"], rows["value"]["ablation"].mean()
    lines = [line for line in text.splitlines() if "nats of loss" in line]
    assert f"cost {-beyond.mean():+.3f} nats of loss on average" in lines[0]  # the loss rises
    assert f"({-each:+.3f} each)" in lines[0]
    more = (rows.loc["interactions", "ci_high"] < 0).sum()
    assert f"{more} of 36 pairs cost more" in lines[0]
    assert "completeness gap loss 0.50 %, margin undefined (64 steps)" in text


def test_votes_in_words():
    table = agreement_of().assign(networks=9, p_value=0.5)
    text = summarize_agreement(Result("agreement", table, {}))
    assert "whole network: 6.00 % (95 % CI 5.00–7.00 %) error, 50 images" in text
    assert "networks without 1 block: φ of their errors 1.00 (95 % CI 0.80–1.20)" in text
    assert len(text.splitlines()) == 8


def test_stale_statistics_in_words():
    table = deep().assign(
        recalibrated_error_pct=lambda t: t["error_pct"] / 2,
        restored_pct=lambda t: t["error_pct"] / 2,
        restored_p_value=1e-6,
    )
    table = table.assign(correct=9400, names="x", shortcut="identity", near_ties=0)
    record = {"identity": {"recalibrate": 500}, "recalibrated_median_delta_pct": [0.2, 0.1, 0.3]}
    text = summarize_lesion(Result("lesion", table, record))
    assert "on 500 training images: baseline 3.00 % instead of 6.00 %" in text
    assert "missing paths cost +0.20 points (95 % CI over images +0.10 to +0.30)" in text
    assert "paths and stale statistics together +0.40" in text
    assert "most restored: 1 (88.00 to 44.00 %)" in text and "runs of branches" not in text
    record |= {"recalibration_branch_runs": [1200, 3500], "seconds": 4.2}
    again = Result("lesion", table, record)
    took = "re-estimating took 1,200 runs of branches instead of 3,500; 4.2 s for the whole study"
    assert took in summarize_lesion(again)
    assert re_estimated(again).numbers == {
        "own": 0.2, "own_low": 0.1, "own_high": 0.3, "training": 500, "shared": 1200,
        "alone": 3500, "seconds": 4.2,
    }  # fmt: skip


@pytest.mark.parametrize(("value", "word"), [(1.0, "point"), (0.5, "points"), (2, "points")])
def test_a_margin_of_one_is_one_point(value: float, word: str) -> None:
    assert unit_of_points(value) == word
    found = ranges(Result("lesion", long_ranges(), {"identity": {"margin": value}}))
    assert f"shown harmless (within ± {value:g} {word})" in str(found.sentence)
