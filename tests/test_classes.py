"""Lesions class by class and confusions, counted again in plain numpy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from toy_chains import TinyResNet, images, labels, seeded

from resnet_probe import ProbeError, Result, chain_of, draw, lesion, responses
from resnet_probe.edits import Edit
from resnet_probe.findings import summarize_lesion
from resnet_probe.findings.classes import served_classes
from resnet_probe.stats import paired_difference
from resnet_probe.studies.classes import by_class


@pytest.fixture(scope="module")
def net():
    chain, x, y = chain_of(seeded(TinyResNet), images(2)), images(80), labels(80)
    with torch.no_grad():
        answers = [chain.run(x, e).argmax(1) for e in (Edit(), *map(Edit.delete, (1, 2, 3)))]
    return chain, x, y, torch.stack(answers).numpy(), lesion(chain, x, y, by="class")


def test_every_row_is_a_lesion_of_the_images_of_its_class(net):
    _, _, y, answers, result = net
    table, truth = result.table, y.numpy()
    assert result.study == "lesion-classes" and len(table) == 4 * 5
    for row in table.itertuples():
        mine = truth == row[table.columns.get_loc("class") + 1]
        right = answers[:, mine] == truth[mine]
        lost = int((right[0] & ~right[row.place]).sum())
        gained = int((~right[0] & right[row.place]).sum())
        assert (row.images, row.correct) == (mine.sum(), right[row.place].sum())
        assert (row.lost, row.gained) == (lost, gained)
        assert row.delta_pct == pytest.approx(100 * (lost - gained) / mine.sum())
        if row.place:
            low, high = paired_difference(lost, gained, mine.sum())
            assert (row.delta_low_pct, row.delta_high_pct) == pytest.approx((100 * low, 100 * high))
            wide = paired_difference(lost, gained, mine.sum(), 1 - 0.05 / 15)
            assert row.joint_low_pct == pytest.approx(100 * wide[0])


def test_classes_add_up_to_the_lesion(net):
    chain, x, y, _, result = net
    whole = lesion(chain, x, y).table
    assert list(result.table.groupby("place")["correct"].sum()) == list(whole["correct"])
    assert list(result.table.groupby("place")["lost"].sum()) == list(whole["lost"])


def test_joint_intervals_hold_all_together_as_often_as_they_promise():
    chain, x, y = chain_of(seeded(TinyResNet), images(2)), images(4), labels(4)
    who = lesion(chain, x, y).table
    random, held = np.random.default_rng(0), 0
    truth = np.repeat(np.arange(5), 60)
    chance = random.uniform(0.5, 0.95, (4, 5))
    for _ in range(120):
        correct = random.random((4, 300)) < chance[:, truth]
        rows = by_class(who, correct, truth)
        rows = rows[rows["place"] > 0]
        wanted = 100 * (chance[0][rows["class"]] - chance[rows["place"], rows["class"]])
        held += bool(((rows["joint_low_pct"] <= wanted) & (wanted <= rows["joint_high_pct"])).all())
    assert held >= 107  # 95 % of 120, less three standard errors


def test_a_confusion_counts_every_image_once(net):
    chain, x, y, answers, result = net
    for edit in ("delete 2", Edit.delete(2), 2):
        found = result.confusion(edit).to_numpy()
        wanted = np.zeros((5, 5), int)
        for label, answer in zip(y.numpy(), answers[2], strict=True):
            wanted[label, answer] += 1
        np.testing.assert_array_equal(found, wanted)
    assert result.confusion().to_numpy().trace() == (answers[0] == y.numpy()).sum()
    named = lesion(chain, x, y, edits=["swap 3 3; delete 1", "scale 2 0.5"])
    assert named.confusion("scale 2 0.5").to_numpy().sum() == 80
    few = lesion(chain, x, y, precision=20.0)
    assert few.confusion("delete 1").to_numpy().sum() <= 80
    with pytest.raises(ProbeError, match="has no edit 'delete 9', such as 'delete 3'"):
        result.confusion("delete 9")
    with pytest.raises(ProbeError, match="outcomes of 4 networks"):
        result.confusion(4)
    with pytest.raises(ProbeError, match="keeps no answers"):
        responses(chain, x, y).confusion()


def test_what_is_said_and_drawn_is_in_the_table(net):
    result = net[4]
    numbers = served_classes(result).sentence.numbers
    sure = result.table["joint_low_pct"] > 0
    assert numbers["harmed"] == sure.sum() and numbers["pairs"] == 15
    assert numbers["every"] + numbers["some"] + numbers["none"] == 3
    assert "by class" in summarize_lesion(result)
    axes = draw(result).axes[0]
    dots = axes.lines[0].get_xdata()
    assert len(dots) == (sure | (result.table["joint_high_pct"] < 0)).sum()
    with pytest.raises(ProbeError, match="not by class"):
        draw(Result("lesion-classes", result.table.drop(columns="class"), {}))


def test_the_edits_that_serve_some_classes_most_are_named_first():
    """By how far the class that loses most lies above the median one."""
    changes = {"1": (9, 9, 9), "2": (-5, 0, 4), "3": (1, 2, 9), "4": (-9, 1, 2)}
    rows = [
        {"place": place, "kind": "delete" if place else "baseline", "blocks": block, "class": c,
         "images": 20, "correct": 18 + c % 2, "error_pct": 10 - 5 * (c % 2), "delta_pct": change,
         "joint_low_pct": change - 3, "joint_high_pct": change + 3}
        for place, (block, given) in enumerate({"": (0, 0, 0), **changes}.items())
        for c, change in enumerate(given)
    ]  # fmt: skip
    lines = summarize_lesion(Result("lesion-classes", pd.DataFrame(rows), {})).splitlines()
    assert lines[0] == "baseline: 8.33 % error (55 of 60 correct), by class 5.00 to 10.00 %"
    assert "Of 12 pairs of an edit and a class 5 are harmed" in lines[1]
    assert "1 of the 4 edits harm every one of the 3 classes, 2 some" in lines[1]
    assert lines[2:] == [
        "  delete 3: class 2 +9.0 points (all together +6.0 to +12.0), the median class +2.0; "
        "harmed: 2",
        "  delete 2: class 2 +4.0 points (all together +1.0 to +7.0), the median class +0.0; "
        "harmed: 2",
        "  delete 4: class 2 +2.0 points (all together -1.0 to +5.0), the median class +1.0; "
        "harmed: none",
        "  delete 1: class 0 +9.0 points (all together +6.0 to +12.0), the median class +9.0; "
        "harmed: 0, 1, 2",
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metric": "auc"}, "leave out metric="),
        ({"precision": 20.0}, "leave out precision="),
        ({"recalibrate": images(8)}, "leave out recalibrate="),
        ({"by": "animal"}, "unknown by"),
    ],
)
def test_what_has_no_classes_is_refused(net, given, said):
    chain, x, y, *_ = net
    with pytest.raises(ProbeError, match=said):
        lesion(chain, x, y, **{"by": "class", **given})
