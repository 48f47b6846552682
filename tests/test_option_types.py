"""What an option in Python may be: arrays for tuples, one value for several, text as typed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from resnet_probe import ProbeError
from resnet_probe.runs.catalogue import row
from resnet_probe.studies.study import Resources


def settings_of(study: str, **given: Any) -> Any:
    return row(study).study.settings(**given)


@pytest.mark.parametrize(
    ("study", "name", "given", "taken"),
    [
        ("lesion", "counts", 3, (3,)),
        ("lesion", "counts", "1-3,7", (1, 2, 3, 7)),
        ("lesion", "counts", range(1, 4), (1, 2, 3)),
        ("lesion", "counts", np.array([1, 2]), (1, 2)),
        ("lesion", "counts", torch.tensor([2, 4]), (2, 4)),
        ("lesion", "counts", (n for n in (1, 2)), (1, 2)),
        ("lesion", "tau", 0.9, (0.9,)),
        ("lesion", "tau", "1.0:0.8:0.1", (1.0, 0.9, 0.8)),
        ("lesion", "draws", np.int64(7), 7),
        ("lesion", "exact", np.bool_(True), True),
        ("gates", "gates", [0.5, 0], (0.0, 0.5)),
        ("gates", "gates", 0.5, (0.5,)),
        ("interactions", "keep", 0.9, (0.9,)),
        ("interactions", "blocks", np.arange(1, 3), (1, 2)),
        ("control", "controls", "noise", ("noise",)),
        ("control", "controls", ["noise", "sign"], ("noise", "sign")),
        ("paths", "at", 3, "3"),
        ("attribute", "methods", "ablation,shapley", ("ablation", "shapley")),
    ],
)
def test_it_is_taken_for_what_it_means(study, name, given, taken) -> None:
    found = getattr(settings_of(study, **{name: given}), name)
    assert found == taken and type(found) is type(taken)


def test_a_size_may_be_text() -> None:
    assert Resources(memory="1MiB").memory == 2**20  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("study", "given", "said"),
    [
        ("lesion", {"counts": "x"}, "counts='x' is no list of numbers"),
        ("lesion", {"counts": 1.5}, "counts=1.5: give a whole number, or several"),
        ("lesion", {"counts": [1, None]}, r"counts=\[1, None\]: give a whole number, or several"),
        ("lesion", {"counts": True}, "counts=True: give a whole number, or several"),
        ("lesion", {"counts": object()}, "counts=<object object at .*: give a whole number"),
        ("lesion", {"edit": ["delete"]}, r"edit=\['delete'\]: give a name \(delete, permute, "),
        ("lesion", {"exact": 1}, "exact=1: give True or False"),
        ("lesion", {"draws": "7"}, "draws='7' is no number"),
        ("gates", {"gates": ["x"]}, r"gates=\['x'\]: give a number, or several"),
        ("gates", {"gates": None}, "gates=None: give a number, or several"),
        ("interactions", {"keep": "0.9x"}, "0.9x"),
        ("interactions", {"blocks": range(10**9)}, "at most 100,000 values"),
        ("control", {"controls": [1]}, r"controls=\[1\]: give a name, or several"),
        ("control", {"controls": "a\nb"}, r"."),
        ("paths", {"at": 3.5}, "at=3.5: give a name"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(study, given, said) -> None:
    with pytest.raises(ProbeError, match=said):
        settings_of(study, **given)
