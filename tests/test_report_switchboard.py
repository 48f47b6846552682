"""What the switchboard of a page says of blocks that are off is what the lesions measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from toy_chains import TinyResNet, images, labels, seeded

from resnet_probe import Edit, chain_of, lesion
from resnet_probe.report.switchboard import Switchboard


@pytest.fixture(scope="module")
def results():
    chain = chain_of(seeded(TinyResNet), images(1))
    x, y = images(12), labels(12)
    pairs = [Edit.delete(1, 2), Edit.delete(3, 1), Edit.scale({1: 0.5}), Edit.delete(2)]
    return {
        "lesion-edits": lesion(chain, x[:6], y[:6], edits=pairs),
        "lesion": lesion(chain, x, y),
    }


def test_every_measured_combination_is_there_once(results):
    board = Switchboard.of(results)
    blocks = len(board.blocks)
    singles = [str(number + 1) for number in range(blocks)]
    assert list(board.found) == [*singles, "1 2", "1 3"]
    assert board.said == f"{blocks} of one block, 2 of 2"
    assert [one["images"] for one in board.studies] == [12, 6]


def test_its_numbers_are_the_tables_and_its_confusions_those_of_the_answers(results):
    board = Switchboard.of(results)
    table = results["lesion"].table
    for number in range(1, len(board.blocks) + 1):
        place, error, *_, wrong = board.found[str(number)]
        row = table.iloc[number]
        assert place == 0 and error == pytest.approx(row["error_pct"], abs=1e-3)
        answers = results["lesion"].outcomes["answer"][number]
        truth = results["lesion"].outcomes["labels"]
        counted = np.zeros((5, 5), dtype=int)
        for label, answer in zip(truth, answers, strict=True):
            counted[label, answer] += label != answer
        given = np.zeros_like(counted)
        for i in range(0, len(wrong), 3):
            given[wrong[i], wrong[i + 1]] = wrong[i + 2]
        assert (given == counted).all()
    assert sum(board.studies[0]["classes"]) == 12


def test_without_single_deletions_there_is_none(results):
    assert Switchboard.of({"lesion-edits": results["lesion-edits"]}).found == {}


def test_its_data_cannot_end_a_script(results):
    named = replace(results["lesion"], study="</script>")
    said = Switchboard.of({"lesion": named}).data
    assert "<" not in said and json.loads(said)["studies"][0]["name"] == "</script>"
